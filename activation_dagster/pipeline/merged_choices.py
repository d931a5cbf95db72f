"""Merged choices: a *no* that was said in the very batch in which its profile becomes another's stays a *no*.

What state knew when two profiles merged was joined in the transaction of the merge. What the batch itself says is
written a phase later, under the profile at the batch's end; here it is told apart by who said it, in arrival order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from sqlalchemy import Connection, select

from activation_dagster.domain.consent import ConsentRecord, ConsentStatus
from activation_dagster.domain.identity import Identifier
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.resolve import renewed, restrictive
from activation_dagster.state.bulk import select_in
from activation_dagster.state.consent import record_id, records_of
from activation_dagster.state.identity import clusters
from activation_dagster.state.tables import identifiers, profile_redirects


@dataclass(frozen=True, slots=True, kw_only=True)
class _Merge:
    ordinal: int
    event_id: str
    winner: str
    loser: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """A choice, and the identifier that says whose it was when it was made: the strongest of its event."""

    ordinal: int
    by: Identifier
    record: ConsentRecord


def denials_that_stay(run: BatchRun) -> list[tuple[Any, ...]]:
    """The denials to write with the batch's `new_choices`, as rows for `insert_choices`; asked again, the same.

    To be written before those choices, so that no claim finds the yes without the no.
    """
    people = [row[0] for row in run.engine.rows("select distinct profile_id from new_choices order by 1")]
    before = run.position - 1
    with run.places.state.read() as connection:
        redirects, members = clusters(connection, people, up_to_seq=run.position)
        merges = _merges(run, connection, members)
        if not merges:
            return []
        into, members = clusters(
            connection, {side for merge in merges for side in (merge.winner, merge.loser)}, up_to_seq=before
        )
        known = records_of(connection, members, up_to_seq=before)
        said = _said(run, {redirects.get(merge.winner, merge.winner) for merge in merges})
        owners = _owners(connection, {one.by for one in said}, up_to_seq=run.position)
    choices: dict[str, list[ConsentRecord]] = {}
    for member, records in known.items():
        choices.setdefault(_today(member, into), []).extend(records)
    rows: list[tuple[Any, ...]] = []
    # An event first shows who somebody is, and then says something of them.
    for happened in sorted([*merges, *said], key=lambda one: (one.ordinal, isinstance(one, _Said))):
        if isinstance(happened, _Said):
            choices.setdefault(_today(owners[happened.by.key], into), []).append(happened.record)
            continue
        winner, loser = choices.setdefault(happened.winner, []), choices.pop(happened.loser, [])
        stay = restrictive(winner, loser)
        winner += [*loser, *stay]
        into[happened.loser] = happened.winner
        rows += [
            renewed(denial, event_id=happened.event_id, winner=happened.winner, position=run.position)
            for denial in stay
        ]
    return rows


def _today(profile: str, into: Mapping[str, str]) -> str:
    while profile in into:
        profile = into[profile]
    return profile


def _merges(run: BatchRun, connection: Connection, members: Collection[str]) -> list[_Merge]:
    """The merges of this batch among some profiles."""
    columns = (profile_redirects.c.from_profile, profile_redirects.c.to_profile, profile_redirects.c.event_id)
    query = select(*columns).where(profile_redirects.c.seq == run.position)
    found = sorted(select_in(connection, query, profile_redirects.c.from_profile, members))
    if not found:
        return []
    run.engine.put("merging_events", {"event_id": "VARCHAR"}, sorted({(row[2],) for row in found}))
    ordinals: dict[str, int] = dict(
        run.engine.rows(
            "select v.event_id, v.ordinal from validated_events as v semi join merging_events using (event_id)"
        )
    )
    run.engine.forget("merging_events")
    return [
        _Merge(ordinal=ordinals[event_id], event_id=event_id, winner=winner, loser=loser)
        for loser, winner, event_id in found
    ]


def _said(run: BatchRun, people: Collection[str]) -> list[_Said]:
    """What this batch's events chose for some people."""
    kinds = run.contracts.identity.kinds
    run.engine.put("merged_people", {"profile_id": "VARCHAR"}, sorted((profile,) for profile in people))
    rows = run.engine.rows(
        "select n.profile_id, n.event_id, n.purpose, n.channel, n.choice, n.decided_at, v.ordinal, "
        f"{', '.join(f'v.id_{kind.name}' for kind in kinds)} "
        "from new_choices as n semi join merged_people using (profile_id) "
        "join validated_events as v on v.event_id = n.event_id order by v.ordinal, n.purpose, n.channel"
    )
    run.engine.forget("merged_people")
    found: list[_Said] = []
    for profile, event_id, purpose, channel, choice, decided, ordinal, *values in rows:
        read = [(kind.name, kind.read(raw)) for kind, raw in zip(kinds, values, strict=True) if raw is not None]
        status = ConsentStatus.GRANTED if choice == "true" else ConsentStatus.DENIED
        decided_at = decided.replace(tzinfo=UTC)
        record = ConsentRecord(
            record_id=record_id(
                source=event_id,
                profile_id=profile,
                purpose=purpose,
                channel=channel,
                status=status,
                decided_at=decided_at,
            ),
            profile_id=profile,
            purpose=purpose,
            channel=channel,
            status=status,
            decided_at=decided_at,
            seq=run.position,
            source=event_id,
        )
        by = next(Identifier(name, value) for name, value in read if value is not None)
        found.append(_Said(ordinal=ordinal, by=by, record=record))
    return found


def _owners(connection: Connection, wanted: Collection[Identifier], *, up_to_seq: int) -> dict[bytes, str]:
    """The profile that each identifier was first seen with, by the identifier's key."""
    query = select(identifiers.c.key, identifiers.c.profile_id).where(identifiers.c.seq <= up_to_seq)
    return {
        bytes(key): owner for key, owner in select_in(connection, query, identifiers.c.key, {one.key for one in wanted})
    }
