"""Suppressions: a hard *no* (bounce, complaint, erasure) that no consent outweighs; append-only, never lifted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from activation_dagster.errors import WrongUse
from activation_dagster.state.bulk import insert_new, select_in
from activation_dagster.state.control import record_act
from activation_dagster.state.engine import State
from activation_dagster.state.instants import instant, micros
from activation_dagster.state.subjects import cluster_of, lock_cluster
from activation_dagster.state.tables import profiles, suppressions

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


def suppression_id(*, profile_id: str, channel: str, reason: str, source: str) -> str:
    """The id (40 hex digits) of one suppression."""
    return hashlib.sha256("\x1f".join((profile_id, channel, reason, source)).encode()).hexdigest()[:40]


def suppress(
    state: State, *, profile_id: str, channel: str, reason: str, source: str, now: datetime, actor: str
) -> None:
    """Suppress a profile's person on `channel` (`*`: all); it stands when this returns.

    Waits for a claim of the same person that is under way, and no later claim misses it. Doing it again changes
    nothing, unless the person has become more profiles since. Raises WrongUse when there is no such profile.
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

    What stands already was said of whoever the profile was by then. Where it has become more since, it is said of each
    of those profiles too, so that it stays with them when they are told apart again.
    """

    def identity_of(profile: str) -> str:
        return suppression_id(profile_id=profile, channel=channel, reason=reason, source=source)

    today = cluster_of(connection, [profile_id])[profile_id].members
    whose = {identity_of(one): one for one in today}
    said = select(suppressions.c.suppression_id, suppressions.c.seq)
    standing = {whose[row[0]]: row[1] for row in select_in(connection, said, suppressions.c.suppression_id, whose)}
    concerned = {profile_id}
    if profile_id in standing:
        by_then = cluster_of(connection, [profile_id], standing[profile_id])[profile_id].members
        concerned = today - by_then - standing.keys()
    if not concerned:
        return
    detail = {
        "suppression_id": identity_of(profile_id),
        "profile_id": profile_id,
        "channel": channel,
        "reason": reason,
        "source": source,
    }
    seq = record_act(connection, now=now, actor=actor, act="suppress", detail=detail)
    rows = [(identity_of(one), one, channel, reason, micros(now), seq, source) for one in sorted(concerned)]
    insert_new(connection, suppressions, COLUMNS, rows)


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
