"""Promise 2, at size: of 1 % bad events of twenty-one kinds none is lost, none blocks, and all can be repaired.

After repair and replay, done twice, the tables are those of the clean stream. `INJECTED_EVENTS` says how many events;
`make test-injection EVENTS=1000000` runs a million.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from pathlib import Path

import duckdb
from sqlalchemy import func, select

from activation_dagster.domain.reasons import QuarantineReason as Reason
from activation_dagster.domain.repairs import Selection
from activation_dagster.lake.tables import QUARANTINED, RESOLVED, VALIDATED
from activation_dagster.pipeline.contracts_in_force import contracts_today
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.quarantine import listed
from activation_dagster.pipeline.reentry import repair, replay
from activation_dagster.pipeline.watch import totals
from activation_dagster.pipeline.work import drain
from activation_dagster.registry.repairs import read_repair
from activation_dagster.state.engine import open_state
from activation_dagster.state.tables import activity, membership_changes, traits
from tests.pipeline.small_shop import NOW, REPOSITORY, Clock, Event, places_at

EVENTS = int(os.environ.get("INJECTED_EVENTS", "20000"))
ONE_IN = 100
SEGMENT_EVENTS = 20_000
LATER_CONTRACT = "inventory_adjusted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A way to break a sound line, the reason it waits for, and the steps that mend it (none: a replay does)."""

    reason: Reason
    spoil: Callable[[bytes], bytes]
    field: str = ""
    steps: str = ""


def said(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def spoil(line: bytes) -> bytes:
        assert line.count(old) == 1, (line, old)
        return line.replace(old, new)

    return spoil


def told(old: str, new: str) -> str:
    return f"[replace_text: {json.dumps({'find': old, 'to': new})}]"


DEEP = b'"deep": ' + b"[" * 40 + b"]" * 40 + b", "
TWICE = b'"quantity": 2, "price": 2000e-002'
PROPERTIES = b'"properties": {'
KINDS = (
    Kind(reason=Reason.NOT_UTF8, spoil=said("ü".encode(), b"\xfc"), steps="[recode: {from: latin-1}]"),
    Kind(reason=Reason.NOT_JSON, spoil=lambda line: b"\xef\xbb\xbf" + line, steps=told("\ufeff", "")),
    Kind(reason=Reason.NOT_AN_OBJECT, spoil=lambda line: b"[" + line + b"]",
         steps='[replace_text: {find: \'[{"type"\', to: \'{"type"\'}, replace_text: {find: "}]", to: "}"}]'),
    Kind(reason=Reason.TOO_DEEP, spoil=said(PROPERTIES, DEEP + PROPERTIES), steps=told(DEEP.decode(), "")),
    Kind(reason=Reason.TOO_LARGE, spoil=said(PROPERTIES, b" " * 530_000 + PROPERTIES), steps=told(" " * 1_000, "")),
    Kind(reason=Reason.DUPLICATE_KEY, spoil=said(b'"price": 20.0', TWICE), steps=told(TWICE.decode(), '"price": 20.0')),
    Kind(reason=Reason.NUMBER_OUT_OF_RANGE, spoil=said(b'"price": 20.0', b'"price": 12345678901234567890'),
         steps=told("12345678901234567890", "20.0")),
    Kind(reason=Reason.LONE_SURROGATE, spoil=said("Mü".encode(), "Mü\\ud83d".encode()), steps=told("\\ud83d", "")),
    Kind(reason=Reason.NUL_CHARACTER, spoil=said("Mü".encode(), "Mü\\u0000".encode()), steps=told("\\u0000", "")),
    Kind(reason=Reason.UNKNOWN_TYPE, spoil=said(b'"type": "track"', b'"type": "purchase"'),
         steps="[map_values: {field: type, values: {purchase: track}}]"),
    Kind(reason=Reason.INVALID_ENVELOPE, spoil=lambda line: line.replace(b'"userId": "', b'"userId": ').replace(
        b'", "timestamp"', b', "timestamp"'), steps="[cast: {field: userId, to: string}]"),
    Kind(reason=Reason.MISSING_EVENT_NAME, spoil=said(b'"event": "Product Purchased", ', b""),
         steps="[default: {field: event, value: Product Purchased}]"),
    Kind(reason=Reason.NO_IDENTIFIER, spoil=said(b'"userId"', b'"uid"'), steps="[rename: {field: uid, to: userId}]"),
    Kind(reason=Reason.INVALID_TIME, spoil=said(b'"2025-09-15T10:12:00Z"', b"1757931120"),
         steps="[cast: {field: timestamp, to: timestamp}]"),
    Kind(reason=Reason.UNKNOWN_EVENT, spoil=said(b'"Product Purchased"', b'"product purchased"'),
         steps="[map_values: {field: event, values: {product purchased: Product Purchased}}]"),
    Kind(reason=Reason.UNKNOWN_VERSION, steps="[set_version: {to: v1}]",
         spoil=said(PROPERTIES, b'"context": {"protocols": {"event_version": "v9"}}, ' + PROPERTIES)),
    Kind(reason=Reason.CONTRACT_VIOLATION, field="properties.price", spoil=said(b'"price": 20.0', b'"price": "20.0"'),
         steps="[cast: {field: properties.price, to: number}]"),
    Kind(reason=Reason.CONTRACT_VIOLATION, field="properties.currency", spoil=said(b'"USD"', b'"usd"'),
         steps="[map_values: {field: properties.currency, values: {usd: USD}}]"),
    Kind(reason=Reason.CONTRACT_VIOLATION, field="properties.product_id", spoil=said(b'"product_id"', b'"sku"'),
         steps="[rename: {field: properties.sku, to: product_id}]"),
    Kind(reason=Reason.CONTRACT_VIOLATION, field="properties.quantity",
         spoil=lambda line: said(b'"quantity": 1, ', b"")(line).replace(PROPERTIES, b'"quantity": 1, ' + PROPERTIES),
         steps="[move: {field: quantity, to: properties.quantity}]"),
    Kind(reason=Reason.UNKNOWN_EVENT, spoil=lambda line: line),  # its contract comes later
)  # fmt: skip


def kind_of(number: int) -> Kind | None:
    """How the event of this number is bad, if it is: one in a hundred, all kinds in turn."""
    return KINDS[number // ONE_IN % len(KINDS)] if number % ONE_IN == ONE_IN - 1 else None


def sound(number: int) -> bytes:
    """The event of this number as a sound line."""
    user = str(1_000 + number % (EVENTS // 20 + 1))  # everybody does something of everything
    kind = kind_of(number)
    event: Event = {"type": "track", "messageId": f"m-{number}", "event": "Product Purchased", "userId": user}
    if kind is None and number % 5 == 0:
        event |= {"type": "identify", "timestamp": "2025-09-10T10:12:00Z", "traits": {"country": "US"}}
        del event["event"]
    elif kind is None and number % 5 == 1:
        event |= {"event": "Segment Consent Preference Updated", "timestamp": "2025-09-11T10:12:00Z"}
        event |= {"properties": {"choice_text": "OK"}}
        event |= {"context": {"consent": {"categoryPreferences": {"marketing_email": int(user) % 3 > 0}}}}
    elif kind is not None and not kind.steps:
        event |= {"event": "Inventory Adjusted", "timestamp": "2025-09-15T10:12:00Z"}
        event |= {"properties": {"product_id": "sku", "quantity": 1}}
    else:
        price = 20.0 if kind else 5.0 + number % 50
        event |= {"timestamp": "2025-09-15T10:12:00Z"}
        event |= {"properties": {"product_id": "Müsli", "price": price, "quantity": 1, "currency": "USD"}}
    return json.dumps(event, ensure_ascii=False).encode()


def stream(*, spoiled: bool) -> Iterator[bytes]:
    for number in range(EVENTS):
        kind = kind_of(number)
        yield kind.spoil(sound(number)) if spoiled and kind is not None else sound(number)


@contextmanager
def worked(folder: Path, contracts: Path, *, spoiled: bool) -> Generator[Places]:
    """An environment in which the stream has landed and was worked."""
    state = open_state(f"sqlite:///{folder / 'state.db'}")
    try:
        places = replace(places_at(folder, state, contracts=contracts, clock=Clock()), batch_max_bytes=32 << 20)
        lines = stream(spoiled=spoiled)
        number = 0
        while chunk := list(islice(lines, SEGMENT_EVENTS)):
            at = NOW + timedelta(milliseconds=number)
            places.landing.seal("web", chunk, sealed_at=at, suffix=f"s{number}")
            number += 1
        drain(places, now=places.clock)
        yield places
    finally:
        state.close()


def differences(one: Places, other: Places) -> dict[str, int]:
    """How many rows of what was accepted, and of whose it is, only one of the two has."""
    columns = "v.source, v.contract, v.contract_version, v.event_type, v.event_name, v.message_id, v.occurred_at, "
    queries = [
        f"select {columns} v.used_properties::varchar, r.profile_id from {places.lake.source(VALIDATED)} as v "
        f"join {places.lake.source(RESOLVED)} as r on r.event_id = v.event_id"
        for places in (one, other)
    ]
    with duckdb.connect(":memory:") as connection:
        return {
            name: connection.execute(f"select count(*) from ({left} except all {right})").fetchall()[0][0]
            for name, (left, right) in {"lost": queries, "added": queries[::-1]}.items()
        }


def people(places: Places) -> tuple[object, ...]:
    """Who is in which audience, what everybody did in sum, and what is known of them, at the end."""
    m, a, t = membership_changes.c, activity.c, traits.c
    with places.state.read() as connection:
        members = {
            (row[0], row[1]): row[2] != "exited"
            for row in connection.execute(select(m.audience_id, m.profile_id, m.change).order_by(m.seq))
        }
        did = connection.execute(
            select(a.profile_id, a.measure, a.day, func.sum(a.event_count), func.sum(a.total_millionths)).group_by(
                a.profile_id, a.measure, a.day
            )
        ).all()
        known = {
            (row[0], row[1]): row[2]
            for row in connection.execute(select(t.profile_id, t.trait, t.value).order_by(t.seq))
        }
    return {pair for pair, is_in in members.items() if is_in}, sorted(tuple(row) for row in did), known


def repairs(folder: Path) -> Iterator[Path]:
    """A file for each kind that needs one."""
    for number, kind in enumerate(KINDS):
        if kind.steps:
            by_field = f", field: {kind.field}" if kind.field else ""
            steps = kind.steps.removeprefix("[").removesuffix("]").replace(", replace_text:", "}, {replace_text:")
            file = folder / f"repair_{number}.yaml"
            file.write_text(
                f"id: kind_{number}\nowner: shop\nreason_for: Injected.\n"
                f"select: {{reason: {kind.reason}{by_field}}}\nsteps: [{{{steps}}}]\n",
                encoding="utf-8",
            )
            yield file


def test_all_kinds_are_told_apart_and_repairing_twice_gives_the_tables_of_the_clean_stream(tmp_path: Path) -> None:
    for name in ("clean", "dirty"):
        (tmp_path / name).mkdir()
    contracts = REPOSITORY / "contracts"
    before = tmp_path / "contracts"
    shutil.copytree(contracts, before)
    shutil.rmtree(before / "events" / LATER_CONTRACT)
    bad = Counter(kind.reason.value for number in range(EVENTS) if (kind := kind_of(number)) is not None)
    with (
        worked(tmp_path / "clean", contracts, spoiled=False) as clean,
        worked(tmp_path / "dirty", before, spoiled=True) as dirty,
    ):
        assert totals(clean).accepted == EVENTS
        assert all(people(clean))
        found = totals(dirty)
        assert dict(found.quarantined_by_reason) == dict(bad)
        assert (found.received, found.accepted, found.conserved) == (EVENTS, EVENTS - bad.total(), True)
        assert sum(group.events for group in listed(dirty)) == bad.total()
        dirty = replace(dirty, contracts_root=contracts)
        files = list(repairs(tmp_path))
        for _ in range(2):
            for file in files:
                repair(dirty, read_repair(file, owners=contracts_today(dirty).owners), by="ann")
            replay(dirty, Selection(), by="ann")
            drain(dirty, now=dirty.clock)
        assert listed(dirty) == ()
        found = totals(dirty)
        assert (found.received, found.accepted, found.duplicate, found.quarantined, found.conserved) == (
            EVENTS + bad.total(), EVENTS, 0, bad.total(), True,
        )  # fmt: skip
        assert differences(clean, dirty) == {"lost": 0, "added": 0}
        assert people(dirty) == people(clean)
        with duckdb.connect(":memory:") as connection:  # the originals stay, with their bytes
            query = f"select count(*), count(payload) from {dirty.lake.source(QUARANTINED)} as q"
            assert connection.execute(query).fetchall() == [(bad.total(), bad.total())]
