"""Promise 1, of shed events: every batch counts them, they take no messageId, and whoever asks is told."""

from __future__ import annotations

import itertools
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activation_dagster.domain.contracts import Criticality
from activation_dagster.domain.reasons import ShedReason
from activation_dagster.pipeline.explain import explain
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.receipts import event_receipt
from activation_dagster.pipeline.verify import verify
from activation_dagster.pipeline.watch import batch_sums, totals
from activation_dagster.registry.arrival import ArrivalJudge
from activation_dagster.registry.loading import load_contracts
from activation_dagster.sources.collector.lines import Arrival, landing_line
from activation_dagster.state.engine import open_state
from tests.pipeline.small_shop import (
    NOW,
    REPOSITORY,
    bad_price,
    buyer,
    choice,
    identify,
    land,
    places_at,
    purchase,
    work,
)

ARRIVAL = Arrival(received_at="2025-09-18T10:11:00.000Z", made_id="made", source="web")


def shed_line(event: Mapping[str, object], reason: ShedReason = ShedReason.OVERLOAD) -> bytes:
    """The line that the collector writes."""
    return landing_line(
        json.dumps(dict(event)).encode(), ARRIVAL, 0, lambda _: None, lambda _event, _place: reason
    ).line


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """One event: which of a few message ids it has, and what kind it is."""

    number: int
    kind: str


KINDS = st.sampled_from(["sound", "broken", *ShedReason])
ARRIVALS = st.lists(st.builds(Arrived, number=st.integers(0, 4), kind=KINDS), min_size=1, max_size=12)
_runs = itertools.count()


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    folder = tmp_path_factory.mktemp("shed")
    state = open_state(f"sqlite:///{folder / 'state.db'}")
    yield places_at(folder, state)
    state.close()


@settings(max_examples=6)
@given(batches=st.lists(ARRIVALS, min_size=1, max_size=2))
def test_whatever_is_shed_every_sum_holds_and_a_shed_id_is_free(
    long_lived: Places, batches: list[list[Arrived]]
) -> None:
    run = next(_runs)
    taken: set[str] = set()
    before = totals(long_lived)
    expected: Counter[str] = Counter()
    for arrived in batches:
        lines: list[bytes] = []
        for one in arrived:
            message = f"r{run}-{one.number}"
            event = {**(bad_price("ann") if one.kind == "broken" else purchase("ann")), "messageId": message}
            is_shed = one.kind in set(ShedReason)
            lines.append(shed_line(event, ShedReason(one.kind)) if is_shed else json.dumps(event).encode())
            if is_shed:
                expected[one.kind] += 1
            elif message in taken:
                expected["duplicate"] += 1
            elif one.kind == "sound":
                taken.add(message)
                expected["accepted"] += 1
            else:
                expected["quarantined"] += 1
        land(long_lived, *lines)
        worked = work(long_lived)
        assert all(sums.hold for sums in batch_sums(long_lived, [batch.batch_id for batch in worked]))
    after = totals(long_lived)
    assert after.conserved
    assert after.received - before.received == sum(map(len, batches))
    for name in ("accepted", "duplicate", "quarantined"):
        assert getattr(after, name) - getattr(before, name) == expected[name], name
    for reason in ShedReason:
        gone = after.shed_by_reason.get(reason.value, 0) - before.shed_by_reason.get(reason.value, 0)
        assert gone == expected[reason]


def test_a_receipt_of_a_shed_event_says_so_from_landing_to_the_lake_until_it_is_sent_again(places: Places) -> None:
    event = purchase("ann")
    message = str(event["messageId"])
    land(places, shed_line(event, ShedReason.RATE_LIMIT))
    for _ in range(2):
        found = event_receipt(places, message, source="web")
        assert found is not None
        assert (found.status, found.reason) == ("shed", "shed_rate_limit")
        work(places)
    land(places, event)
    for status in ("pending", "accepted"):
        found = event_receipt(places, message, source="web")
        assert found is not None
        assert found.status == status
        work(places)


def test_a_shed_event_is_in_no_table_but_as_received_and_a_lake_that_is_rebuilt_says_the_same(places: Places) -> None:
    land(places, shed_line(purchase("ann")), purchase("bob"))
    work(places)
    for table in ("validated_events", "ingested_events"):
        for path in (places.lake.root / table).rglob("*.parquet"):
            path.unlink()
    found = verify(places, rebuild=True, now=NOW)
    assert found.damaged
    assert found.is_sound
    assert (totals(places).received, totals(places).accepted, totals(places).shed) == (2, 1, 1)


def test_what_may_say_a_no_or_cannot_be_read_must_not_be_shed_whatever_its_contract_says(tmp_path: Path) -> None:
    contracts = tmp_path / "contracts"
    shutil.copytree(REPOSITORY / "contracts", contracts)
    for slug in ("consent_preference_updated", "product_purchased"):
        about = contracts / "events" / slug / "contract.yaml"
        about.write_text(about.read_text().replace("criticality: critical", "criticality: best_effort"))
    judge = ArrivalJudge(load_contracts(contracts, environment="demo"))
    assert judge.criticality(purchase("ann")) is Criticality.BEST_EFFORT
    assert judge.criticality(choice("ann", marketing_email=False)) is None
    assert judge.criticality({**purchase("ann"), "userId": 5}) is None
    assert judge.criticality({"type": "page", "anonymousId": "a"}) is Criticality.BEST_EFFORT
    assert judge.criticality(identify("ann")) is Criticality.CRITICAL
    assert judge.criticality({**purchase("ann"), "event": "Nobody Promised"}) is Criticality.STANDARD


def test_who_asks_why_nothing_was_decided_is_told_of_what_was_shed(places: Places) -> None:
    land(places, *buyer("ann", allows=True), shed_line(purchase("ann")), shed_line(purchase("bob")))
    work(places)
    said = explain(places, profile="user_id:ann", workflow="vip_journey").sentence
    assert "Events were shed (2 of 'product_purchased')" in said
