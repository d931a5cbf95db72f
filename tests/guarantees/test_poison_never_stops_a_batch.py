"""Promise 2, attacked: whatever a sender writes is accepted, a repeat, or waits with its bytes, and work goes on.

Each kind of poison is sent among good events through every phase, on both databases, and every reader of quarantine
then looks at it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from activation_dagster.domain.lexical import MAX_LINE_BYTES, read_event
from activation_dagster.domain.reasons import QuarantineReason
from activation_dagster.domain.repairs import Selection
from activation_dagster.pipeline.infer import traffic_of_quarantine
from activation_dagster.pipeline.quarantine import listed, shown
from activation_dagster.pipeline.reentry import replay
from tests.destinations.far_end import FarEnd
from tests.guarantees.events import Whole, choice, identify, purchase, written
from tests.guarantees.shop import NOW, Shop, every_event_is_in_one_place, far_end_in

BEFORE = NOW - timedelta(days=1)
SQL = "'; drop table sends; --"
ODD_TEXTS = {
    "SQL": SQL,
    "quotes": "\"'`$1 $as_of {0} %s :name ?",
    "line ends": "a\nb\r\nc\u2028d\u2029",
    "control characters": "\x01\x1b[31m\x7f\x85",
    "emoji": "👩‍👩‍👧 e\u0301 \u202e txt.exe",
    "nothing but blanks": " \t ",
    "long": "x" * 400_000,
    "a path": '$.a[0]..*\\"b"',
    "noncharacters": "\uffff\ufdd0\U0010ffff",
}


def bought(number: int, **properties: Any) -> Whole:
    whole = purchase(f"poison-{number}", at=BEFORE, user="ann")
    whole["properties"] |= properties
    return whole


def poisons() -> Iterator[tuple[str, bytes]]:
    """Every kind that we can think of, by a name; most are sound JSON, and some keep their contract."""
    number = iter(range(10_000))

    def event(**change: Any) -> bytes:
        return json.dumps(bought(next(number)) | change, ensure_ascii=False).encode()

    def person(**change: Any) -> bytes:
        return json.dumps(
            identify(f"poison-{next(number)}", at=BEFORE, user="ann", country="US") | change, ensure_ascii=False
        ).encode()

    for name, text in ODD_TEXTS.items():
        yield f"event name: {name}", event(event=text)
        yield f"type: {name}", event(type=text)
        yield f"userId: {name}", event(userId=text)
        yield f"anonymousId: {name}", event(anonymousId=text)
        yield f"messageId: {name}", event(messageId=text)
        yield f"timestamp: {name}", event(timestamp=text)
        yield f"contract version: {name}", event(context={"protocols": {"event_version": text}})
        yield f"a value: {name}", event(properties=bought(0)["properties"] | {"product_id": text})
        yield f"a key: {name}", event(properties=bought(0)["properties"] | {text: text})
        yield f"a key of the envelope: {name}", event(**{text: text})
        yield f"a trait: {name}", person(traits={"country": text, text: text, "email": text, "first_name": text})
        yield (
            f"a choice: {name}",
            event(
                event="Segment Consent Preference Updated",
                properties={"choice_text": text},
                context={"consent": {"categoryPreferences": {text: True, "marketing_email": text}}},
            ),
        )
        for call in ("page", "screen"):
            yield f"name of a {call}: {name}", event(type=call, name=text)
        for call in ("group", "alias"):
            yield f"{call}: {name}", event(type=call, groupId=text, previousId=text, traits={"name": text})
    for name, value in {
        "a list": [1], "a text": "x", "a number": 7, "true": True, "null": None, "an empty list": [], "an object": {},
        "nested": {"a": [{"b": [{"c": {}}]}]},
    }.items():  # fmt: skip
        for field in ("type", "event", "name", "userId", "anonymousId", "messageId", "properties", "traits", "context",
                      "timestamp", "sentAt", "originalTimestamp", "receivedAt", "integrations", "groupId"):  # fmt: skip
            yield f"{field} is {name}", event(**{field: value})
        yield f"protocols is {name}", event(context={"protocols": value})
        yield f"event_version is {name}", event(context={"protocols": {"event_version": value}})
        yield f"traits of context is {name}", event(context={"traits": value})
        yield (
            f"consent is {name}",
            event(
                event="Segment Consent Preference Updated",
                properties={"choice_text": "OK"},
                context={"consent": value},
            ),
        )
        yield (
            f"categoryPreferences is {name}",
            event(
                event="Segment Consent Preference Updated",
                properties={"choice_text": "OK"},
                context={"consent": {"categoryPreferences": value}},
            ),
        )
        yield (
            f"marketing_email is {name}",
            event(
                event="Segment Consent Preference Updated",
                properties={"choice_text": "OK"},
                context={"consent": {"categoryPreferences": {"marketing_email": value}}},
            ),
        )
        yield f"price is {name}", event(properties=bought(0)["properties"] | {"price": value})
        yield f"quantity is {name}", event(properties=bought(0)["properties"] | {"quantity": value})
        yield f"country is {name}", person(traits={"country": value})
        yield f"email is {name}", person(traits={"country": "US", "email": value})
    for amount in (9e12, -9e12, 9007199254740991, -9007199254740991, 1e15, 0.1, 5e-324, 1e-300, -0.0):
        for time in ("once", "twice"):  # of one person and day: sums have an end, too
            yield f"price {amount} {time}", event(properties=bought(0)["properties"] | {"price": amount})
        yield (
            f"price and quantity {amount}",
            event(properties=bought(0)["properties"] | {"price": amount, "quantity": 9007199254740991}),
        )
    for keys in (40_000, 100_000):
        many = {f"k{place}": 1 for place in range(keys)}
        yield f"{keys} properties", event(properties=bought(0)["properties"] | many)
        yield f"{keys} traits", person(traits={"country": "US"} | many)
        yield f"{keys} keys of the envelope", event(**many)
    yield "100,000 items", event(properties=bought(0)["properties"] | {"items": [1] * 100_000})
    yield "a name of 10 MB", event(event="n" * 10_000_000)
    yield "a key of 10 MB", event(**{"n" * 10_000_000: 1})
    yield "a text of 10 MB", event(properties={"product_id": "n" * 10_000_000})
    ends = ("1900-01-01T00:00:00Z", "2199-12-31T23:59:59Z")
    for first, last in (ends, ends[::-1]):
        yield f"a clock from {first} to {last}", event(originalTimestamp=first, sentAt=last)
        yield (
            f"a clock from {first} to {last}, received then",
            event(originalTimestamp=first, sentAt=last, receivedAt=first),
        )
        yield f"happened at {first}", event(timestamp=first)
        yield f"received at {first}", event(receivedAt=first)


POISONS = dict(poisons())


@pytest.fixture(scope="module")
def far_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarEnd]:
    with far_end_in(tmp_path_factory.mktemp("far_end")) as running:
        yield running


def test_poison_among_good_events_stops_nothing_and_keeps_its_bytes(
    tmp_path: Path, far_end: FarEnd, state_url: str
) -> None:
    shop = Shop(folder=tmp_path, address=far_end.address, state_url=state_url, batch_max_bytes=1 << 30)
    good = written(
        identify("g1", at=BEFORE, user="eve", country="US"),
        purchase("g2", at=BEFORE, user="eve"),
        choice("g3", at=BEFORE, user="eve", marketing=True),
    )
    segment = shop.land([*good, *POISONS.values()], at=NOW)
    shop.work()
    assert shop.deliver().sent >= 1
    lake = shop.lake()
    every_event_is_in_one_place(shop, lake)
    found = shop.totals()
    assert found.conserved
    assert found.received == len(good) + len(POISONS)
    accepted = {row["event_id"] for row in lake["validated_events"]}
    assert {f"{segment.segment_id}:{number:07d}" for number in (1, 2, 3)} <= accepted
    lines = {f"{segment.segment_id}:{number:07d}": line for number, line in enumerate(POISONS.values(), start=4)}
    for row in lake["quarantined_events"]:
        assert row["payload"] == lines[row["event_id"]]
        plain = read_event(row["payload"])
        if isinstance(plain, QuarantineReason):
            assert row["reason"] == plain
    assert min(len(accepted), len(lake["quarantined_events"])) > 100  # sound poison goes through every phase


def test_every_reader_of_quarantine_looks_at_poison(tmp_path: Path, far_end: FarEnd) -> None:
    shop = Shop(folder=tmp_path, address=far_end.address, batch_max_bytes=1 << 30)
    shop.land(POISONS.values(), at=NOW)
    shop.work()
    with shop.places() as places:
        groups = listed(places, by_value=True)
        assert sum(group.events for group in groups) >= shop.totals().quarantined
        for group in groups:
            select = Selection(event=group.event, reason=group.reason, field=group.field)
            assert shown(places, select, limit=1)
        for reveal in (False, True):
            for sample in shown(places, limit=1_000, reveal=reveal):
                json.dumps(sample.payload)
        assert traffic_of_quarantine(places, source=None, event=None, sample=1_000)
        report = replay(places, Selection(), samples=1_000)
        assert (report.passing, report.selected) == (0, shop.totals().quarantined)
    assert all(len(line) > MAX_LINE_BYTES for line in POISONS.values() if len(line) > 10_000_000)
