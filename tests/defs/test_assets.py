"""What a run leaves in Dagster, and what a run may work on."""

from __future__ import annotations

from datetime import timedelta
from threading import Timer

import pytest
from dagster import AssetCheckSeverity, AssetKey, DagsterEventType, ExecuteInProcessResult

from activation_dagster.defs.checks import OF_BATCHES, OF_DELIVERIES
from activation_dagster.defs.scope import BATCH_TAG
from activation_dagster.domain.sends import SETTLED
from activation_dagster.lake.delta import hour_key
from activation_dagster.lake.tables import SENDS
from activation_dagster.pipeline.watch import totals
from activation_dagster.sources.simulator import simulate
from activation_dagster.state.batches import closed_phases, unfinished
from activation_dagster.state.leases import acquire, release
from activation_dagster.state.send_copies import closed_copies
from activation_dagster.state.sends import ledger_counts
from activation_dagster.wiring import utc_now
from tests.defs.installation import Clock, Installation, this_hour

OF_LAKE = {
    "ingested_events",
    "validated_events",
    "quarantined_events",
    "duplicate_events",
    "resolved_identities",
    "consented_audiences",
    "send_decisions",
}


def hours_worked(installation: Installation) -> list[str]:
    """The partitions that the fixture's batches are in, oldest first; the clock may have struck since."""
    with installation.places() as places, places.state.read() as connection:
        return sorted({hour_key(hour) for _, hour, *_ in closed_phases(connection)})


def sentences(result: ExecuteInProcessResult) -> str:
    """What the failed steps of a run said."""
    return "\n".join(
        error.to_string()
        for event in result.all_events
        if event.event_type is DagsterEventType.STEP_FAILURE and (error := event.step_failure_data.error)
    )


def test_every_asset_is_materialised(worked: Installation) -> None:
    for name in (*OF_LAKE, "segment_events", "sends", "iterable"):
        assert worked.metadata(name)


def test_an_asset_tells_of_its_last_batch(worked: Installation) -> None:
    with worked.places() as places, places.state.read() as connection:
        last = closed_phases(connection)[-1][0]
        rows = {
            table: copy.rows for batch, *_, copies in closed_phases(connection) if batch == last
            for table, copy in copies.items()
        }  # fmt: skip
    for name in OF_LAKE:
        shown = worked.metadata(name)
        assert shown["batch_id"] == last
        assert shown["provenance"] == "live"
        assert shown["contract_set"]
        assert shown["watermark"] <= shown["received_until"] <= utc_now().timestamp()
        assert shown["dagster/uri"].startswith("file:///")
    assert worked.metadata("validated_events")["dagster/row_count"] == rows["validated_events"]
    assert worked.metadata("consented_audiences")["dagster/row_count"] == rows["audience_memberships"]


def test_the_counts_shown_are_those_of_state(worked: Installation) -> None:
    shown = worked.metadata("validated_events")
    assert shown["received"] == shown["accepted"] + shown["duplicate"] + shown["quarantined"] + shown["shed"]
    assert sum(shown["contract_versions"].values()) == shown["accepted"]
    assert shown["contract_versions"]["page v1"] > 0
    with worked.places() as places:
        assert totals(places).conserved


def test_the_ledger_tells_of_its_copy_in_the_lake(worked: Installation) -> None:
    shown = worked.metadata("sends")
    assert shown["copied_batches"] == 1
    assert shown["copied_rows"] > 0
    with worked.places() as places:
        assert shown["lake_uri"] == places.lake.path(SENDS).as_uri()
        with places.state.read() as connection:
            settled = sum(count for (status, _), count in ledger_counts(connection).items() if status in SETTLED)
            assert sum(copy.rows for *_, copy in closed_copies(connection)) == settled


def test_every_check_was_evaluated_and_passed(worked: Installation) -> None:
    graph = worked.defs.resolve_asset_graph()
    latest = worked.instance.event_log_storage.get_latest_asset_check_execution_by_key(list(graph.asset_check_keys))
    assert set(latest) == set(graph.asset_check_keys)
    for record in latest.values():
        assert record.event is not None
        assert record.event.dagster_event is not None
        evaluation = record.event.dagster_event.asset_check_evaluation_data
        assert evaluation.passed, evaluation
        assert evaluation.metadata


def test_warnings_never_stop_a_run_and_blocking_checks_always_do(worked: Installation) -> None:
    graph = worked.defs.resolve_asset_graph()
    latest = worked.instance.event_log_storage.get_latest_asset_check_execution_by_key(list(graph.asset_check_keys))
    for key, record in latest.items():
        assert record.event is not None
        assert record.event.dagster_event is not None
        severity = record.event.dagster_event.asset_check_evaluation_data.severity
        assert (severity is AssetCheckSeverity.ERROR) == graph.get_check_spec(key).blocking


def test_each_hour_of_arrival_is_a_partition_of_its_own(worked: Installation) -> None:
    hours = hours_worked(worked)
    assert len(hours) == 2
    for name in (*OF_LAKE, "segment_events"):
        assert sorted(worked.instance.get_materialized_partitions(AssetKey(name))) == hours


def test_no_metadata_holds_an_address_of_the_far_end_or_a_key(worked: Installation) -> None:
    told = str([worked.metadata(name) for name in (*OF_LAKE, "segment_events", "sends", "iterable")])
    assert worked.settings.iterable_base_url not in told
    assert worked.settings.iterable_api_key.get_secret_value() not in told


# -- what a run may work on -------------------------------------------------------------------------------------------


def test_a_run_for_a_batch_that_does_not_exist_says_so(installation: Installation) -> None:
    result = installation.materialise("ingested_events", tags={BATCH_TAG: "b000"}, partition_key=hour_key(this_hour()))
    assert not result.success
    assert "names the batch 'b000', which does not exist" in sentences(result)


def test_a_run_for_no_hour_and_no_batch_says_so(installation: Installation) -> None:
    result = installation.materialise("ingested_events")
    assert not result.success
    assert "for no hour and for no batch" in sentences(result)


def test_an_hour_without_batches_is_materialised_empty_with_its_checks(installation: Installation) -> None:
    result = installation.materialise(partition_key=hour_key(this_hour()))
    assert result.success
    assert {installation.metadata(name)["dagster/row_count"] for name in OF_LAKE} == {0}
    assert {evaluation.passed for evaluation in result.get_asset_check_evaluations()} == {True}
    judged = sorted(evaluation.check_name for evaluation in result.get_asset_check_evaluations())
    assert judged == sorted(check.name for check in (*OF_BATCHES, *OF_DELIVERIES))


def planned(installation: Installation, *, events: int = 120) -> tuple[str, str]:
    """A batch that the sensor has planned and nobody has worked on; its id and partition."""
    installation.land(simulate(seed=9, people=4, events=events, now=utc_now()).lines, at=utc_now(), suffix="p")
    (request,) = installation.tick("landing_sensor").run_requests or []
    assert request.partition_key is not None
    return request.tags[BATCH_TAG], request.partition_key


def test_a_batch_is_not_worked_under_another_hour(installation: Installation) -> None:
    batch_id, _ = planned(installation)
    other = hour_key(this_hour() - timedelta(hours=1))
    result = installation.materialise("ingested_events", tags={BATCH_TAG: batch_id}, partition_key=other)
    assert not result.success
    assert "Start it for the batch's own hour" in sentences(result)


def test_a_batch_cannot_be_decided_before_what_comes_before_is_done(installation: Installation) -> None:
    batch_id, hour = planned(installation)
    result = installation.materialise("send_decisions", tags={BATCH_TAG: batch_id}, partition_key=hour)
    assert not result.success
    assert "cannot be decided before it is consented" in sentences(result)
    assert all(done.success for done in installation.work())


def test_leases_and_memory_are_given_back_when_a_run_fails(installation: Installation, clock: Clock) -> None:
    batch_id, hour = planned(installation)
    with installation.places() as places:
        segment = places.landing.segments()[0]
        path = places.landing.path_of(segment)
        path.rename(path.with_suffix(".away"))
        result = installation.materialise("ingested_events", tags={BATCH_TAG: batch_id}, partition_key=hour)
        assert not result.success
        assert "A sealed segment is gone" in sentences(result)
        path.with_suffix(".away").rename(path)
        with places.state.read() as connection:
            assert unfinished(connection) == [batch_id]
    assert [done.success for done in installation.work()] == [True]


# -- checks that fail -------------------------------------------------------------------------------------------------


def test_a_batch_that_is_mostly_quarantined_stops_before_anybody_is_resolved(installation: Installation) -> None:
    installation.land([b"{not json"] * 150, at=utc_now())
    (result,) = [installation.run(request) for request in installation.tick("landing_sensor").run_requests or []]
    assert not result.success
    failed = {e.check_name for e in result.get_asset_check_evaluations() if not e.passed}
    assert failed == {"quarantine_rate"}
    assert "resolved_identities" not in {event.step_key for event in result.all_events if event.is_step_start}


def test_one_bad_event_alone_does_not_stop_its_batch(installation: Installation) -> None:
    installation.land([b"{not json"], at=utc_now())
    assert [result.success for result in installation.work()] == [True]


@pytest.mark.parametrize("first", [0, 1])
def test_a_range_of_hours_is_worked_again_as_it_was(worked: Installation, first: int) -> None:
    hours = hours_worked(worked)
    with worked.places() as places:
        before = totals(places)
    result = worked.materialise(
        *sorted(OF_LAKE),
        tags={
            "dagster/asset_partition_range_start": hours[first],
            "dagster/asset_partition_range_end": hours[1],
        },
    )
    assert result.success
    assert worked.metadata("ingested_events")["batches"] == 2 - first
    with worked.places() as places:
        assert totals(places) == before


def test_a_run_waits_for_whoever_works_in_the_environment(worked: Installation) -> None:
    with worked.places() as places:
        with places.state.write() as connection:
            lease = acquire(connection, "environment", "somebody", now=utc_now(), seconds=60)

        def give_back() -> None:
            with places.state.write() as connection:
                release(connection, lease)

        waiting = Timer(4.0, give_back)  # by then the run asks for it
        waiting.start()
        result = worked.materialise("resolved_identities", partition_key=hours_worked(worked)[0])
        waiting.join()
    assert result.success
