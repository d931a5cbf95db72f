"""Identifiers, links, profiles and redirects: the identity graph, probed by index and only ever added to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, Text, cast, func, literal, select

from activation_dagster.domain.identifiers import Identifier
from activation_dagster.domain.identity import Ages
from activation_dagster.domain.links import IdentityChanges, KnownIdentifier, LinkDecision
from activation_dagster.state.bulk import insert_in_chunks, insert_table_in_chunks, select_in
from activation_dagster.state.engine import State
from activation_dagster.state.former import then
from activation_dagster.state.profile_identifiers import COLUMNS, held_by, keys_given
from activation_dagster.state.subjects import cluster_of
from activation_dagster.state.tables import (
    companions,
    identifiers,
    links,
    profile_identifiers,
    profile_redirects,
    profiles,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphPart:
    """The part of the graph around some identifiers, as it stood at one state sequence; `members` are its profiles."""

    members: frozenset[str]
    identifiers: tuple[KnownIdentifier, ...]
    redirects: Mapping[str, str]


def load_part(connection: Connection, wanted: Iterable[Identifier], *, up_to_seq: int) -> GraphPart:
    """Everything about the profiles that have any of the wanted identifiers: whole clusters, by index.

    What was wanted is read once: of the keys that its people were given, only the others are looked up.
    """
    by_key = {identifier.key: identifier for identifier in wanted}
    held = then(connection, identifiers, up_to_seq).c

    def known(keys: Iterable[bytes], *columns: ColumnElement[Any]) -> Generator[tuple[Any, ...]]:
        query = select(held.key, held.profile_id, held.seen_at, *columns).where(held.seq <= up_to_seq)
        return select_in(connection, query, held.key, keys)

    found = [
        (bytes(key), KnownIdentifier(identifier=by_key[bytes(key)], profile_id=profile, seen_at=at))
        for key, profile, at in known(by_key)
    ]
    redirects, members = clusters(connection, {one.profile_id for _, one in found}, up_to_seq=up_to_seq)
    others = keys_given(connection, members).difference(key for key, _ in found)
    identified = [one for _, one in found]
    identified += [
        KnownIdentifier(identifier=Identifier(kind, value), profile_id=profile, seen_at=at)
        for _, profile, at, kind, value in known(others, held.kind, held.value)
        if profile in members
    ]
    return GraphPart(members=frozenset(members), identifiers=tuple(identified), redirects=redirects)


SCANNED_UP_TO = 4
"""Where state has at most so many identifiers for each one asked for, all of them are read and none is probed: it takes
three probes to find an identifier, its profile's others and their kinds."""

LINES_AT_ONCE = 100_000

RANGES = 256
"""In so many parts SQLite makes the lines of everybody, by the first byte of the key: a text there has its limit."""


def known_around(
    connection: Connection, keys: Callable[[], Sequence[bytes]], *, up_to_seq: int
) -> tuple[Iterator[str], dict[str, str]]:
    """Every identifier of every person who has one of some (or of everybody, where that is faster), and redirects.

    What `load_part` loads, as far as it takes to tell who touches no rule, as texts of many lines, each `key profile
    kind`: the key in hex, and the profile that it was first seen with. A row of Python for each identifier would take
    three times as long. `keys` is called if there is anybody.
    """
    if connection.execute(select(identifiers.c.seq).limit(1)).first() is None:
        return iter(()), {}
    wanted = keys()
    has, moves = then(connection, identifiers, up_to_seq).c, then(connection, profile_redirects, up_to_seq).c
    is_sqlite = connection.dialect.name == "sqlite"

    def line(c: Any) -> ColumnElement[str]:
        in_hex = func.lower(func.hex(c.key)) if is_sqlite else func.encode(c.key, "hex")
        return cast(in_hex, Text) + " " + c.profile_id + " " + c.kind

    if not _is_over(connection, identifiers, SCANNED_UP_TO * len(wanted)):
        moved = select(moves.from_profile, moves.to_profile).where(moves.seq <= up_to_seq)
        parents = {row[0]: row[1] for row in connection.execute(moved)}
        everybody = select(line(has).label("line")).where(has.seq <= up_to_seq)
        lines = _all_sqlite(connection, everybody, has.key) if is_sqlite else _all_postgres(connection, everybody)
        return lines, {profile: _head(profile, parents) for profile in parents}
    owner = select(has.profile_id).where(has.seq <= up_to_seq)
    owners = sorted({row[0] for row in select_in(connection, owner, has.key, sorted(wanted))})
    touched: set[str] = set()
    for column in (moves.from_profile, moves.to_profile):
        query = select(column).where(moves.seq <= up_to_seq)
        touched |= {row[0] for row in select_in(connection, query, column, owners)}
    redirects, members = clusters(connection, touched, up_to_seq=up_to_seq)
    known = held_by(connection, sorted(members.union(owners)), lambda c: (line(c),), up_to_seq=up_to_seq)
    return iter(["\n".join(row[0] for row in known)]), redirects


def _is_over(connection: Connection, table: Table, rows: int) -> bool:
    """Whether a table has more rows than that; no more of them are counted."""
    some = select(literal(1)).select_from(table).limit(rows + 1).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one() > rows


def _all_sqlite(connection: Connection, lines: Select[str], key: ColumnElement[bytes]) -> Generator[str]:
    for first in range(RANGES):
        begin = bytes([first])
        part = lines.where(key >= begin)
        if first + 1 < RANGES:
            part = part.where(key < bytes([first + 1]))
        text = connection.execute(select(func.aggregate_strings(part.subquery().c.line, "\n"))).scalar_one()
        yield text or ""


def _all_postgres(connection: Connection, lines: Select[str]) -> Generator[str]:
    """By COPY, which streams: the driver would fetch all rows before the first, and a text has a limit."""
    query = lines.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT") as copy:
        blocks: Iterator[bytes] = iter(copy)
        while several := list(islice(blocks, LINES_AT_ONCE)):
            yield b"".join(several).decode()


def _head(profile: str, parents: Mapping[str, str]) -> str:
    while profile in parents:
        profile = parents[profile]
    return profile


def created_of(connection: Connection, asked: Iterable[str], *, up_to_seq: int) -> dict[str, tuple[int, int]]:
    """When some profiles were made, as (state sequence, rank inside the batch)."""
    made = then(connection, profiles, up_to_seq).c
    query = select(made.profile_id, made.created_seq, made.created_rank)
    return {row[0]: (row[1], row[2]) for row in select_in(connection, query, made.profile_id, asked)}


def ages_of(state: State, members: Iterable[str], *, up_to_seq: int) -> Ages:
    """`created_of` for the graph around some profiles, read when it is asked: most batches make few of them one.

    Each time as many more of the members are read along as are known by then, so that many questions are few reads.
    """
    waiting = dict.fromkeys(members)
    known: dict[str, tuple[int, int]] = {}

    def ages(asked: Collection[str]) -> Mapping[str, tuple[int, int]]:
        missing = [profile for profile in asked if profile not in known]
        if missing:
            along = [profile for profile in islice(waiting, len(known) + len(missing)) if profile not in missing]
            for profile in (*missing, *along):
                waiting.pop(profile, None)
            with state.read() as connection:
                known.update(created_of(connection, [*missing, *along], up_to_seq=up_to_seq))
        return {profile: known[profile] for profile in asked}

    return ages


def companions_of(
    connection: Connection, wanted: Iterable[Identifier], *, up_to_seq: int
) -> dict[Identifier, list[bytes]]:
    """What some identifiers, whose kinds have a `shared` rule, were seen with; by index."""
    by_key = {identifier.key: identifier for identifier in wanted}
    found: dict[Identifier, list[bytes]] = {}
    seen = then(connection, companions, up_to_seq)
    query = select(seen.c.key, seen.c.other_key).where(seen.c.seq <= up_to_seq)
    for key, other in select_in(connection, query, seen.c.key, by_key):
        found.setdefault(by_key[bytes(key)], []).append(bytes(other))
    return found


def clusters(connection: Connection, found: Iterable[str], *, up_to_seq: int) -> tuple[dict[str, str], set[str]]:
    """Of some profiles: which profile stands for each member of their clusters, and all those members."""
    redirects: dict[str, str] = {}
    members: set[str] = set()
    for canonical, cluster in cluster_of(connection, found, up_to_seq).values():
        members |= cluster
        redirects |= {member: canonical for member in cluster if member != canonical}
    return redirects, members


def add_changes(state: State, changes: IdentityChanges, *, position: int, rules_version: str, decided_at: int) -> None:
    """Add what a batch resolved, keyed by its position: doing so again changes nothing.

    A run that is repeated looks at the graph as it stood before the batch, so it says the same again; what stands wins.
    """
    accepted = [
        (link.profile_id, link.identifier.key, link.event_id)
        for link in changes.links
        if link.decision is LinkDecision.ACCEPTED
    ]
    insert_in_chunks(state, profile_identifiers, COLUMNS, sorted(accepted))
    insert_in_chunks(
        state,
        links,
        (
            "event_id",
            "key",
            "kind",
            "profile_id",
            "decision",
            "reason",
            "other_profile_id",
            "rules_version",
            "seq",
            "decided_at",
        ),
        [
            (
                link.event_id,
                link.identifier.key,
                link.identifier.kind,
                link.profile_id,
                link.decision.value,
                "" if link.refusal is None else link.refusal.value,
                link.other_profile_id,
                rules_version,
                position,
                decided_at,
            )
            for link in changes.links
        ],
    )
    insert_in_chunks(
        state,
        profiles,
        ("profile_id", "created_seq", "created_rank", "first_key", "created_by"),
        [(profile, position, rank, first.key, event) for profile, first, event, rank in changes.profiles],
    )
    insert_in_chunks(
        state,
        identifiers,
        ("key", "kind", "value", "profile_id", "seq", "event_id", "seen_at"),
        sorted(
            (identifier.key, identifier.kind, identifier.value, profile, position, event, at)
            for identifier, profile, event, at in changes.attached
        ),
    )
    insert_in_chunks(
        state,
        companions,
        ("key", "other_key", "seq"),
        sorted((identifier.key, other, position) for identifier, other in changes.companions),
    )


def add_settled(
    state: State,
    *,
    links_accepted: Any,
    profiles_made: Any,
    identifiers_attached: Any,
    position: int,
    rules_version: str,
    decided_at: int,
) -> None:
    """Add what was settled of a batch many at once, as `add_changes` adds the rest; Arrow tables of what differs."""
    same = {"decision": "accepted", "reason": "", "other_profile_id": "", "rules_version": rules_version}
    in_order = links_accepted.select(COLUMNS).sort_by([(name, "ascending") for name in COLUMNS])
    insert_table_in_chunks(state, profile_identifiers, in_order, {})
    insert_table_in_chunks(state, links, links_accepted, same | {"seq": position, "decided_at": decided_at})
    insert_table_in_chunks(state, profiles, profiles_made, {"created_seq": position})
    insert_table_in_chunks(state, identifiers, identifiers_attached, {"seq": position})


def links_told(connection: Connection, segments: Iterable[str], *, position: int) -> Generator[tuple[str, str, str]]:
    """(event_id, kind, decision) of every link that the batch at a position wrote of the events of some segments."""
    told = then(connection, links, position).c
    for segment in segments:
        # a range of the key, between ids that differ in digits alone: so every collation orders them alike
        is_of_segment = told.event_id.between(f"{segment}:0000000", f"{segment}:9999999")
        query = select(told.event_id, told.kind, told.decision).where(is_of_segment, told.seq == position)
        for row in connection.execute(query):
            if row[0].startswith(f"{segment}:"):
                yield row[0], row[1], row[2]


def profile_count(connection: Connection) -> int:
    """How many people are known: profiles that no redirect leads away from."""
    total = connection.execute(select(func.count()).select_from(profiles)).scalar_one()
    lost = connection.execute(select(func.count()).select_from(profile_redirects)).scalar_one()
    return total - lost
