"""Undoing a link or a merge: two identifiers are kept apart, as if no event had ever shown them together."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, literal_column, select

from activation_dagster.domain.identifiers import Identifier
from activation_dagster.domain.separations import Pair
from activation_dagster.errors import WrongUse
from activation_dagster.lake.engine import Engine
from activation_dagster.pipeline.identity.apply import (
    Applied,
    Hand,
    environment_in_hand,
    finish_open,
    write_differences,
)
from activation_dagster.pipeline.identity.history import History, read_history
from activation_dagster.pipeline.identity.plan import IdentityPlan, find_differences, keys_of, plan_of, rules_under
from activation_dagster.pipeline.identity.world import Watch, adjudicate
from activation_dagster.pipeline.places import Places
from activation_dagster.state.adjudications import all_separations, begin
from activation_dagster.state.batches import all_finished, load_batches
from activation_dagster.state.bulk import select_in
from activation_dagster.state.profile_identifiers import held_by, links_against, links_of
from activation_dagster.state.subjects import cluster_of
from activation_dagster.state.tables import FORMER, identifiers, links, profile_redirects, profiles

MOST_EVENTS = 1_000
"""So many different events may each have joined two profiles before we give up undoing them one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What undoing changes, or changed: pairs of identifiers (hashed) by the event whose link is undone.

    `applied` is None where it was only tried. `is_still_one`: other identifiers still make them one person.
    """

    plan: IdentityPlan
    pairs: tuple[tuple[str, str, str], ...]
    is_still_one: bool
    applied: Applied | None


def unmerge(
    places: Places,
    *,
    link: str | None = None,
    profile: str | None = None,
    by: str = "",
    why: str = "",
    dry_run: bool = False,
    reveal: bool = False,
) -> Undone:
    """Undo what the event `link` joined, or whatever made `profile` another profile. Raises WrongUse."""
    if dry_run:
        undoing = _undoing(places, link=link, profile=profile)
        found = find_differences(places, rules=None, pairs=undoing.pairs, members=undoing.members)
        return _undone(undoing, plan_of(places, found, act="unmerge", rules=None, reveal=reveal), None)
    with environment_in_hand(places) as hand:
        finish_open(hand)
        return _unmerge(hand, link=link, profile=profile, by=by, why=why, reveal=reveal)


def _unmerge(hand: Hand, *, link: str | None, profile: str | None, by: str, why: str, reveal: bool) -> Undone:
    places = hand.places
    undoing = _undoing(places, link=link, profile=profile)
    hand.beat()
    found = find_differences(places, rules=None, pairs=undoing.pairs, members=undoing.members, beat=hand.beat)
    plan = plan_of(places, found, act="unmerge", rules=None, reveal=reveal)
    with hand.state.write() as connection:
        adjudication = begin(
            connection,
            act="unmerge",
            contract_set="",
            pairs=undoing.pairs,
            by=by,
            why=why,
            now=places.clock(),
            detail={"link": link or "", "profile": profile or "", "until": found.until},
        )
    places.at("identity.begun")
    return _undone(undoing, plan, write_differences(hand, found, adjudication))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Undoing:
    """Which pairs are to be kept apart, the event by pair; and all profiles that this may concern."""

    pairs: dict[Pair, str]
    members: frozenset[str]
    is_still_one: bool


def _undone(undoing: _Undoing, plan: IdentityPlan, applied: Applied | None) -> Undone:
    return Undone(
        plan=plan,
        pairs=tuple(
            (first.hex()[:16], second.hex()[:16], event_id)
            for (first, second), event_id in sorted(undoing.pairs.items())
        ),
        is_still_one=undoing.is_still_one,
        applied=applied,
    )


def _undoing(places: Places, *, link: str | None, profile: str | None) -> _Undoing:
    """Find the pairs by adjudicating the people concerned again in memory, until nothing joins the two any more."""
    with places.state.read() as connection:
        begun = _profiles_of_event(connection, link) if link is not None else _loser(connection, profile or "")
        members = people_tied_to(connection, begun)
        two = () if link is not None else _first_identifiers(connection, begun)
        batches = load_batches(connection, all_finished(connection))
        among = keys_of(connection, members)
        apart = all_separations(connection)
    engine = Engine.in_memory(places.sql_root)
    try:
        history = read_history(
            places, batches, engine, rules_of=rules_under(places), profiles=members, among=among
        ).kept_apart(apart)
        pairs, is_still_one = _pairs_of_link(history, link) if link is not None else _pairs_between(history, two)
    finally:
        engine.close()
    return _Undoing(pairs=pairs, members=members, is_still_one=is_still_one)


def _pairs_of_link(history: History, event_id: str) -> tuple[dict[Pair, str], bool]:
    joining = adjudicate(history, Watch(event_id=event_id)).joining
    if joining is None:
        raise WrongUse(
            f"The event {event_id} joined nothing that was not one before, in the links of state. "
            "`activation identity show PROFILE` says which event made each link."
        )
    pairs = joining.pairs()
    one, other = joining.parts[0][0], joining.parts[1][0]
    world = adjudicate(history.kept_apart(frozenset(pairs)))
    rows = [world.identifiers.get(found.key) for found in (one, other)]
    heads = {None if row is None else world.canonical(row[2]) for row in rows}
    return pairs, None not in heads and len(heads) == 1


def _pairs_between(history: History, two: tuple[Identifier, ...]) -> tuple[dict[Pair, str], bool]:
    pairs: dict[Pair, str] = {}
    for _ in range(MOST_EVENTS):
        joining = adjudicate(history.kept_apart(frozenset(pairs)), Watch(pair=two)).joining
        if joining is None:
            return pairs, False
        pairs |= joining.pairs()
    return pairs, True


# -- who is concerned --------------------------------------------------------------------------------------------------


def _profiles_of_event(connection: Connection, event_id: str) -> list[str]:
    query = select(links.c.profile_id).where(links.c.event_id == event_id, links.c.decision == "accepted")
    found = sorted(set(connection.execute(query).scalars()))
    if not found:
        raise WrongUse(
            f"No link was made by the event '{event_id}', in the links of state. "
            "`activation identity show PROFILE` says which event made each link."
        )
    return found


def _loser(connection: Connection, profile: str) -> list[str]:
    query = select(profile_redirects.c.to_profile).where(profile_redirects.c.from_profile == profile)
    winner = connection.execute(query).scalar_one_or_none()
    if winner is None:
        raise WrongUse(
            f"No other profile did '{profile}' become, in the redirects of state. "
            "Name one that `activation identity show` says became another."
        )
    return [profile, winner]


def _first_identifiers(connection: Connection, two: list[str]) -> tuple[Identifier, ...]:
    keys = {
        row[0]: bytes(row[1])
        for row in select_in(
            connection, select(profiles.c.profile_id, profiles.c.first_key), profiles.c.profile_id, two
        )
    }
    query = select(identifiers.c.key, identifiers.c.kind, identifiers.c.value)
    found = {
        bytes(row[0]): Identifier(row[1], row[2])
        for row in select_in(connection, query, identifiers.c.key, list(keys.values()))
    }
    return tuple(found[keys[profile]] for profile in two)


def people_tied_to(connection: Connection, profile_ids: Collection[str]) -> frozenset[str]:
    """Everybody whom any event ties to some profiles, accepted or not, through others too: whole clusters.

    What is left out here, no event of theirs has ever shown an identifier of.
    """
    found: set[str] = set()
    waiting = set(profile_ids)
    while waiting:
        members = {member for cluster in cluster_of(connection, waiting).values() for member in cluster.members}
        found |= members
        met: set[str] = set(members)
        held = {bytes(row[0]) for row in held_by(connection, members, lambda c: (c.key,))}
        shown = set(held)
        for table in (links, FORMER[links.name]):
            events = _events_of(connection, table, members, held)
            told = select(table.c.profile_id, table.c.other_profile_id, table.c.key)
            for profile, other, key in select_in(connection, told, table.c.event_id, events):
                met |= {profile, other}
                shown.add(bytes(key))
        met |= _others(connection, FORMER[profile_redirects.name], members, "from_profile", "to_profile")
        for table in (identifiers, FORMER[identifiers.name]):
            met |= {row[0] for row in select_in(connection, select(table.c.profile_id), table.c.key, shown)}
        waiting = {one for one in met if one} - found
    return frozenset(found)


def _events_of(connection: Connection, table: Any, members: Collection[str], held: Collection[bytes]) -> set[str]:
    """The events that the ledger tells of members, or in which somebody was refused an identifier that is theirs.

    Whoever was refused one that nobody had by then is told without a second profile, so it is looked for by its key.
    """
    found = {
        row[0]
        for look_up in (links_of, links_against)
        for row in look_up(connection, members, lambda c: (c.event_id,), table)
    }
    refused = select(table.c.event_id).where(table.c.decision != literal_column("'accepted'"))
    return found | {row[0] for row in select_in(connection, refused, table.c.key, held)}


def _others(connection: Connection, table: Any, members: Collection[str], one: str, other: str) -> set[str]:
    found: set[str] = set()
    for here, there in ((one, other), (other, one)):
        found |= {row[0] for row in select_in(connection, select(table.c[there]), table.c[here], members)}
    return found
