"""What would differ in state if history were adjudicated again: rows that no longer hold, and rows that do instead."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Table, select

from activation_dagster.domain.consent import ConsentStatus
from activation_dagster.domain.links import LinkDecision
from activation_dagster.domain.separations import Pair
from activation_dagster.pipeline.identity.history import History
from activation_dagster.pipeline.identity.parts import GRAPH, columns_of, cut, forget, rows_of_part, since
from activation_dagster.pipeline.identity.retelling import FACTS, Retelling, Retold, retell
from activation_dagster.pipeline.identity.world import World, adjudicate
from activation_dagster.pipeline.places import Places
from activation_dagster.state.bulk import select_in
from activation_dagster.state.conflicts import conflicts_by_closing
from activation_dagster.state.consent import record_id
from activation_dagster.state.instants import instant
from activation_dagster.state.profile_identifiers import held_by, links_against, links_of
from activation_dagster.state.subjects import cluster_of
from activation_dagster.state.suppressions import suppression_id
from activation_dagster.state.tables import (
    companions,
    consent_records,
    identifiers,
    links,
    profile_redirects,
    profiles,
    suppressions,
)

Key = tuple[Any, ...]
Row = tuple[Any, ...]

SAME_LINK = 5
"""Of a link's row behind its key, so many columns say what was decided; the others by which rules and when."""


@dataclass(slots=True, kw_only=True)
class Rows:
    """Rows of one table by primary key, without `known_seq`."""

    table: Table
    by_key: dict[Key, Row] = field(default_factory=dict[Key, Row])

    def put(self, rows: Iterable[Row]) -> None:
        """Add rows; of those with the same key the first stays."""
        names = [column.name for column in self.table.columns]
        places = [names.index(column.name) for column in self.table.primary_key.columns]
        if len(places) == 1:
            (place,) = places
            for row in rows:
                self.by_key.setdefault((row[place],), row)
            return
        key_of = itemgetter(*places)
        for row in rows:
            self.by_key.setdefault(key_of(row), row)

    def keep(self, other: Rows, members: Container[str], place: int) -> None:
        """Take over the rows of some profiles; the profile stands at a place in the row."""
        self.by_key |= {key: row for key, row in other.by_key.items() if row[place] in members}

    @property
    def end(self) -> int | None:
        """So many columns of a row say what is so; None for all."""
        return 2 + SAME_LINK if self.table is links else None


@dataclass(slots=True, kw_only=True)
class Change:
    """What becomes of one table: keys of rows that end, and rows that are added, by key."""

    ended: set[Key] = field(default_factory=set[Key])
    added: dict[Key, Row] = field(default_factory=dict[Key, Row])


@dataclass(slots=True, kw_only=True)
class Differences:
    """All that would change. `members`: the component (a number) of every profile concerned, old or new.

    `old`, `new` and `world` hold who is who of those profiles; `people_alike` counts the others that were looked at,
    and `conflicts` are those of everybody looked at, before and after. `spoken_until`: the newest act taken along.
    """

    until: int
    spoken_until: int
    changes: dict[str, Change]
    copied_suppressions: list[Row]
    members: dict[str, int]
    old: dict[str, Rows]
    new: dict[str, Rows]
    gone: dict[str, str]
    retold: Retold
    world: World
    settled: list[str]
    people_alike: int
    conflicts: tuple[int, int]

    @property
    def is_empty(self) -> bool:
        return not any(change.ended or change.added for change in self.changes.values())

    @property
    def digest(self) -> str:
        """What changes, as 64 hex digits; equal wherever and whenever the same would change."""
        parts: list[str] = []
        for name, change in sorted(self.changes.items()):
            parts += sorted(f"- {name} {key!r}" for key in change.ended)
            cut = -2 if name == links.name else None
            parts += sorted(f"+ {name} {row[:cut]!r}" for row in change.added.values())
        parts += sorted(f"+ suppressions {row[:5]!r}" for row in self.copied_suppressions)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def differences(
    places: Places,
    history: History,
    *,
    until: int,
    spoken_until: int,
    members: Collection[str] | None,
    separations: Collection[Pair],
    beat: Callable[[], None],
) -> Differences:
    """Compare state with what adjudicating again makes of it; with `members`, only what concerns those profiles."""
    found = _people(places, history, until=until, members=members, separations=separations, beat=beat)
    components, new, changes, world = found.members, found.new, found.changes, found.world
    positions = {batch.position for batch in history.batches}
    with places.state.read() as connection:
        facts = {table.name: _facts_in_state(connection, table, components, positions, until) for table in FACTS}
        spoken, copied, copied_choices = _spoken(connection, components, world, positions, spoken_until)
    heads = {head_of(profile, new[profile_redirects.name]) for profile in components}
    telling = Retelling(
        members=components,
        heads=heads,
        spoken=spoken,
        gone=[row for key, row in new[profile_redirects.name].by_key.items() if key[0] in found.gone],
    )
    retold = (
        retell(places, history, world, telling, beat=beat) if components else Retold(rows={t.name: [] for t in FACTS})
    )
    manual = {row[0] for _, table, row in spoken if table is consent_records}
    for table in FACTS:
        told = Rows(table=table)
        told.put(row for row in retold.rows[table.name] if table is not consent_records or row[0] not in manual)
        found.old[table.name], new[table.name] = facts[table.name], told
        changes[table.name] = _change(facts[table.name], told)
    for row in copied_choices:
        changes[consent_records.name].added[(row[0],)] = row
    return Differences(
        until=until,
        spoken_until=spoken_until,
        changes=changes,
        copied_suppressions=copied,
        members=components,
        old=found.old,
        new=new,
        gone=found.gone,
        retold=retold,
        world=world,
        settled=sorted(found.settled),
        people_alike=found.people_alike,
        conflicts=(found.conflicts_before, found.conflicts_after),
    )


# -- who is who, a part at a time --------------------------------------------------------------------------------------


_KEPT = ((profiles, 0), (identifiers, 3), (profile_redirects, 0))
"""Tables of which the rows of those concerned are looked at again, and where in a row its profile stands."""


def _none_yet(tables: Iterable[Table] = GRAPH) -> dict[str, Rows]:
    return {table.name: Rows(table=table) for table in tables}


def _kept() -> dict[str, Rows]:
    return _none_yet(table for table, _ in _KEPT)


@dataclass(slots=True, kw_only=True)
class _People:
    """Who is who, of the parts compared so far: what changes, and everything of the profiles that it concerns."""

    changes: dict[str, Change] = field(default_factory=lambda: {table.name: Change() for table in GRAPH})
    members: dict[str, int] = field(default_factory=dict[str, int])
    old: dict[str, Rows] = field(default_factory=_kept)
    new: dict[str, Rows] = field(default_factory=_kept)
    gone: dict[str, str] = field(default_factory=dict[str, str])
    world: World = field(default_factory=World)
    settled: list[str] = field(default_factory=list[str])
    components: int = 0
    people_alike: int = 0
    conflicts_before: int = 0
    conflicts_after: int = 0

    def compare(self, old: dict[str, Rows], world: World) -> None:
        """Compare the rows of a part, or of some profiles, with what they would be."""
        new = _graph_of(world)
        gone = _gone(old[profiles.name], world)
        _put_gone(new, old[profiles.name], gone)
        changes = {table.name: _change(old[table.name], new[table.name]) for table in GRAPH}
        members = _components(changes, old, new, first=self.components)
        self.components = 1 + max(members.values(), default=self.components - 1)
        for name, change in changes.items():
            self.changes[name].ended |= change.ended
            self.changes[name].added |= change.added
        for side, rows in ((self.old, old), (self.new, new)):
            for table, place in _KEPT:
                side[table.name].keep(rows[table.name], members, place)
        self.members |= members
        self.gone |= {profile: owner for profile, owner in gone.items() if profile in members}
        self.world.take(world, members)
        redirects = old[profile_redirects.name]
        held = {row[3] for row in old[identifiers.name].by_key.values() if row[3] not in members}
        self.people_alike += len({head_of(profile, redirects) for profile in held})
        self.conflicts_before += _conflicts(old[links.name])
        self.conflicts_after += _conflicts(new[links.name])


def _conflicts(rows: Rows) -> int:
    return sum(row[4] == LinkDecision.CONFLICT.value for row in rows.by_key.values())


def _people(
    places: Places,
    history: History,
    *,
    until: int,
    members: Collection[str] | None,
    separations: Collection[Pair],
    beat: Callable[[], None],
) -> _People:
    found = _People()
    _put_waiting(places, history)
    if members is not None:
        apart = history.kept_apart(separations)
        world = adjudicate(apart)
        with places.state.read() as connection:
            old = _graph_in_state(connection, history, until=until, members=members)
        found.compare(old, world)
        found.settled += _settled(history, world)
        return found
    for part in range(cut(places, history, until=until, beat=beat)):
        beat()
        its = history.of_part(part)
        world = adjudicate(its.kept_apart(separations))
        old = _none_yet()
        for table in GRAPH:
            old[table.name].put(rows_of_part(history.engine, table, part))
        found.compare(old, world)
        found.settled += _settled(its, world)
    forget(history.engine)
    return found


def _plain(row: Iterable[Any]) -> Row:
    return tuple(row)


def _put_waiting(places: Places, history: History) -> None:
    """Make the relation of events that wait because of a conflict."""
    with places.state.read() as connection:
        waiting, _ = conflicts_by_closing(connection)
    history.engine.put("waiting_conflicts", {"event_id": "VARCHAR"}, [(one,) for one in waiting])


def _settled(history: History, world: World) -> list[str]:
    """Events of a part that wait because of a conflict, and would be somebody's."""
    rows = history.engine.rows(
        "select position, set_no, ordinal, event_id from occurrences semi join waiting_conflicts using (event_id) "
        f"where part = {history.part}"
    )
    found: list[str] = []
    for position, set_no, ordinal, event_id in rows:
        whose = world.whose.get((position, ordinal if (position, set_no) in world.again else set_no))
        if whose is not None and whose.profile is not None:
            found.append(event_id)
    return found


# -- the graph ---------------------------------------------------------------------------------------------------------


def _graph_in_state(
    connection: Connection, history: History, *, until: int, members: Collection[str]
) -> dict[str, Rows]:
    found = _none_yet()

    def load(table: Table, column: Any, values: Iterable[Any]) -> None:
        query = select(*columns_of(table)).where(since(table) <= until)
        found[table.name].put(_plain(row) for row in select_in(connection, query, column, values))

    load(profiles, profiles.c.profile_id, members)
    held = held_by(connection, members, lambda _: columns_of(identifiers))
    found[identifiers.name].put(_plain(row) for row in held if row[4] <= until)
    load(profile_redirects, profile_redirects.c.from_profile, members)
    for told in (look_up(connection, members, lambda _: columns_of(links)) for look_up in (links_of, links_against)):
        found[links.name].put(_plain(row) for row in told if row[8] <= until)
    arrived = [arrival.event_id for firsts in history.firsts.values() for arrival in firsts]
    load(links, links.c.event_id, arrived)
    load(companions, companions.c.key, [key for (key,) in found[identifiers.name].by_key])
    return found


def _gone(in_state: Rows, world: World) -> dict[str, str]:
    """Profiles that nobody is any more: whose first identifier is somebody else's now leads there."""
    found: dict[str, str] = {}
    for (profile,), row in in_state.by_key.items():
        if profile not in world.profiles:
            owner = world.identifiers.get(row[3])
            found[profile] = "" if owner is None else owner[2]
    return found


def _graph_of(world: World) -> dict[str, Rows]:
    new = {table.name: Rows(table=table) for table in GRAPH}
    new[profiles.name].put((one, *row) for one, row in world.profiles.items())
    new[identifiers.name].put((key, *row) for key, row in world.identifiers.items())
    new[companions.name].put((key, other, seq) for (key, other), seq in world.companions.items())
    new[profile_redirects.name].put((one, *row) for one, row in world.redirects.items())
    new[links.name].put(
        (event_id, key, kind, profile, decision, reason, other, version, seq, 0)
        for (event_id, key), (kind, profile, decision, reason, other, version, seq) in world.links.items()
    )
    return new


def _put_gone(new: dict[str, Rows], in_state: Rows, gone: Mapping[str, str]) -> None:
    """Profiles stay, and lead to who has their first identifier now."""
    new[profiles.name].put(in_state.by_key[(one,)] for one in gone)
    new[profile_redirects.name].put(
        (one, owner, in_state.by_key[(one,)][1], in_state.by_key[(one,)][4]) for one, owner in gone.items() if owner
    )


def _change(old: Rows, new: Rows) -> Change:
    change = Change()
    end = old.end
    for key, row in old.by_key.items():
        instead = new.by_key.get(key)
        if instead is None or row[:end] != instead[:end]:
            change.ended.add(key)
    for key, row in new.by_key.items():
        before = old.by_key.get(key)
        if before is None or before[:end] != row[:end]:
            change.added[key] = row
    return change


def head_of(profile: str, redirects: Rows) -> str:
    """The profile that stands for this one, by redirects."""
    while (row := redirects.by_key.get((profile,))) is not None:
        profile = row[1]
    return profile


def _components(
    changes: Mapping[str, Change], old: Mapping[str, Rows], new: Mapping[str, Rows], *, first: int
) -> dict[str, int]:
    """Every profile of the people whom a change concerns, with the number of its component of old and new clusters.

    Numbers begin at `first`.
    """
    parents: dict[str, str] = {}

    def root(one: str) -> str:
        while (up := parents.get(one, one)) != one:
            parents[one] = parents.get(up, up)
            one = up
        return one

    def join(one: str, other: str) -> None:
        if one and other and root(one) != root(other):
            parents[root(one)] = root(other)

    concerned: set[str] = set()
    for side in (old, new):
        for (source,), row in side[profile_redirects.name].by_key.items():
            join(source, row[1])
    for key, row in old[identifiers.name].by_key.items():
        instead = new[identifiers.name].by_key.get(key)
        if instead is not None and instead[3] != row[3]:
            join(row[3], instead[3])
    whose = {profiles.name: (0,), identifiers.name: (3,), profile_redirects.name: (0, 1), links.name: (3, 6)}
    for name, change in changes.items():
        rows = [old[name].by_key[key] for key in change.ended] + list(change.added.values())
        for row in rows:
            if name == companions.name:
                owners = [side[identifiers.name].by_key.get((row[0],)) for side in (old, new)]
                concerned |= {owner[3] for owner in owners if owner is not None}
            else:
                concerned |= {row[place] for place in whose[name] if row[place]}
    roots = {found: number for number, found in enumerate(sorted({root(one) for one in concerned}), first)}
    everybody = {*(key[0] for key in old[profiles.name].by_key), *(key[0] for key in new[profiles.name].by_key)}
    return {one: roots[root(one)] for one in sorted(everybody) if root(one) in roots}


# -- facts -------------------------------------------------------------------------------------------------------------


def _facts_in_state(
    connection: Connection, table: Table, members: Collection[str], positions: Collection[int | None], until: int
) -> Rows:
    """What batches wrote; what people and destinations said themselves stands at other sequences, and stays."""
    found = Rows(table=table)
    names = [column.name for column in columns_of(table)]
    place = names.index("seq")
    query = select(*columns_of(table)).where(table.c.seq <= until)
    rows = select_in(connection, query, table.c.profile_id, members)
    found.put(_plain(row) for row in rows if row[place] in positions)
    return found


def copied_no(row: Row, profile_id: str) -> Row:
    """A *no* (a row of `consent_records` without `known_seq`) as said of another profile too."""
    identity = record_id(
        source=row[7],
        profile_id=profile_id,
        purpose=row[2],
        channel=row[3],
        status=ConsentStatus.DENIED,
        decided_at=instant(row[5]),
    )
    return (identity, profile_id, *row[2:])


def copied_suppression(row: Row, profile_id: str) -> Row:
    """A suppression (a row of `suppressions`) of another profile too."""
    identity = suppression_id(profile_id=profile_id, channel=row[2], reason=row[3], source=row[6], seq=row[5])
    return (identity, profile_id, *row[2:])


def _spoken(
    connection: Connection,
    members: Mapping[str, int],
    world: World,
    positions: Collection[int | None],
    spoken_until: int,
) -> tuple[list[tuple[int, Table, Row]], list[Row], list[Row]]:
    """What was said outside events of the people concerned, in order; and the noes that other parts get a copy of.

    A *no* recorded for a profile was said of everybody that the profile was by then: whoever has one of those
    identifiers now, keeps it; who is none of the people concerned got theirs by the act that separated them. A *yes*
    stays with the profile alone.
    """
    spoken: list[tuple[int, Table, Row]] = []
    hard: list[Row] = []
    choices: list[Row] = []
    query = select(*columns_of(consent_records), consent_records.c.known_seq).where(
        consent_records.c.seq <= spoken_until
    )
    for *row, known in select_in(connection, query, consent_records.c.profile_id, members):
        record = _plain(row)
        if record[6] in positions:
            continue
        spoken.append((record[6], consent_records, record))
        if record[4] == ConsentStatus.DENIED.value:
            parts = _others_now(connection, record[1], max(record[6], known), world) & members.keys()
            choices += [copied_no(record, part) for part in parts]
    covered = select(*columns_of(suppressions)).where(suppressions.c.seq <= spoken_until)
    for row in select_in(connection, covered, suppressions.c.profile_id, members):
        record = _plain(row)
        spoken.append((record[5], suppressions, record))
        parts = _others_now(connection, record[1], record[5], world) & members.keys()
        hard += [copied_suppression(record, part) for part in parts]
    told = {row[0] for _, _, row in spoken}
    said = {_what(row) for _, table, row in spoken if table is suppressions}  # an earlier release gave other ids
    hard = [row for row in dict.fromkeys(hard) if _what(row) not in said]
    choices = [row for row in dict.fromkeys(choices) if row[0] not in told]
    spoken += [(row[5], suppressions, row) for row in hard] + [(row[6], consent_records, row) for row in choices]
    return sorted(spoken, key=lambda one: (one[0], one[2][0])), hard, choices


def _what(row: Row) -> Row:
    """Of a suppression's row whose it is, and what was said when."""
    return (*row[1:4], *row[5:])


def _others_now(connection: Connection, profile: str, seq: int, world: World) -> set[str]:
    """Other profiles that now have an identifier of whom a profile was at a state sequence."""
    person = cluster_of(connection, [profile], seq)[profile]
    keys = [bytes(row[0]) for row in held_by(connection, person.members, lambda c: (c.key,), up_to_seq=seq)]
    owners = {world.identifiers[key][2] for key in keys if key in world.identifiers}
    here = world.canonical(profile)
    return {owner for owner in owners if world.canonical(owner) != here}
