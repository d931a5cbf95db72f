"""Suppressions: a hard *no* (bounce, complaint, erasure) that no consent outweighs; append-only, never lifted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from activation_dagster.errors import WrongUse
from activation_dagster.state.bulk import insert_new, select_in
from activation_dagster.state.control import record_act
from activation_dagster.state.engine import State
from activation_dagster.state.instants import instant, micros
from activation_dagster.state.profile_identifiers import held_by
from activation_dagster.state.subjects import cluster_of, lock_cluster
from activation_dagster.state.tables import batches, profiles, suppressions

EVERY_CHANNEL = "*"

COLUMNS = ("suppression_id", "profile_id", "channel", "reason", "suppressed_at", "seq", "source")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """One hard *no* for one channel (`*`: every channel), since when (UTC), why, and where we know it from."""

    suppression_id: str
    profile_id: str
    channel: str
    reason: str
    suppressed_at: datetime
    seq: int
    source: str

    def covers(self, channel: str) -> bool:
        """Whether a message over `channel` is forbidden."""
        return self.channel in (EVERY_CHANNEL, channel)


def suppression_id(*, profile_id: str, channel: str, reason: str, source: str, seq: int) -> str:
    """The id (40 hex digits) of one suppression, said at a state sequence."""
    return hashlib.sha256("\x1f".join((profile_id, channel, reason, source, str(seq))).encode()).hexdigest()[:40]


def suppress(
    state: State, *, profile_id: str, channel: str, reason: str, source: str, now: datetime, actor: str
) -> None:
    """Suppress a profile's person on `channel` (`*`: all); it stands when this returns.

    Waits for a claim of the same person that is under way, and no later claim misses it. Doing it again changes
    nothing, unless the person has got more identifiers since. Raises WrongUse when there is no such profile.
    """
    while True:
        with state.write() as connection:
            if lock_cluster(connection, profile_id) is None:
                continue  # a merge came in between: again, with everybody it brought
            known = select(profiles.c.profile_id).where(profiles.c.profile_id == profile_id)
            if connection.execute(known).one_or_none() is None:
                raise WrongUse(
                    "A suppression was asked for a profile that does not exist, in the profiles of state. "
                    "Ask for the profile by an identifier first."
                )
            write_suppression(
                connection,
                profile_id=profile_id,
                channel=channel,
                reason=reason,
                source=source,
                now=now,
                actor=actor,
            )
            return


def write_suppression(
    connection: Connection, *, profile_id: str, channel: str, reason: str, source: str, now: datetime, actor: str
) -> None:
    """`suppress` inside a transaction that holds the profile's subject row already.

    What stands was said of whoever the person was by then. Where it has got more identifiers since, it is said of them
    too, so that it stays with them when they are told apart.
    """
    standing = select(func.max(suppressions.c.seq)).where(
        suppressions.c.profile_id == profile_id,
        suppressions.c.channel == channel,
        suppressions.c.reason == reason,
        suppressions.c.source == source,
    )
    said_at = connection.execute(standing).scalar_one()
    if said_at is not None:
        in_hand = select(batches.c.position).where(batches.c.position > said_at, batches.c.closed_at.is_(None))
        # what a batch in hand attaches is not seen yet
        is_growing = connection.execute(in_hand.limit(1)).one_or_none() is not None
        if not is_growing and _keys(connection, profile_id, None) <= _keys(connection, profile_id, said_at):
            return
    detail = {"profile_id": profile_id, "channel": channel, "reason": reason, "source": source}
    seq = record_act(connection, now=now, actor=actor, act="suppress", detail=detail)
    identity = suppression_id(profile_id=profile_id, channel=channel, reason=reason, source=source, seq=seq)
    insert_new(connection, suppressions, COLUMNS, [(identity, profile_id, channel, reason, micros(now), seq, source)])


def _keys(connection: Connection, profile_id: str, up_to_seq: int | None) -> set[bytes]:
    """The keys of everything that a profile's person is known by, now or as it was at a state sequence."""
    members = cluster_of(connection, [profile_id], up_to_seq)[profile_id].members
    return {bytes(row[0]) for row in held_by(connection, members, lambda c: (c.key,), up_to_seq=up_to_seq)}


def active_for(
    connection: Connection, profile_ids: Iterable[str], up_to_seq: int | None = None
) -> dict[str, list[Suppression]]:
    """All suppressions written for these very profiles, by profile id; ask for all of a cluster to know the person's.

    With `up_to_seq`, as it was at that state sequence. Profiles without one are left out.
    """
    query = select(*(suppressions.c[name] for name in COLUMNS))
    if up_to_seq is not None:
        query = query.where(suppressions.c.seq <= up_to_seq)
    found: dict[str, list[Suppression]] = {}
    for row in select_in(connection, query, suppressions.c.profile_id, profile_ids):
        found.setdefault(row[1], []).append(
            Suppression(
                suppression_id=row[0],
                profile_id=row[1],
                channel=row[2],
                reason=row[3],
                suppressed_at=instant(row[4]),
                seq=row[5],
                source=row[6],
            )
        )
    return found
