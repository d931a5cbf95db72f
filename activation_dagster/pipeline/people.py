"""People: the person whom an id or an identifier names, with what tied them together and what they allowed."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from activation_dagster.domain.consent import ConsentRecord, ConsentRules, ConsentStatus, current_choice, judge_consent
from activation_dagster.domain.identifiers import Identifier
from activation_dagster.domain.traits import TraitRules
from activation_dagster.errors import WrongUse
from activation_dagster.pipeline.contracts_in_force import contracts_serving
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.traits import person_traits
from activation_dagster.state import suppressions
from activation_dagster.state.bulk import select_in
from activation_dagster.state.consent import records_of
from activation_dagster.state.profile_identifiers import held_by, links_of
from activation_dagster.state.subjects import Cluster, cluster_of
from activation_dagster.state.suppressions import Suppression
from activation_dagster.state.tables import consent_records, identifiers, profile_redirects, profiles

PROFILE = re.compile(r"p[0-9a-f]{7,24}")
WHOLE_PROFILE = 25
COUNTRY = "$country"


def person_named(places: Places, text: str) -> Cluster:
    """The person that a profile id (or its beginning), or an identifier such as `user_id:VALUE`, names today.

    Raises WrongUse where nobody, or more than one, is named.
    """
    if PROFILE.fullmatch(text):
        with places.state.read() as connection:
            found = _profiles_beginning(connection, text)
            if len(found) == 1:
                return cluster_of(connection, found)[found[0]]
        if found:
            raise WrongUse(f"Several profiles begin with '{text}', in the profiles of state. Write more of the id.")
        raise WrongUse(f"No profile '{text}' is known, in the profiles of state. Ask by an identifier: user_id:VALUE.")
    kind_name, colon, raw = text.partition(":")
    kinds = {kind.name: kind for kind in contracts_serving(places).identity.kinds}
    if not colon or kind_name not in kinds:
        raise WrongUse(
            "The person asked for is named neither by a profile id nor by KIND:VALUE, in the command. "
            f"Write p and 24 hex digits, or one of {', '.join(f'{name}:VALUE' for name in kinds)}."
        )
    value = kinds[kind_name].read(raw)
    identifier = None if value is None else Identifier(kind_name, value)
    if identifier is not None:
        with places.state.read() as connection:
            owner = connection.execute(
                select(identifiers.c.profile_id).where(identifiers.c.key == identifier.key)
            ).scalar_one_or_none()
            if owner is not None:
                return cluster_of(connection, [owner])[owner]
    raise WrongUse(
        f"Nobody is known by this {kind_name}, in the identifiers of state. Look at its spelling, and at whether its "
        "events were accepted: `activation quarantine list`."
    )


def _profiles_beginning(connection: Connection, text: str) -> list[str]:
    query = select(profiles.c.profile_id)
    if len(text) == WHOLE_PROFILE:
        query = query.where(profiles.c.profile_id == text)
    else:
        query = query.where(profiles.c.profile_id >= text, profiles.c.profile_id < f"{text}g")
    return list(connection.execute(query.limit(2)).scalars())


# -- what tied a person together --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenLink:
    """An identifier offered to a profile by an event; `identifier` is hashed, or the value where it was revealed."""

    kind: str
    identifier: str
    decision: str
    reason: str
    event_id: str
    profile_id: str
    other_profile_id: str
    rules_version: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """One profile that was shown to be another, by which event."""

    from_profile: str
    to_profile: str
    event_id: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A person: today's profile, every profile it ever was, the links that say so and the merges between them."""

    profile_id: str
    members: tuple[str, ...]
    links: tuple[SeenLink, ...]
    redirects: tuple[Redirect, ...]


MOST_LINKS = 200
"""A person of more links is a shared device or a robot; the first ones say how it began."""


def identity_of(connection: Connection, person: Cluster, *, reveal: bool) -> Identity:
    """What tied a person together, in the order it was seen; at most `MOST_LINKS` links."""
    members = sorted(person.members)
    values: dict[bytes, str] = {}
    if reveal:
        known = held_by(connection, members, lambda c: (c.key, c.value))
        values = {bytes(key): value for key, value in known}

    def told(c: Any) -> Sequence[ColumnElement[Any]]:
        return (
            c.kind,
            c.key,
            c.decision,
            c.reason,
            c.event_id,
            c.profile_id,
            c.other_profile_id,
            c.rules_version,
            c.seq,
        )

    seen = sorted(
        (
            SeenLink(
                kind=row[0],
                identifier=values.get(bytes(row[1]), bytes(row[1]).hex()[:16]),
                decision=row[2],
                reason=row[3],
                event_id=row[4],
                profile_id=row[5],
                other_profile_id=row[6],
                rules_version=row[7],
                seq=row[8],
            )
            for row in links_of(connection, members, told)
        ),
        key=lambda link: (link.seq, link.event_id, link.kind),
    )
    return Identity(
        profile_id=person.canonical,
        members=tuple(members),
        links=tuple(seen[:MOST_LINKS]),
        redirects=redirects_of(connection, members),
    )


def redirects_of(connection: Connection, members: Iterable[str]) -> tuple[Redirect, ...]:
    """The merges among the profiles that a person ever was, in the order they were seen."""
    moved = profile_redirects.c
    query = select(moved.from_profile, moved.to_profile, moved.event_id, moved.seq)
    found = (
        Redirect(from_profile=row[0], to_profile=row[1], event_id=row[2], seq=row[3])
        for row in select_in(connection, query, moved.from_profile, members)
    )
    return tuple(sorted(found, key=lambda redirect: (redirect.seq, redirect.from_profile)))


# -- what a person allowed --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One choice as recorded: what for, when, where we know it from, and by which declared mapping.

    `basis` says in words why the mapping counts as consent; `counts` whether it is the one that counts for its purpose
    and channel at the instant asked for.
    """

    record_id: str
    profile_id: str
    purpose: str
    channel: str
    status: ConsentStatus
    decided_at: datetime
    seq: int
    source: str
    mapping: str
    basis: str
    contract_version: str
    counts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PurposeVerdict:
    """Whether a person may be messaged for a purpose over a channel, and why not."""

    purpose: str
    channel: str
    is_allowed: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonConsent:
    """All that a person chose, and what follows from it at one instant. `region` is the default where none is known."""

    profile_id: str
    region: str
    verdicts: tuple[PurposeVerdict, ...]
    records: tuple[Choice, ...]
    suppressions: tuple[Suppression, ...]


def consent_of(places: Places, person: Cluster, *, at: datetime) -> PersonConsent:
    """What a person allowed, judged by today's contracts at the instant `at`."""
    rules = contracts_serving(places).consent
    with places.state.read() as connection:
        region = region_of(connection, rules, person.members)
        said = [record for found in records_of(connection, person.members).values() for record in found]
        hard = [found for rows in suppressions.active_for(connection, person.members).values() for found in rows]
        records = choices(connection, rules, said)
    verdicts: list[PurposeVerdict] = []
    for purpose in rules.purposes.values():
        for channel in purpose.channels:
            verdict = judge_consent(rules, said, purpose=purpose.name, channel=channel, region=region, at=at)
            is_suppressed = any(found.covers(channel) for found in hard)
            verdicts.append(
                PurposeVerdict(
                    purpose=purpose.name,
                    channel=channel,
                    is_allowed=verdict.allowed and not is_suppressed,
                    reason="suppressed" if is_suppressed else verdict.reason or "",
                )
            )
    return PersonConsent(
        profile_id=person.canonical,
        region=region,
        verdicts=tuple(verdicts),
        records=records,
        suppressions=tuple(sorted(hard, key=lambda found: found.seq)),
    )


def region_of(
    connection: Connection, rules: ConsentRules, members: Collection[str], up_to_seq: int | None = None
) -> str:
    """The region of a person by the newest country known of any of its profiles."""
    country = person_traits(connection, TraitRules(), members, up_to_seq).get(COUNTRY)
    return rules.region_of(country if isinstance(country, str) else None)


def choices(connection: Connection, rules: ConsentRules, records: Iterable[ConsentRecord]) -> tuple[Choice, ...]:
    """Records with their proof, in the order they were recorded."""
    said = list(records)
    proofs: dict[str, Mapping[str, Any]] = {
        record_id: json.loads(proof)
        for record_id, proof in select_in(
            connection,
            select(consent_records.c.record_id, consent_records.c.proof),
            consent_records.c.record_id,
            [record.record_id for record in said],
        )
    }
    basis = {mapping.mapping_id: mapping.basis for mapping in rules.mappings}
    found: list[Choice] = []
    for record in sorted(said, key=lambda record: (record.seq, record.record_id)):
        proof = proofs.get(record.record_id, {})
        mapping = str(proof.get("mapping", ""))
        found.append(
            Choice(
                record_id=record.record_id,
                profile_id=record.profile_id,
                purpose=record.purpose,
                channel=record.channel,
                status=record.status,
                decided_at=record.decided_at,
                seq=record.seq,
                source=record.source,
                mapping=mapping,
                basis=" ".join(basis.get(mapping, "").split()),
                contract_version=str(proof.get("contract_version", "")),
                counts=current_choice(said, purpose=record.purpose, channel=record.channel) == record,
            )
        )
    return tuple(found)
