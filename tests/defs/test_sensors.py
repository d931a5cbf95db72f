"""What the sensors do over several ticks, on a real instance with real landing, state and lake."""

from __future__ import annotations

from datetime import timedelta

import pytest
from dagster import (
    AssetKey,
    DagsterRun,
    DagsterRunStatus,
    RunRequest,
    build_run_status_sensor_context,
)

from activation_dagster.defs.partitions import FIRST_HOUR
from activation_dagster.defs.resources import Workbench
from activation_dagster.defs.scope import BATCH_TAG, DELIVERY, LANE_TAG, LIVE
from activation_dagster.domain.batches import Provenance
from activation_dagster.domain.reasons import IncidentKind
from activation_dagster.lake.delta import hour_key
from activation_dagster.pipeline.plan import unfinished_batches
from activation_dagster.pipeline.watch import totals
from activation_dagster.sources.simulator import simulate
from activation_dagster.state import halts
from activation_dagster.state.incidents import list_incidents, resolve
from activation_dagster.state.leases import acquire
from tests.defs.installation import Clock, Installation, this_hour
from tests.destinations.far_end import FarEnd


def lines(seed: int = 1, *, people: int = 5, events: int = 100) -> list[bytes]:
    return simulate(seed=seed, people=people, events=events, now=Clock.real()).lines


def requested(installation: Installation, sensor: str = "landing_sensor") -> RunRequest | None:
    """The only run that a tick asks for, or None."""
    requests = installation.tick(sensor).run_requests or []
    assert len(requests) <= 1
    return requests[0] if requests else None


def skipped(installation: Installation, sensor: str = "landing_sensor") -> str:
    """Why a tick asks for nothing."""
    data = installation.tick(sensor)
    assert not data.run_requests
    assert data.skip_message
    return data.skip_message


def under_way(
    installation: Installation, *, tags: dict[str, str], status: DagsterRunStatus = DagsterRunStatus.STARTED
) -> DagsterRun:
    """A run of the activation job that Dagster holds for being at work."""
    job = installation.defs.get_repository_def().get_job("activation_job")
    return installation.instance.create_run_for_job(job, tags=tags, status=status)


# -- batches ----------------------------------------------------------------------------------------------------------


def test_a_tick_asks_for_one_run_over_all_that_has_landed_in_an_hour(installation: Installation, clock: Clock) -> None:
    landed = lines()
    installation.land(landed[:50], at=clock.now, suffix="a")
    installation.land(landed[50:], at=clock.now, suffix="b", source="crm")
    request = requested(installation)
    assert request is not None
    with installation.places() as places:
        (batch,) = unfinished_batches(places)
    assert len(batch.segments) == 2
    assert batch.provenance is Provenance.LIVE
    assert request.run_key == f"{batch.batch_id}:1"
    assert request.tags[BATCH_TAG] == batch.batch_id
    assert request.tags[LANE_TAG] == LIVE
    assert request.partition_key == f"{batch.arrival_hour:%Y-%m-%d-%H}"


def test_over_several_ticks_all_is_worked_off_oldest_hour_first_and_then_nothing_waits(
    installation: Installation, clock: Clock, shared_far_end: FarEnd
) -> None:
    landed = lines(people=20, events=300)
    shared_far_end.reset()
    for number, hours in enumerate((30, 3, 0)):
        installation.land(
            landed[100 * number : 100 * (number + 1)], at=clock.now - timedelta(hours=hours), suffix=f"h{hours}"
        )
    results = installation.work()
    assert [result.success for result in results] == [True, True, True]
    hours = [str(result.dagster_run.tags["dagster/partition"]) for result in results]
    assert hours == sorted(hours)
    assert skipped(installation) == "Nothing waits in landing."
    with installation.places() as places:
        counted = totals(places)
    assert counted.received == 300
    assert counted.conserved
    assert counted.sent > 0
    assert counted.sent == len(shared_far_end.rows("events")) + len(shared_far_end.rows("workflow_entries"))


@pytest.mark.parametrize("status", [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED])
def test_while_a_run_is_queued_or_at_work_a_tick_asks_for_nothing(
    installation: Installation, clock: Clock, status: DagsterRunStatus
) -> None:
    installation.land(lines(), at=clock.now)
    run = under_way(installation, tags={LANE_TAG: LIVE}, status=status)
    assert run.run_id in skipped(installation)
    installation.instance.delete_run(run.run_id)
    assert requested(installation) is not None


def test_a_backfill_at_work_does_not_keep_batches_waiting(installation: Installation, clock: Clock) -> None:
    installation.land(lines(), at=clock.now)
    under_way(installation, tags={"dagster/backfill": "x"})
    assert requested(installation) is not None


def test_a_batch_whose_run_failed_is_started_again_before_anything_new(
    installation: Installation, clock: Clock
) -> None:
    segment = installation.land(lines(), at=clock.now, suffix="a")
    first = requested(installation)
    assert first is not None
    with installation.places() as places:
        path = places.landing.path_of(segment)
    path.rename(path.with_suffix(".away"))
    assert not installation.run(first).success
    path.with_suffix(".away").rename(path)
    installation.land(lines(seed=2), at=clock.now, suffix="b")
    again = requested(installation)
    assert again is not None
    assert again.tags[BATCH_TAG] == first.tags[BATCH_TAG]
    assert again.run_key != first.run_key
    assert installation.run(again).success
    assert [result.success for result in installation.work()] == [True]
    with installation.places() as places:
        assert totals(places).received == 200
        assert totals(places).conserved


def test_a_batch_that_fails_again_and_again_waits_longer_each_time_and_lets_others_pass(
    installation: Installation, clock: Clock
) -> None:
    segment = installation.land(lines(), at=clock.now, suffix="a")
    with installation.places() as places:
        path = places.landing.path_of(segment)
    broken = requested(installation)
    path.rename(path.with_suffix(".away"))
    for _ in range(2):
        assert broken is not None
        installation.run(broken)
        clock.now = Clock.real()
        broken = requested(installation)
    assert broken is None  # it waits a few seconds now
    installation.land(lines(seed=2), at=clock.now, suffix="b")
    other = requested(installation)
    assert other is not None
    assert installation.run(other).success
    clock.advance(seconds=60)
    path.with_suffix(".away").rename(path)
    assert [result.success for result in installation.work()] == [True]


def test_a_batch_that_somebody_works_on_is_left_alone(installation: Installation, clock: Clock) -> None:
    installation.land(lines(), at=clock.now)
    request = requested(installation)
    assert request is not None
    with installation.places() as places, places.state.write() as connection:
        acquire(connection, f"batch:{request.tags[BATCH_TAG]}", "somebody", now=clock.now, seconds=30)
    assert skipped(installation) == "Nothing waits in landing."
    clock.advance(seconds=31)
    assert requested(installation) is not None


def test_nobody_overtakes_a_batch_that_has_begun_to_resolve(installation: Installation, clock: Clock) -> None:
    installation.land(lines(), at=clock.now, suffix="a")
    request = requested(installation)
    assert request is not None
    batch_id = request.tags[BATCH_TAG]
    installation.materialise(
        "ingested_events",
        "validated_events",
        "resolved_identities",
        tags={BATCH_TAG: batch_id},
        partition_key=request.partition_key,
    )
    installation.land(lines(seed=2), at=clock.now, suffix="b")
    with installation.places() as places, places.state.write() as connection:
        acquire(connection, f"batch:{batch_id}", "somebody", now=clock.now, seconds=30)
    assert skipped(installation) == f"The batch {batch_id} must be finished first, and somebody works on it."
    clock.advance(seconds=31)
    first, second = installation.work()
    assert first.dagster_run.tags[BATCH_TAG] == batch_id
    assert second.success


def test_a_run_whose_process_died_is_reported_and_its_batch_starts_again(
    installation: Installation, clock: Clock
) -> None:
    installation.land(lines(), at=clock.now)
    request = requested(installation)
    assert request is not None
    run = under_way(installation, tags=dict(request.tags))
    assert "under way" in skipped(installation)
    clock.advance(seconds=2 * installation.settings.lease_seconds + 1)
    again = requested(installation)
    assert again is not None
    assert again.tags[BATCH_TAG] == request.tags[BATCH_TAG]
    assert again.run_key != request.run_key
    found = installation.instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status is DagsterRunStatus.FAILURE
    assert installation.run(again).success


def test_every_hour_is_looked_into_at_first_and_then_now_and_again(installation: Installation, clock: Clock) -> None:
    long_ago = clock.now - timedelta(days=3)
    installation.land(lines(), at=long_ago, suffix="a")
    assert len(installation.work()) == 1
    installation.land(lines(seed=2), at=long_ago, suffix="b")
    assert skipped(installation) == "Nothing waits in landing."
    clock.advance(minutes=10)
    assert requested(installation) is not None


def test_events_that_arrived_under_a_wrong_clock_are_worked_off_too(installation: Installation, clock: Clock) -> None:
    installation.land(lines(), at=clock.now - timedelta(days=4000), suffix="past")
    installation.land(lines(seed=2), at=clock.now + timedelta(days=4000), suffix="future")
    before = hour_key(this_hour())
    results = installation.work()
    assert [result.success for result in results] == [True, True]
    past, future = (result.dagster_run.tags["dagster/partition"] for result in results)
    assert past == FIRST_HOUR
    assert before <= future <= hour_key(this_hour())
    with installation.places() as places:
        assert totals(places).received == 200


# -- deliveries -------------------------------------------------------------------------------------------------------


def with_sends_due(installation: Installation, clock: Clock) -> None:
    """Batches worked off, and their messages due: what a batch's own run would have delivered was not."""
    installation.land(lines(people=20, events=300), at=clock.now)
    request = requested(installation)
    assert request is not None
    decided = installation.materialise(
        "ingested_events",
        "validated_events",
        "quarantined_events",
        "duplicate_events",
        "resolved_identities",
        "consented_audiences",
        "send_decisions",
        tags={BATCH_TAG: request.tags[BATCH_TAG]},
        partition_key=request.partition_key,
    )
    assert decided.success


def test_what_is_due_starts_a_delivery_and_then_nothing_is(
    installation: Installation, clock: Clock, shared_far_end: FarEnd
) -> None:
    shared_far_end.reset()
    with_sends_due(installation, clock)
    request = requested(installation, "delivery_sensor")
    assert request is not None
    assert request.tags[LANE_TAG] == DELIVERY
    assert installation.run(request, job="deliver_job").success
    assert shared_far_end.rows("events")
    assert skipped(installation, "delivery_sensor") == "Nothing is due."


@pytest.mark.parametrize("lane", [LIVE, DELIVERY])
def test_a_delivery_waits_for_the_run_that_will_deliver_anyway(
    installation: Installation, clock: Clock, lane: str
) -> None:
    with_sends_due(installation, clock)
    run = under_way(installation, tags={LANE_TAG: lane})
    assert skipped(installation, "delivery_sensor") == f"The run {run.run_id} is under way."


@pytest.mark.parametrize("scope", ["*", "destination:iterable", "channel:email"])
def test_what_is_halted_is_not_due(installation: Installation, clock: Clock, scope: str) -> None:
    with_sends_due(installation, clock)
    with installation.places() as places:
        halts.halt(places.state, scope, by="ann", why="wrong text", now=clock.now)
    assert skipped(installation, "delivery_sensor") == "Nothing is due."


# -- freshness --------------------------------------------------------------------------------------------------------


def test_the_watermark_is_evaluated_without_any_run(installation: Installation, clock: Clock) -> None:
    assert skipped(installation, "watermark_sensor") == "Nothing has arrived yet."
    installation.land(lines(), at=clock.now)
    installation.work()
    (fresh,) = installation.tick("watermark_sensor").asset_events
    assert getattr(fresh, "passed", None) is True
    assert skipped(installation, "watermark_sensor") == "Still fresh."
    clock.advance(minutes=16)
    (stale,) = installation.tick("watermark_sensor").asset_events
    assert getattr(stale, "passed", None) is False
    assert fresh.asset_key == AssetKey("ingested_events")


# -- failures ---------------------------------------------------------------------------------------------------------


def tell_of_failure(installation: Installation, run: DagsterRun) -> None:
    """Evaluate the failure sensor for one failed run."""
    repository = installation.defs.get_repository_def()
    failure = installation.instance.get_records_for_run(run.run_id).records[-1].event_log_entry.dagster_event
    assert failure is not None
    with installation.places() as places:
        context = build_run_status_sensor_context(
            sensor_name="run_failure_sensor",
            dagster_event=failure,
            dagster_instance=installation.instance,
            dagster_run=run,
            resources={"workbench": Workbench(installation.settings, places, None)},  # pyright: ignore[reportArgumentType]
        ).for_run_failure()
        repository.get_sensor_def("run_failure_sensor")(context)


def test_a_failed_check_is_an_incident_and_its_batch_waits_until_a_person_resolves_it(
    installation: Installation, clock: Clock
) -> None:
    installation.land([b"{not json"] * 150, at=clock.now)
    request = requested(installation)
    assert request is not None
    result = installation.run(request)
    assert not result.success
    tell_of_failure(installation, result.dagster_run)
    with installation.places() as places:
        with places.state.read() as connection:
            (incident,) = list_incidents(connection)
        assert incident.kind is IncidentKind.CHECK_FAILED
        assert incident.batch_id == request.tags[BATCH_TAG]
        assert incident.owner == "platform"
        assert "quarantine_rate" in incident.sentence
        assert skipped(installation) == "Nothing waits in landing."
        with places.state.write() as connection:
            resolve(connection, incident.incident_id, by="ann", resolution="Looked at it.", now=clock.now)
    assert requested(installation) is not None


def test_a_person_lets_a_stopped_batch_pass_by_starting_it_after_the_check(
    installation: Installation, clock: Clock
) -> None:
    installation.land([b"{not json"] * 150, at=clock.now)
    request = requested(installation)
    assert request is not None
    assert not installation.run(request).success
    passed = installation.materialise(
        "resolved_identities",
        "consented_audiences",
        "send_decisions",
        tags=dict(request.tags),
        partition_key=request.partition_key,
    )
    assert passed.success
    with installation.places() as places:
        assert unfinished_batches(places) == []


def test_a_crash_is_an_incident_without_the_values_that_a_library_quotes(
    installation: Installation, clock: Clock
) -> None:
    segment = installation.land(lines(), at=clock.now)
    request = requested(installation)
    assert request is not None
    with installation.places() as places:
        places.landing.path_of(segment).unlink()
        result = installation.run(request)
        tell_of_failure(installation, result.dagster_run)
        with places.state.read() as connection:
            (incident,) = list_incidents(connection)
    assert "it raised MendTheEnvironment (A sealed segment is gone, at " in incident.sentence
    assert request.tags[BATCH_TAG] in incident.sentence
    assert (incident.kind, incident.owner, incident.batch_id) == (IncidentKind.RUN_FAILED, "platform", "")


def test_a_run_that_failed_is_one_incident_until_it_is_resolved_and_its_batch_does_not_wait_for_that(
    installation: Installation, clock: Clock
) -> None:
    segment = installation.land(lines(), at=clock.now)
    with installation.places() as places:
        path = places.landing.path_of(segment)

    def fail() -> str:
        request = requested(installation)
        assert request is not None
        path.rename(path.with_suffix(".away"))
        result = installation.run(request)
        path.with_suffix(".away").rename(path)
        assert not result.success
        tell_of_failure(installation, result.dagster_run)
        clock.advance(minutes=5)  # a batch that fails again and again waits longer each time
        with installation.places() as places, places.state.read() as connection:
            (incident,) = list_incidents(connection, is_open=True)
        assert incident.kind is IncidentKind.RUN_FAILED
        return incident.incident_id

    first = fail()
    assert fail() == first
    with installation.places() as places, places.state.write() as connection:
        assert resolve(connection, first, by="ann", resolution="Looked for the disk.", now=clock.now)
    again = fail()
    assert again != first
    assert [result.success for result in installation.work()] == [True]
    with installation.places() as places, places.state.write() as connection:
        assert resolve(connection, again, by="ann", resolution="The disk is back.", now=clock.now)
        assert list_incidents(connection, is_open=True) == ()
