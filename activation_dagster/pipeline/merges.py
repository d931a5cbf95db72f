"""Merges: two profiles become one in state, and a *no* of either stays until the person chooses again.

What either said is known by then in two places: in state, and in the events of this very batch that came before the one
that makes them one. Choices of the batch are written a phase later; what a merge makes of them is written with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection

from activation_dagster.domain.consent import ConsentRecord, ConsentStatus, current_choice
from activation_dagster.domain.links import Merge
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.choices import choice_rows, make_new_choices, make_speaking_events
from activation_dagster.state.bulk import insert_new
from activation_dagster.state.consent import insert_choices, record_id, record_of, records_of
from activation_dagster.state.instants import micros
from activation_dagster.state.subjects import cluster_of, lock_subjects
from activation_dagster.state.tables import profile_redirects

MERGES_AT_ONCE = 200
"""Merges in one transaction, so that SQLite's write lock is not held long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrivals:
    """The order of a batch's events as far as its merges need it, and what was chosen among them, by who said it."""

    merged_at: Mapping[str, int]
    said: Mapping[str, Sequence[tuple[int, ConsentRecord]]]

    def said_before(self, merge: Merge, members: Iterable[str]) -> list[ConsentRecord]:
        """What some profiles chose before a merge. Its own event first shows who somebody is, and then says something
        of them."""
        until = self.merged_at[merge.event_id]
        return [record for member in members for ordinal, record in self.said.get(member, ()) if ordinal < until]


def write_merges(run: BatchRun, merges: Sequence[Merge]) -> None:
    """Write redirects under the locks of both profiles, joining what both said of consent: a *no* of either stays.

    Reads `resolved_events`. A merge that stands already was written with all that follows from it, and is left out.
    """
    if not merges:
        return
    arrivals = _arrivals(run, merges)
    waiting = iter(merges)
    chunk = list(islice(waiting, MERGES_AT_ONCE))
    while chunk:
        with run.state.write() as connection:
            lock_subjects(connection, {profile for merge in chunk for profile in (merge.winner, merge.loser)})
            _write_chunk(connection, chunk, arrivals, position=run.position)
        chunk = list(islice(waiting, MERGES_AT_ONCE))
        if chunk:
            run.places.at("resolved.merges")


def _write_chunk(connection: Connection, merges: Sequence[Merge], arrivals: _Arrivals, *, position: int) -> None:
    """Merges in their order. State is asked once for all of them, and then followed in memory: asking it for each took
    the write lock for over a millisecond a merge."""
    clusters = cluster_of(connection, {profile for merge in merges for profile in (merge.winner, merge.loser)})
    members = {cluster.canonical: set(cluster.members) for cluster in clusters.values()}
    today = {member: canonical for canonical, cluster in members.items() for member in cluster}
    stands = records_of(connection, today)
    choices: list[tuple[Any, ...]] = []
    redirects: list[tuple[Any, ...]] = []
    for merge in merges:
        winner, loser = today[merge.winner], today[merge.loser]
        if winner == loser:
            continue
        sides = (
            [
                *(record for member in members[side] for record in stands.get(member, ())),
                *arrivals.said_before(merge, members[side]),
            ]
            for side in (winner, loser)
        )
        for denial in restrictive(*sides):
            row = _renewed(denial, event_id=merge.event_id, winner=merge.winner, position=position)
            choices.append(row)
            stands.setdefault(merge.winner, []).append(record_of(row))
        redirects.append((merge.loser, merge.winner, position, merge.event_id))
        moved = members.pop(loser)
        members[winner] |= moved
        today |= dict.fromkeys(moved, winner)
    if choices:
        insert_choices(connection, choices)
    insert_new(connection, profile_redirects, ("from_profile", "to_profile", "seq", "event_id"), redirects)


def _arrivals(run: BatchRun, merges: Sequence[Merge]) -> _Arrivals:
    """What the batch says of everybody whose profiles merge in it; nobody else's events are read."""
    engine = run.engine
    engine.put("merging_events", {"event_id": "VARCHAR"}, sorted({(merge.event_id,) for merge in merges}))
    engine.make(
        "merging_events",
        "select event_id, ordinal, profile_id from resolved_events semi join merging_events using (event_id)",
    )
    merged_at: dict[str, int] = dict(engine.rows("select event_id, ordinal from merging_events"))
    engine.make("merged_events", "select * from resolved_events semi join merging_events using (profile_id)")
    make_speaking_events(run, among="merged_events")
    make_new_choices(run)
    speakers: dict[str, tuple[int, str]] = {
        event_id: (ordinal, speaker)
        for event_id, ordinal, speaker in engine.rows(
            "select event_id, ordinal, seen_as from merged_events semi join new_choices using (event_id)"
        )
    }
    said: dict[str, list[tuple[int, ConsentRecord]]] = {}
    for row in choice_rows(run):
        record = record_of(row)
        ordinal, speaker = speakers[record.source]
        said.setdefault(speaker, []).append((ordinal, record))
    engine.forget("merging_events", "merged_events", "speaking_events", "new_choices")
    return _Arrivals(merged_at=merged_at, said=said)


def restrictive(one: Sequence[ConsentRecord], other: Sequence[ConsentRecord]) -> list[ConsentRecord]:
    """The denials that a merge must renew: of one side, where the other side had said yes later.

    Each comes back with the later time, so that it counts until the person chooses again.
    """
    found: list[ConsentRecord] = []
    for purpose, channel in sorted({(record.purpose, record.channel) for record in [*one, *other]}):
        choices = [current_choice(side, purpose=purpose, channel=channel) for side in (one, other)]
        if choices[0] is None or choices[1] is None or choices[0].status is choices[1].status:
            continue
        denial, grant = sorted((choices[0], choices[1]), key=lambda record: record.status is not ConsentStatus.DENIED)
        if grant.decided_at > denial.decided_at:
            found.append(
                ConsentRecord(
                    record_id=denial.record_id,
                    profile_id=denial.profile_id,
                    purpose=purpose,
                    channel=channel,
                    status=ConsentStatus.DENIED,
                    decided_at=grant.decided_at,
                    seq=denial.seq,
                    source=denial.source,
                )
            )
    return found


def _renewed(denial: ConsentRecord, *, event_id: str, winner: str, position: int) -> tuple[Any, ...]:
    """A denial that the merge of `event_id` renews, as a row for `insert_choices`."""
    identity = record_id(
        source=f"merge:{event_id}",
        profile_id=winner,
        purpose=denial.purpose,
        channel=denial.channel,
        status=ConsentStatus.DENIED,
        decided_at=denial.decided_at,
    )
    return (
        identity,
        winner,
        denial.purpose,
        denial.channel,
        ConsentStatus.DENIED.value,
        micros(denial.decided_at),
        position,
        f"merge:{event_id}",
        json.dumps({"denied_in": denial.record_id}),
    )
