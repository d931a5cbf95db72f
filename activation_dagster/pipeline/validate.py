"""Validate: contracts judge every event, repeats are taken out, and what breaks its promise waits with a reason."""

from __future__ import annotations

from activation_dagster.domain.batches import Phase, PhaseReport, Provenance
from activation_dagster.domain.contracts import EventContract, EventVersion
from activation_dagster.lake.envelope_sql import envelope_breaches
from activation_dagster.lake.judging_sql import judge_events, unjudged
from activation_dagster.lake.paths import text_at
from activation_dagster.lake.routing_sql import Asked, numbered
from activation_dagster.lake.rule_sql import literal
from activation_dagster.lake.tables import DUPLICATES, QUARANTINED, VALIDATED
from activation_dagster.lake.taken_sql import drops
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.closed_rows import closed_rows
from activation_dagster.pipeline.ingest import compute_ingested
from activation_dagster.pipeline.shed_counts import SHED_OF
from activation_dagster.registry.contract_set import ContractSet
from activation_dagster.state import conflicts
from activation_dagster.state.batches import hours_since
from activation_dagster.state.message_ids import MessageIds, record_duplicates, recorded_duplicates
from activation_dagster.state.purges import purges_of
from activation_dagster.state.quarantine import first_original

ENTERED_AGAIN = (Provenance.REPAIR, Provenance.REPLAY)
"""Batches of events that had waited, and whose sender may have sent them again meanwhile."""


def _judge(run: BatchRun) -> None:
    """Make `event_verdicts`: every event with its contract, version, reason and violations."""
    engine = run.engine
    engine.put(
        "contracts",
        {
            "contract": "VARCHAR",
            "call": "VARCHAR",
            "name": "VARCHAR",
            "owner": "VARCHAR",
        },
        [
            (contract.slug, contract.call.value, contract.name, contract.owner)
            for contract in run.contracts.events.values()
        ],
    )
    engine.put(
        "failure_owners",
        {"reason": "VARCHAR", "owner": "VARCHAR"},
        [(mode.code, mode.owner) for mode in run.contracts.failure_modes.values() if mode.group == "quarantine"],
    )
    engine.make("envelope_breaches", envelope_breaches(run.contracts.envelope))
    engine.put(
        "envelope_owners",
        {"owner": "VARCHAR"},
        [] if run.contracts.envelope is None else [(run.contracts.envelope.owner,)],
    )
    asked = numbered(
        [
            Asked(
                contract=contract,
                version=version,
                used=run.contracts.used_properties(contract),
                sums=run.contracts.sums(contract),
                identifiers=identifier_sql(run.contracts, contract, version),
            )
            for contract, version in _versions_asked_for(run)
        ]
    )
    judge_events(engine, asked, environment=run.batch.environment)
    engine.make(
        "unjudged_events",
        unjudged(
            asked, identifier_sql(run.contracts), kept=run.contracts.kept_unknown, environment=run.batch.environment
        ),
    )
    engine.view("validate/event_verdicts")


def identifier_sql(
    contracts: ContractSet, contract: EventContract | None = None, version: EventVersion | None = None
) -> dict[str, str]:
    """SQL for each kind's raw value in the events of a version, or of none: the first of its paths that holds text.

    What the version's contract drops names nobody.
    """
    if contract is None or version is None:
        paths = {kind.name: kind.paths for kind in contracts.identity.kinds}
    else:
        paths = {
            kind: tuple(path for path in found if not drops(contract, version, path))
            for kind, found in contracts.identifier_paths(contract, version).items()
        }
    return {
        kind: f"coalesce({', '.join([*map(text_at, found), 'null::varchar', 'null'])})" for kind, found in paths.items()
    }


def _versions_asked_for(run: BatchRun) -> list[tuple[EventContract, EventVersion]]:
    """The versions that judge some event, at least one."""
    asked = run.engine.rows(
        "select distinct event_type, case when event_type = 'track' then event_name end, event_version, source "
        "from ingested_events where fault is null"
    )
    found: dict[tuple[str, str], tuple[EventContract, EventVersion]] = {}
    for call, name, named, source in asked:
        contract = run.contracts.contract_for(call, name)
        version = contract.version(named, source) if contract is not None else None
        if contract is not None and version is not None:
            found[contract.slug, version.version] = (contract, version)
    if not found:
        contract = next(iter(run.contracts.events.values()))
        return [(contract, contract.current)]
    return [found[key] for key in sorted(found)]


def _take_message_ids(run: BatchRun) -> None:
    """Take the sound events' message ids in state, and make `found_duplicates` of those that were taken before."""
    engine = run.engine
    index = MessageIds(run.state, window=run.places.dedupe_window)
    batch_no, hour = run.batch.batch_no, run.batch.arrival_hour
    engine.compute("validate/message_keys")
    engine.compute("validate/repeated_keys")
    engine.view("validate/claimed_keys")
    taken = index.take(engine.texts("select key from claimed_keys order by key"), batch_no=batch_no, arrival_hour=hour)
    others = engine.texts("select distinct key from message_keys where not is_sound order by key")
    taken += index.taken(others, batch_no=batch_no, arrival_hour=hour)
    if run.batch.provenance in ENTERED_AGAIN:
        nobodys = _left_to_nobody(run)
        taken = sorted({*taken} - nobodys) + _accepted_ever(run, knows_all=not nobodys)
    engine.put("taken_keys", {"key": "VARCHAR"}, [(key,) for key in sorted(set(taken))])
    engine.compute("validate/found_duplicates")
    rows = engine.rows(
        "select e.event_id, d.cause from found_duplicates as d join ingested_events as e on e.ordinal = d.ordinal"
        " order by d.ordinal"
    )
    record_duplicates(run.state, run.batch.batch_id, [(row[0], row[1]) for row in rows])
    engine.forget("message_keys", "taken_keys", "repeated_keys")


def _left_to_nobody(run: BatchRun) -> set[str]:
    """The batch's message ids that were taken by the very events that enter again, which identity left to nobody.

    Only these may come twice: the first was accepted and is nobody's, so that nothing is counted or sent for it.
    """
    with run.places.state.read() as connection:
        entering = conflicts.entered_again(connection, run.batch.segments)
    if not entering:
        return set()
    run.engine.put("entering_again", {"event_id": "VARCHAR"}, [(event_id,) for event_id in entering])
    found = run.engine.texts(
        "select m.key from message_keys as m join ingested_events as e on e.ordinal = m.ordinal "
        "semi join entering_again as a on a.event_id = e.event_id"
    )
    run.engine.forget("entering_again")
    return set(found)


def _accepted_ever(run: BatchRun, *, knows_all: bool) -> list[str]:
    """Those of the batch's message ids that may have been accepted since its originals came.

    A repair may come long after the window; when the originals came, the index knew what was accepted before them, and
    what was accepted in hours inside the batch's own window it knows now: those are left out, unless some of the ids
    are let past the index. Of the arrival hours that something came into, two columns are read. An event that identity
    left to nobody does not count: what enters again in its stead is the first that is somebody's.
    """
    window = run.places.dedupe_window
    with run.places.state.read() as connection:
        first = first_original(connection, run.batch.segments)
        known_from = run.batch.arrival_hour - window if knows_all else None
        hours = None if first is None else hours_since(connection, first, window=window, before=known_from)
    if hours == []:
        return []
    accepted = closed_rows(run.places, VALIDATED, Phase.VALIDATED, hours=hours)
    run.engine.make(
        "asked_ids",
        "select distinct e.message_id, m.key from event_verdicts as e join message_keys as m on m.ordinal = e.ordinal",
    )
    found = run.engine.rows(
        f"select a.key, v.event_id from {accepted} as v join asked_ids as a on a.message_id = v.message_id "
        f"where v.batch_id <> {literal(run.batch.batch_id)}"
    )
    run.engine.forget("asked_ids")
    with run.places.state.read() as connection:
        nobodys = conflicts.among_conflicts(connection, {event_id for _, event_id in found})
    return sorted({key for key, event_id in found if event_id not in nobodys})


def _recall_duplicates(run: BatchRun) -> None:
    """Make `found_duplicates` as they were recorded when the batch was first validated."""
    with run.places.state.read() as connection:
        rows = recorded_duplicates(connection, run.batch.batch_id)
    run.engine.put("recorded_duplicates", {"event_id": "VARCHAR", "cause": "VARCHAR"}, rows)
    run.engine.make(
        "found_duplicates",
        "select e.ordinal, r.cause from recorded_duplicates as r join ingested_events as e on e.event_id = r.event_id",
    )


def compute_validated(run: BatchRun) -> None:
    """Make `validated_events`, `quarantined_events`, `duplicate_events` and `shed_events`: each event is in one."""
    if run.engine.has("validated_events"):
        return
    compute_ingested(run)
    _judge(run)
    if run.was_closed(Phase.VALIDATED):
        _recall_duplicates(run)
    else:
        _take_message_ids(run)
    run.engine.view("validate/validated_events")
    run.engine.compute("validate/quarantined_events")
    run.engine.compute("validate/duplicate_events")
    run.engine.compute("validate/shed_events")


def validate(run: BatchRun) -> PhaseReport:
    """Carry out the phase `validated`: counts accepted, duplicate, quarantined, shed and each quarantine reason."""
    compute_validated(run)
    run.hold(Phase.VALIDATED)  # what retention removed is asked for when nobody can remove more
    with run.places.state.read() as connection:
        purged = [literal(purge.reason) for purge in purges_of(connection, run.batch.batch_id)]
    left = f" where reason not in ({', '.join(purged)})" if purged else ""
    place = f"select '{run.hour}' as arrival_hour, '{run.batch.batch_id}' as batch_id"
    return run.carry_out(
        Phase.VALIDATED,
        copies={
            VALIDATED: (
                f"{place}, event_id, source, contract, contract_version, event_type, event_name, message_id, "
                "occurred_at, used_properties from validated_events"
            ),
            QUARANTINED: (
                f"{place}, event_id, source, reason, violations, contract, contract_version, owner, event_type, "
                f"event_name, message_id, received_at, payload from quarantined_events{left}"
            ),
            DUPLICATES: f"{place}, event_id, source, message_id, cause from duplicate_events",
        },
        counts=lambda: _counts(run),
    )


def _counts(run: BatchRun) -> dict[str, int]:
    engine = run.engine
    counts = {
        "received": engine.one("select count(*) from ingested_events")[0],
        "accepted": engine.one("select count(*) from validated_events")[0],
        "duplicate": engine.one("select count(*) from duplicate_events")[0],
        "quarantined": engine.one("select count(*) from quarantined_events")[0],
        "shed": engine.one("select count(*) from shed_events")[0],
    }
    for reason, count in engine.rows("select reason, count(*) from quarantined_events group by reason"):
        counts[f"quarantined:{reason}"] = count
    for reason, contract, count in engine.rows("select reason, contract, count(*) from shed_events group by all"):
        counts[f"shed:{reason}"] = counts.get(f"shed:{reason}", 0) + count
        if contract is not None:
            counts[f"{SHED_OF}{contract}"] = counts.get(f"{SHED_OF}{contract}", 0) + count
    return counts
