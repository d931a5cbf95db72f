"""What people did and chose, told again under other profiles: the same verbs on the same events, in a state of its own.

Only the events of the people concerned are told, batch by batch under the contracts of each, so that traits, activity,
choices, memberships and decisions come out as if nobody had ever been taken for somebody else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, insert, select

from activation_dagster.domain.batches import Batch
from activation_dagster.domain.reasons import HoldReason
from activation_dagster.domain.sends import SendStatus
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.consent import compute_consented, write_changes
from activation_dagster.pipeline.decide import compute_decided, ledger_rows
from activation_dagster.pipeline.identity.history import History
from activation_dagster.pipeline.identity.world import World
from activation_dagster.pipeline.merges import write_merges
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.validate import compute_validated
from activation_dagster.state.batches import looked_at_until
from activation_dagster.state.bulk import insert_new
from activation_dagster.state.conflicts import conflicts_by_closing
from activation_dagster.state.engine import State, open_scratch
from activation_dagster.state.fencing import FencedState
from activation_dagster.state.former import add_rows
from activation_dagster.state.instants import micros
from activation_dagster.state.memberships import due_for_review
from activation_dagster.state.profile_identifiers import keep_order
from activation_dagster.state.sends import intend
from activation_dagster.state.tables import (
    activity,
    batches,
    consent_records,
    identifiers,
    membership_changes,
    profile_redirects,
    profiles,
    suppressions,
    trait_sayings,
    traits,
)

if TYPE_CHECKING:
    import duckdb

FACTS = (traits, trait_sayings, activity, consent_records, membership_changes)
"""What is told again, beside who is who."""

SPOKEN = (consent_records, suppressions)
"""What people and destinations say outside events; `Retelling.spoken` has rows of these."""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetoldDecision:
    """One candidate, decided as it would have been."""

    send_key: str
    workflow_id: str
    profile_id: str
    trigger_event_id: str
    outcome: str
    reason: str


@dataclass(slots=True, kw_only=True)
class Retold:
    """By table, every row that the people concerned would have; and what would have been decided, in order."""

    rows: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])
    decisions: list[RetoldDecision] = field(default_factory=list[RetoldDecision])


@dataclass(frozen=True, slots=True, kw_only=True)
class Retelling:
    """What is to be told: the people (all profiles they are, and their present heads) and what was said outside events.

    `spoken`: (sequence, table, row), in order of the sequence. `gone`: redirects of profiles that are nobody's.
    """

    members: Collection[str]
    heads: Collection[str]
    spoken: Sequence[tuple[int, Table, Row]]
    gone: Sequence[Row]


def retell(places: Places, history: History, world: World, telling: Retelling, *, beat: Callable[[], None]) -> Retold:
    """Tell again what concerns some people, from landing; `beat` is called before each batch."""
    retold = Retold()
    with places.state.read() as connection:
        _, closed = conflicts_by_closing(connection)
    touched = _put_events(history, world, telling.heads, left_out=closed)
    waiting = list(telling.spoken)
    with _scratch() as scratch:
        _put_people(scratch, history, world, telling)
        mine = FencedState(scratch, leases=lambda: (), clock=places.clock)
        for batch in history.batches:
            position = batch.position or 0
            while waiting and waiting[0][0] < position:
                _, table, row = waiting.pop(0)
                names = [column.name for column in table.columns if column.name != "known_seq"]
                with scratch.write() as connection:
                    insert_new(connection, table, names, [row])
            if position not in touched and not _has_reviews(scratch, batch):
                continue
            beat()
            with BatchRun(places, batch, beside=history.engine.connection) as run:
                compute_validated(run)
                _narrow(run.engine.connection, position)
                run.engine.make(
                    "resolved_events",
                    "select v.ordinal, v.event_id, v.occurred_at, r.profile_id, r.seen_as, "
                    "null::varchar as unresolved_reason from validated_events as v "
                    f"join retold_events as r on r.position = {position} and r.ordinal = v.ordinal",
                )
                run.contracts = replace(run.contracts, identity=history.rules[position])
                run.places = replace(places, state=scratch, at=_pass_by)
                run.state = mine
                theirs = [merge for merge in world.merges.get(position, []) if merge.winner in telling.members]
                write_merges(run, theirs)
                compute_consented(run, record=True)
                write_changes(run)
                compute_decided(run)
                retold.decisions += _decisions(run)
                intend(scratch, ledger_rows(run, SendStatus.HELD, HoldReason.NOT_LIVE.value))
        with scratch.read() as connection:
            for table in FACTS:
                columns = [column for column in table.columns if column.name != "known_seq"]
                retold.rows[table.name] = [tuple(row) for row in connection.execute(select(*columns))]
    return retold


def _pass_by(_: str) -> None:
    """Nobody dies in a retelling: it is made again."""


@contextmanager
def _scratch() -> Generator[State]:
    with tempfile.TemporaryDirectory(prefix="retelling-") as folder:
        state = open_scratch(Path(folder))
        try:
            yield state
        finally:
            state.close()


def _put_events(history: History, world: World, heads: Collection[str], *, left_out: Iterable[str]) -> set[int]:
    """Make the table `retold_events`: each event of the people, whose it is at its batch's end, and as whom it came.

    Left out is what was nobody's and entered again or was dismissed: it would count twice, or against what was said.
    """
    wanted = frozenset(heads)
    found = [
        (position, ordinal, whose.profile, whose.seen_as)
        for (position, ordinal), whose in world.whose.items()
        if whose.profile is not None and world.canonical(whose.profile) in wanted
    ]
    big, text = "BIGINT", "VARCHAR"
    columns = {"position": big, "ordinal": big, "profile_id": text, "seen_as": text}
    history.engine.put("retold_sets", columns, found)
    history.engine.put("left_out", {"event_id": text}, [(one,) for one in left_out])
    history.engine.put("retold_again", {"position": big, "set_no": big}, sorted(world.again))
    # no temporary table: each batch is told again on a connection of its own to the same database
    history.engine.connection.execute(
        "create or replace table retold_events as "
        "select o.position, o.ordinal, o.event_id, s.profile_id, s.seen_as from occurrences as o "
        "left join retold_again as a on a.position = o.position and a.set_no = o.set_no "
        "join retold_sets as s on s.position = o.position "
        "and s.ordinal = case when a.set_no is null then o.set_no else o.ordinal end "
        "where o.event_id not in (select event_id from left_out)"
    )
    return {row[0] for row in history.engine.rows("select distinct position from retold_events")}


def _put_people(scratch: State, history: History, world: World, telling: Retelling) -> None:
    members = frozenset(telling.members)
    with scratch.write() as connection:
        made = [(one, *row) for one, row in world.profiles.items() if one in members]
        add_rows(connection, profiles, [(one, row[0], row[1], row[2], row[3]) for one, *row in made], seq=0)
        held = [
            (key, kind, value, profile, seq, event_id, at)
            for key, (kind, value, profile, seq, event_id, at) in world.identifiers.items()
            if profile in members
        ]
        keep_order(connection, [(row[3], row[0], row[5]) for row in held])
        add_rows(connection, identifiers, held, seq=0)
        add_rows(connection, profile_redirects, telling.gone, seq=0)
        rows = [
            {
                "batch_id": batch.batch_id,
                "batch_no": batch.batch_no,
                "environment": batch.environment,
                "arrival_hour": micros(batch.arrival_hour),
                "provenance": batch.provenance.value,
                "as_of": micros(batch.as_of),
                "contract_set": batch.contract_set,
                "planned_at": micros(batch.as_of),
                "position": batch.position,
            }
            for batch in history.batches
        ]
        if rows:
            connection.execute(insert(batches), rows)


def _has_reviews(scratch: State, batch: Batch) -> bool:
    """Whether time alone may have ended somebody's membership by then."""
    with scratch.read() as connection:
        after = looked_at_until(connection, batch)
        return bool(due_for_review(connection, after=after, until=batch.as_of, before_seq=batch.position or 0))


def _narrow(connection: duckdb.DuckDBPyConnection, position: int) -> None:
    """Keep of a batch's accepted events those that are told again."""
    connection.execute(
        "create or replace temp table narrowed as select v.* from validated_events as v "
        f"semi join (select ordinal from retold_events where position = {position}) as r on r.ordinal = v.ordinal"
    )
    connection.execute("drop view validated_events")
    connection.execute("alter table narrowed rename to validated_events")


def _decisions(run: BatchRun) -> list[RetoldDecision]:
    query = (
        "select send_key, workflow_id, profile_id, trigger_event_id, outcome, reason from send_decisions "
        "order by send_key, workflow_id"
    )
    return [
        RetoldDecision(
            send_key=row[0],
            workflow_id=row[1],
            profile_id=row[2] or "",
            trigger_event_id=row[3],
            outcome=row[4],
            reason=row[5],
        )
        for row in run.engine.rows(query)
    ]
