"""Subjects: the rows that stand for a person, and the locks on them that make a person's *no* and a claim take turns.

Whoever writes a consent, a suppression or a merge locks the subject rows of the profiles concerned first; a claim locks
those of every profile that ever was the person. The order of locks, for all writers: leases, the halt row, subject rows
(sorted), ledger rows, the state sequence.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, Connection, FromClause, String, bindparam, func, select, true

from activation_dagster.state.former import then
from activation_dagster.state.tables import profile_redirects, profiles


class Cluster(NamedTuple):
    """The profile that a person is today, and all profiles that the person ever was, itself included."""

    canonical: str
    members: frozenset[str]


def lock_subjects(connection: Connection, profile_ids: Iterable[str]) -> None:
    """Lock the subject rows of `profile_ids`, sorted, until the transaction ends; waits for whoever holds them.

    Nothing to do on SQLite, where a writing transaction is alone from its beginning.
    """
    _lock(connection, profile_ids, skip_locked=False)


def lock_free_subjects(connection: Connection, profile_ids: Iterable[str]) -> frozenset[str]:
    """Lock those of `profile_ids` that nobody else holds, without waiting; returns the ones that are locked now."""
    wanted = frozenset(profile_ids)
    if connection.dialect.name == "sqlite":
        return wanted
    return _lock(connection, wanted, skip_locked=True)


def lock_cluster(connection: Connection, profile_id: str) -> Cluster | None:
    """Lock everybody that this profile's person ever was and return the cluster.

    None: a merge came in between, and locking the rest now would break the order of locks; end this transaction and
    begin again.
    """
    before = cluster_of(connection, [profile_id])[profile_id]
    lock_subjects(connection, before.members)
    after = cluster_of(connection, [profile_id])[profile_id]
    return after if after.members <= before.members else None


def cluster_of(connection: Connection, profile_ids: Iterable[str], up_to_seq: int | None = None) -> dict[str, Cluster]:
    """For each profile the person it belongs to: (today's profile, all profiles), through all redirects.

    With `up_to_seq`, as it was at that state sequence. A profile without redirects is its own and only one.
    """
    wanted = list(dict.fromkeys(profile_ids))
    parents = _edges(connection, wanted, up_to_seq)
    roots: dict[str, str] = {}
    members: dict[str, set[str]] = {}
    for profile in {*parents, *parents.values()}:
        root = _root(profile, parents)
        roots[profile] = root
        members.setdefault(root, set()).add(profile)
    clusters = {root: Cluster(root, frozenset(ids)) for root, ids in members.items()}
    return {
        profile: clusters[roots[profile]] if profile in roots else Cluster(profile, frozenset({profile}))
        for profile in wanted
    }


def _root(profile: str, parents: Mapping[str, str]) -> str:
    seen: set[str] = set()
    while profile in parents:
        if profile in seen:
            raise AssertionError("profile_redirects hold a circle; a profile can lose only while it is nobody else")
        seen.add(profile)
        profile = parents[profile]
    return profile


def _edges(connection: Connection, profile_ids: list[str], up_to_seq: int | None) -> dict[str, str]:
    """All redirects (from → to) inside the clusters of `profile_ids`: up to the roots, then down from all of those."""
    if not profile_ids:
        return {}
    given = _given(connection, profile_ids)
    redirects = then(connection, profile_redirects, up_to_seq)
    known = true() if up_to_seq is None else redirects.c.seq <= up_to_seq
    up = select(given.c.value.label("profile")).cte("up", recursive=True)
    up = up.union(select(redirects.c.to_profile).join(up, redirects.c.from_profile == up.c.profile).where(known))
    down = select(up.c.profile).cte("down", recursive=True)
    down = down.union(
        select(redirects.c.from_profile).join(down, redirects.c.to_profile == down.c.profile).where(known)
    )
    query = (
        select(redirects.c.from_profile, redirects.c.to_profile)
        .join(down, redirects.c.from_profile == down.c.profile)
        .where(known)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def _given(connection: Connection, profile_ids: list[str]) -> FromClause:
    """The ids as a relation with one column `value`, passed as one parameter whatever their number."""
    if connection.dialect.name == "postgresql":
        return func.unnest(bindparam("given", profile_ids, type_=ARRAY(String))).table_valued("value").render_derived()
    return func.json_each(bindparam("given", json.dumps(profile_ids))).table_valued("value")


def _lock(connection: Connection, profile_ids: Iterable[str], *, skip_locked: bool) -> frozenset[str]:
    if connection.dialect.name == "sqlite":
        return frozenset()
    wanted = sorted(set(profile_ids))
    query: Any = (
        select(profiles.c.profile_id)
        .where(profiles.c.profile_id == func.any(bindparam("given", wanted, type_=ARRAY(String))))
        .order_by(profiles.c.profile_id)
        .with_for_update(skip_locked=skip_locked)
    )
    return frozenset(connection.execute(query).scalars())
