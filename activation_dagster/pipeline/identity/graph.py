"""The graph of a person: every identifier, every profile they ever were, and why each link is there or is not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, literal, select

from activation_dagster.domain.links import LinkDecision
from activation_dagster.domain.masking import masked
from activation_dagster.domain.reasons import LinkRefusal
from activation_dagster.pipeline.contracts_in_force import contracts_today
from activation_dagster.pipeline.people import Redirect, person_named, redirects_of
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.traits import person_traits
from activation_dagster.state.adjudications import doings
from activation_dagster.state.bulk import select_in
from activation_dagster.state.instants import instant
from activation_dagster.state.profile_identifiers import held_by, links_against, links_of
from activation_dagster.state.tables import FORMER, links, profiles

MOST_LINKS = 500
"""A person of more links is a shared device or a robot; the first ones say how it began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldIdentifier:
    """An identifier that a person has; `identifier` is hashed, or the value where it was revealed.

    `shared_since`: the first event for which its value named nobody any more, or empty.
    """

    kind: str
    identifier: str
    profile_id: str
    event_id: str
    attached_at: datetime
    shared_since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerProfile:
    """A profile that is, or was, the person: by which event and identifier it was made."""

    profile_id: str
    made_by: str
    first_identifier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTrait:
    """What counts of a trait, as JSON (masked unless revealed), and the policy that chose it of all that was said."""

    trait: str
    value: str
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldLink:
    """One entry of the ledger, and in words why it is so."""

    kind: str
    identifier: str
    decision: LinkDecision
    reason: str
    why: str
    event_id: str
    profile_id: str
    other_profile_id: str
    rules_version: str
    seq: int
    decided_at: datetime
    adjudicated: str = ""
    ended: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonGraph:
    """A person as the ledger tells it; `links` in the order they were decided, at most `MOST_LINKS`.

    Of a link: `adjudicated` says who had history adjudicated again, and why, where that brought it; `ended` the same
    where it holds no more because of it.
    """

    profile_id: str
    profiles: tuple[FormerProfile, ...]
    identifiers: tuple[HeldIdentifier, ...]
    redirects: tuple[Redirect, ...]
    links: tuple[ToldLink, ...]
    link_count: int
    traits: tuple[HeldTrait, ...] = ()


def graph_of(places: Places, text: str, *, reveal: bool) -> PersonGraph:
    """The graph of whom a profile id or `KIND:VALUE` names. Raises WrongUse where nobody is named.

    Links are those offered to the person's profiles, and those refused elsewhere because the person has the identifier.
    """
    contracts = contracts_today(places)
    responses = {mode.code: mode.response for mode in contracts.failure_modes.values() if mode.group == "link"}
    policies = contracts.identity.traits
    person = person_named(places, text)
    members = sorted(person.members)
    with places.state.read() as connection:
        values = _values(connection, members)
        rows = _links(connection, members)
        held = _identifiers(connection, members)
        known = person_traits(connection, policies, members)
        former = select(
            profiles.c.profile_id,
            profiles.c.created_by,
            profiles.c.first_key,
            profiles.c.created_seq,
            profiles.c.created_rank,
        )
        made = sorted(select_in(connection, former, profiles.c.profile_id, members), key=lambda row: row[3:])
        redirects = redirects_of(connection, members)

    def shown(key: Any) -> str:
        raw = bytes(key)
        return values[raw] if reveal and raw in values else raw.hex()[:16]

    acts = {row[-2] for row in rows} | {row[-1] for row in rows}
    with places.state.read() as connection:
        done = doings(connection, [seq for seq in acts if seq])

    def by_whom(seq: int) -> str:
        doing = done.get(seq)
        if doing is None:
            return ""
        return (
            f"{doing.act.removeprefix('identity_')} by {doing.actor} at {doing.done_at:%Y-%m-%dT%H:%M:%SZ}: {doing.why}"
        )

    told = sorted(
        (
            ToldLink(
                kind=row[0],
                identifier=shown(row[1]),
                decision=LinkDecision(row[2]),
                reason=row[3],
                why=_why(row[3], responses, is_merge=bool(row[5]) and row[5] not in person.members),
                event_id=row[4],
                profile_id=row[6],
                other_profile_id=row[5],
                rules_version=row[7],
                seq=row[8],
                decided_at=instant(row[9]),
                adjudicated=by_whom(row[10]),
                ended=by_whom(row[11]),
            )
            for row in rows
        ),
        key=lambda link: (link.seq, link.event_id, link.kind, not link.ended),
    )
    since: dict[str, str] = {}
    for link in told:
        if link.reason == LinkRefusal.SHARED_VALUE:
            since.setdefault(link.identifier, link.event_id)
    return PersonGraph(
        profile_id=person.canonical,
        profiles=tuple(
            FormerProfile(profile_id=row[0], made_by=row[1], first_identifier=shown(row[2])) for row in made
        ),
        identifiers=tuple(
            HeldIdentifier(
                kind=kind,
                identifier=shown(key),
                profile_id=profile,
                event_id=event_id,
                attached_at=instant(at),
                shared_since=since.get(shown(key), ""),
            )
            for kind, key, profile, event_id, at in held
        ),
        redirects=redirects,
        links=tuple(told[:MOST_LINKS]),
        link_count=len(told),
        traits=tuple(
            HeldTrait(
                trait=trait,
                value=json.dumps(value if reveal else masked(value), ensure_ascii=False),
                policy=policies.of(trait).policy.value,
            )
            for trait, value in sorted(known.items())
        ),
    )


def _why(reason: str, responses: dict[str, str], *, is_merge: bool) -> str:
    if not reason:
        return "The event showed it together with what its profile had, or it made the profile."
    also = " It stands on another profile." if is_merge else ""
    return responses.get(reason, reason) + also


def _values(connection: Connection, members: Iterable[str]) -> dict[bytes, str]:
    return {bytes(key): value for key, value in held_by(connection, members, lambda c: (c.key, c.value))}


def _identifiers(connection: Connection, members: Iterable[str]) -> list[tuple[str, bytes, str, str, int]]:
    held = held_by(connection, members, lambda c: (c.kind, c.key, c.profile_id, c.event_id, c.seen_at, c.seq))
    rows = sorted(held, key=lambda row: (row[5], row[3], row[0]))
    return [(row[0], bytes(row[1]), row[2], row[3], row[4]) for row in rows]


def _links(connection: Connection, members: list[str]) -> list[tuple[Any, ...]]:
    """The ledger's rows, those that hold and those that held; last, which acts brought and ended each."""
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def told(c: Any) -> Sequence[ColumnElement[Any]]:
        return (
            c.kind,
            c.key,
            c.decision,
            c.reason,
            c.event_id,
            c.other_profile_id,
            c.profile_id,
            c.rules_version,
            c.seq,
            c.decided_at,
            c.known_seq,
            c.get("ended_seq", literal(0)),
        )

    for table in (links, FORMER[links.name]):
        for lookup in (links_of, links_against):
            found |= {(row[4], bytes(row[1]), row[-1]): row for row in lookup(connection, members, told, table)}
    return list(found.values())
