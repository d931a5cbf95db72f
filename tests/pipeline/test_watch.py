"""The numbers of an environment: they add up at every moment, and a sum that is broken is an incident."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from activation_dagster.domain.batches import Phase
from activation_dagster.domain.consent import ConsentStatus
from activation_dagster.domain.reasons import IncidentKind
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.plan import plan_batch
from activation_dagster.pipeline.watch import Totals, batch_sums, totals, watch
from activation_dagster.state.batches import Provenance
from activation_dagster.state.consent import record_choice
from activation_dagster.state.incidents import list_incidents, resolve
from activation_dagster.state.tables import batch_phases, sends
from tests.pipeline.small_shop import NOW, bad_price, batches_of, buyer, land, ledger, send_for, send_out, work


class Died(Exception):
    """The process ended here."""


def test_an_empty_environment_has_nothing_and_keeps_its_sums(places: Places) -> None:
    found = totals(places)
    assert (found.received, found.decisions, found.batches, found.watermark) == (0, 0, 0, None)
    assert found.conserved


def test_every_event_and_every_decision_is_counted_once(worked: Places) -> None:
    found = totals(worked)
    assert (found.received, found.accepted, found.duplicate, found.quarantined, found.shed) == (19, 15, 1, 3, 0)
    assert found.quarantined_by_reason == {"contract_violation": 1, "not_json": 1, "unknown_event": 1}
    assert found.profiles == 5
    assert found.audiences == {"high_value_users": 1, "recent_buyers": 3}
    # Two workflows want each of five choices; three people may be written to, and one of them is entered as well.
    assert (found.decisions, found.sent, found.refused, found.pending) == (11, 4, 7, 0)
    assert found.refused_by_reason == {"lost_to:welcome_back": 3, "consent_denied": 2, "not_in_audience": 2}
    assert (found.batches, found.unfinished_batches, found.waiting_segments) == (3, 0, 0)
    assert found.conserved


def test_what_the_ledger_ended_counts_as_refused_with_its_reason(places: Places, tmp_path: Path) -> None:
    land(places, *buyer("u1"))
    work(places)
    record_choice(
        places.state,
        profile_id=send_for(places, "welcome_back").profile_id,
        purpose="marketing",
        channel="email",
        status=ConsentStatus.DENIED,
        decided_at=NOW,
        source="person:desk",
        proof={},
        now=NOW,
        actor="desk",
    )
    send_out(places, tmp_path)
    found = totals(places)
    assert (found.sent, found.refused, found.pending) == (0, 2, 0)
    assert found.refused_by_reason == {"consent_withdrawn": 1, "lost_to:welcome_back": 1}
    assert sum(found.refused_by_reason.values()) == found.refused


def test_both_sums_hold_at_every_recovery_point(places: Places, tmp_path: Path) -> None:
    seen: dict[str, Totals] = {}
    quiet = replace(places, at=lambda _: None)
    watched = replace(places, at=lambda point: seen.update({point: totals(quiet)}))
    land(watched, *buyer("u1", price=700.0), *buyer("u2", allows=False), bad_price("u2"))
    work(watched)
    send_out(watched, tmp_path)
    assert {point for point, found in seen.items() if not found.conserved} == set()
    assert {"ingested.closed", "decided.closed", "intended.effects", "sends.claimed", "sends.answered"} <= seen.keys()
    # Decided and not yet in the ledger is pending; so is what the ledger has before the phase is closed.
    assert seen["decided.closed"].pending == seen["intended.effects"].pending == seen["intended.closed"].pending == 2
    assert seen["sends.answered"].sent > 0


@pytest.mark.parametrize("phase", list(Phase)[1:])
def test_a_batch_that_died_breaks_no_sum_and_neither_does_finishing_it(places: Places, phase: Phase) -> None:
    def die(point: str) -> None:
        if point == f"{phase}.effects":
            raise Died

    land(places, *buyer("u1", price=700.0), *buyer("u2", allows=False), bad_price("u2"))
    with pytest.raises(Died):
        work(replace(places, at=die))
    assert totals(places).conserved
    assert totals(places).unfinished_batches == 1
    work(places)
    found = totals(places)
    assert (found.unfinished_batches, found.conserved, found.received, found.decisions) == (0, True, 7, 5)


def test_a_send_that_the_ledger_lost_breaks_the_sum_and_opens_one_incident(worked: Places) -> None:
    places, (first, *_) = worked, batches_of(worked)
    with places.state.write() as connection:
        connection.execute(
            delete(sends).where(sends.c.batch_id == first.batch_id, sends.c.workflow_id == "vip_journey")
        )
    report = watch(places, NOW)
    assert not report.totals.conserved
    assert [sums.batch_id for sums in report.broken] == [first.batch_id]
    assert watch(places, NOW).incidents == report.incidents
    with places.state.read() as connection:
        (incident,) = list_incidents(connection)
    assert (incident.kind, incident.owner, incident.batch_id) == (
        IncidentKind.SUM_BROKEN,
        "platform",
        first.batch_id,
    )
    assert "5 decisions are not 1 sent + 3 refused + 0 pending" in incident.sentence


def test_a_resolved_incident_is_opened_again_while_the_sum_stays_broken(worked: Places) -> None:
    places = worked
    with places.state.write() as connection:
        connection.execute(delete(sends))
    opened = watch(places, NOW).incidents
    with places.state.write() as connection:
        resolve(connection, opened[0], by="somebody", resolution="Looked away.", now=NOW)
    again = watch(places, NOW).incidents
    assert again[0] != opened[0]
    assert again[1:] == opened[1:]


def test_errors_of_two_batches_do_not_cancel_out(worked: Places) -> None:
    places, (first, second, _) = worked, batches_of(worked)
    with places.state.write() as connection:
        for batch, change in ((first, 1), (second, -1)):
            row = (batch_phases.c.batch_id == batch.batch_id, batch_phases.c.phase == Phase.INGESTED.value)
            counts = connection.execute(select(batch_phases.c.counts).where(*row)).scalar_one()
            received = int(counts.split(":")[1].strip(" }"))
            changed = f'{{"received": {received + change}}}'
            connection.execute(update(batch_phases).where(*row).values(counts=changed))
    found = totals(places)
    assert found.received == found.accepted + found.duplicate + found.quarantined + found.shed
    assert not found.conserved


def test_sends_of_a_batch_that_decided_nothing_break_the_sum(worked: Places) -> None:
    places = worked
    with places.state.write() as connection:
        connection.execute(update(sends).values(batch_id="b-nobody-knows"))
    assert {sums.batch_id for sums in watch(places, NOW).broken} >= {"b-nobody-knows"}


def test_incidents_are_opened_even_where_the_contracts_are_broken(worked: Places, tmp_path: Path) -> None:
    with worked.state.write() as connection:
        connection.execute(delete(sends))
    (tmp_path / "broken").mkdir()
    assert len(watch(replace(worked, contracts_root=tmp_path / "broken"), NOW).incidents) == 3


def test_the_sums_of_one_batch_are_those_that_the_totals_add_up(worked: Places) -> None:
    places = worked
    added = [sums for batch in batches_of(places) for sums in batch_sums(places, [batch.batch_id])]
    whole = totals(places)
    assert sum(sums.events.received for sums in added if sums.events) == whole.received
    assert sum(sums.decisions.decisions for sums in added if sums.decisions) == whole.decisions
    assert batch_sums(places, ["b-nobody-knows"]) == ()


def test_the_watermark_stands_before_the_first_segment_that_is_not_worked(worked: Places) -> None:
    places, (first, _, last) = worked, batches_of(worked)
    newest = last.segments[-1].sealed_at
    assert totals(places).watermark == newest
    land(places, *buyer("u8"), at=newest + timedelta(minutes=1))
    assert totals(places).watermark == newest
    assert totals(places).waiting_segments == 1
    planned = plan_batch(places, provenance=Provenance.LIVE, now=NOW)
    assert planned is not None
    assert (totals(places).watermark, totals(places).waiting_segments) == (newest, 0)
    land(places, *buyer("u9"), at=first.segments[0].sealed_at + timedelta(minutes=1))
    assert totals(places).watermark == first.segments[0].sealed_at  # what came late holds it back


def test_held_and_unknown_sends_are_pending(worked: Places) -> None:
    places = worked
    keys = [send.send_key for send in ledger(places)]
    with places.state.write() as connection:
        for key, status in zip(keys, ("held", "unknown", "claimed", "pending"), strict=True):
            connection.execute(update(sends).where(sends.c.send_key == key).values(status=status))
    found = totals(places)
    assert (found.pending, found.held, found.unknown, found.conserved) == (4, 1, 1, True)
