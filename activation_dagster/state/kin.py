"""Kin: profiles that were one person until history was adjudicated again, so that nobody is messaged twice for it."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, select

from activation_dagster.state.bulk import select_in
from activation_dagster.state.former import adjudicated_since
from activation_dagster.state.profile_identifiers import held_by
from activation_dagster.state.subjects import Cluster, cluster_of
from activation_dagster.state.tables import FORMER, identifiers, profile_redirects


def kin_of(connection: Connection, people: Iterable[Cluster]) -> dict[str, dict[str, int]]:
    """By a person's profile: who was the same person once, and the last state sequence at which that was so.

    Whatever was intended by then for one of them was for all. One look where history was never adjudicated again.
    """
    if not adjudicated_since(connection, 0):
        return {}
    whose = {member: person.canonical for person in people for member in person.members}
    parted = _parted_profiles(connection, whose) | _parted_identifiers(connection, whose)
    found: dict[str, dict[str, int]] = {}
    for until in sorted({until for _, _, until in parted}):
        then = cluster_of(connection, {profile for _, profile, at in parted if at == until}, up_to_seq=until)
        for person, profile, at in parted:
            if at == until:
                found.setdefault(person, {}).update(
                    dict.fromkeys((one for one in then[profile].members if whose.get(one) != person), until)
                )
    return found


def _parted_profiles(connection: Connection, whose: dict[str, str]) -> set[tuple[str, str, int]]:
    """(person now, profile, until): profiles of theirs that stood for another, or another for them."""
    former = FORMER[profile_redirects.name].c
    found: set[tuple[str, str, int]] = set()
    for column in (former.from_profile, former.to_profile):
        query = select(column, former.ended_seq)
        found |= {(whose[row[0]], row[0], row[1] - 1) for row in select_in(connection, query, column, whose)}
    return found


def _parted_identifiers(connection: Connection, whose: dict[str, str]) -> set[tuple[str, str, int]]:
    """(person now, profile, until): profiles that had an identifier of theirs."""
    former = FORMER[identifiers.name].c
    now = {bytes(row[0]): whose[row[1]] for row in held_by(connection, whose, lambda c: (c.key, c.profile_id))}
    before = select(former.key, former.profile_id, former.ended_seq)
    return {(now[bytes(row[0])], row[1], row[2] - 1) for row in select_in(connection, before, former.key, now)}
