"""Plans: what adjudicating history again would change, for people to read and for `identity apply` to be held to."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, select

from activation_dagster.domain.batches import Batch
from activation_dagster.domain.consent import current_choice
from activation_dagster.domain.identifiers import IdentityRules
from activation_dagster.domain.separations import Pair
from activation_dagster.lake.engine import Engine
from activation_dagster.pipeline.contracts_in_force import contracts_named, contracts_of
from activation_dagster.pipeline.garbage import seldom_collected
from activation_dagster.pipeline.identity.differences import Differences, Rows, differences, head_of
from activation_dagster.pipeline.identity.history import no_beat, read_history
from activation_dagster.pipeline.identity.parts import bounded
from activation_dagster.pipeline.places import Places
from activation_dagster.state.adjudications import adjudications_of, all_separations
from activation_dagster.state.batches import all_finished, load_batches
from activation_dagster.state.bulk import select_in
from activation_dagster.state.consent import record_of
from activation_dagster.state.profile_identifiers import held_by
from activation_dagster.state.tables import (
    consent_records,
    identifiers,
    membership_changes,
    profile_redirects,
    sends,
    sequence,
)

FORMAT = 1
MOST_SAMPLES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileCounts:
    """People before and after. One of after that several of before became is merged, one of before that several of
    after come from is split; changed ones kept their id and gained or lost identifiers; gone ones are nobody's."""

    before: int
    after: int
    merged: int
    split: int
    changed: int
    new: int
    gone: int
    unchanged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSample:
    """One person who would be another: `identifiers` hashed (`kind:hash`), or as they are where that was asked for."""

    what: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    identifiers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceDifference:
    """Profiles that would be in an audience and are not, and the other way round; some of each as samples."""

    audience_id: str
    entered: int
    exited: int
    entered_samples: tuple[str, ...]
    exited_samples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentDifference:
    """Profiles of which another choice would count; `unknown` where none does, or where there is no such profile.

    `samples` are some of them.
    """

    purpose: str
    channel: str
    before: str
    after: str
    profiles: int
    samples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendDifference:
    """Sends of a workflow that would be otherwise: `anothers` belongs to another profile, `not_made` stands in the
    ledger and would not (with the reason), `missed` does not and would. `samples` are profiles of some of them."""

    workflow_id: str
    what: str
    reason: str
    sends: int
    samples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityPlan:
    """What adjudicating history again changes. `fingerprint` is that of every row that ends or is added.

    `until` is the newest batch that was looked at. Nothing of it is personal data unless it was asked for.
    """

    format: int
    act: str
    environment: str
    rules_version: str
    rules: str
    until: int
    fingerprint: str
    is_empty: bool
    profiles: ProfileCounts
    conflicts_before: int
    conflicts_after: int
    audiences: tuple[AudienceDifference, ...]
    consents: tuple[ConsentDifference, ...]
    sends: tuple[SendDifference, ...]
    rows: Mapping[str, tuple[int, int]]
    samples: tuple[ProfileSample, ...]


def rules_digest(rules: IdentityRules | None) -> str:
    """64 hex digits that are equal where two contracts say the same; empty without one."""
    if rules is None:
        return ""

    def told(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {one.name: told(getattr(value, one.name)) for one in dataclasses.fields(value)}
        if isinstance(value, (frozenset, tuple, list)):
            items: list[Any] = [told(one) for one in cast("Collection[Any]", value)]
            return sorted(items, key=repr) if isinstance(value, frozenset) else items
        return value if isinstance(value, (str, int)) or value is None else str(value)

    return hashlib.sha256(json.dumps(told(rules), sort_keys=True).encode()).hexdigest()


def find_differences(
    places: Places,
    *,
    rules: IdentityRules | None,
    pairs: Collection[Pair] = (),
    members: Collection[str] | None = None,
    beat: Callable[[], None] = no_beat,
) -> Differences:
    """What would differ if history were adjudicated again: under `rules`, or under those that it was adjudicated under.

    `pairs` are kept apart besides those that are already. With `members`, only whole clusters of profiles that no event
    ties to anybody else.
    """
    with places.state.read() as connection:
        batches = load_batches(connection, all_finished(connection))
        among = None if members is None else keys_of(connection, members)
        separations = all_separations(connection) | frozenset(pairs)
        spoken_until = connection.execute(select(sequence.c.value).where(sequence.c.name == "state")).scalar_one()
    rules_of = rules_under(places) if rules is None else _always(rules)
    with (
        seldom_collected(),
        TemporaryDirectory(prefix="plan-") as folder,
        closing(Engine.in_memory(places.sql_root)) as engine,
    ):
        if members is None:
            bounded(engine, Path(folder))
        history = read_history(
            places, batches, engine, rules_of=rules_of, profiles=members or (), among=among, beat=beat
        )
        beat()
        return differences(
            places,
            history,
            until=max((batch.position or 0 for batch in batches), default=0),
            spoken_until=spoken_until,
            members=members,
            separations=separations,
            beat=beat,
        )


def keys_of(connection: Connection, members: Collection[str]) -> frozenset[bytes]:
    """The keys of all identifiers of some profiles."""
    return frozenset(bytes(row[0]) for row in held_by(connection, members, lambda c: (c.key,)))


def _always(rules: IdentityRules) -> Callable[[Batch], IdentityRules]:
    def rules_of(_: Batch) -> IdentityRules:
        return rules

    return rules_of


def rules_under(places: Places) -> Callable[[Batch], IdentityRules]:
    """Which rules a batch's links were adjudicated under: its own, or those of the newest adjudication since."""
    with places.state.read() as connection:
        applied = [one for one in adjudications_of(connection) if one.contract_set]
    found: dict[str, IdentityRules] = {}

    def rules_of(batch: Batch) -> IdentityRules:
        newest = applied[-1] if applied and applied[-1].seq > (batch.position or 0) else None
        name = batch.contract_set if newest is None else newest.contract_set
        if name not in found:
            contracts = contracts_of(places, batch) if newest is None else contracts_named(places, name)
            found[name] = contracts.identity
        return found[name]

    return rules_of


# -- told to people ----------------------------------------------------------------------------------------------------


def plan_of(
    places: Places, found: Differences, *, act: str, rules: IdentityRules | None, reveal: bool = False
) -> IdentityPlan:
    """What differences mean for people."""
    redirects = profile_redirects.name
    before, after = (
        _clusters(found.old[identifiers.name], found.old[redirects]),
        _clusters(found.new[identifiers.name], found.new[redirects]),
    )
    counts, samples = _profiles(found, before, after, reveal=reveal)
    return IdentityPlan(
        format=FORMAT,
        act=act,
        environment=places.environment,
        rules_version="" if rules is None else rules.version,
        rules=rules_digest(rules),
        until=found.until,
        fingerprint=found.digest,
        is_empty=found.is_empty,
        profiles=counts,
        conflicts_before=found.conflicts[0],
        conflicts_after=found.conflicts[1],
        audiences=_audiences(found),
        consents=_consents(places, found),
        sends=_sends(places, found),
        rows={
            name: (len(change.ended), len(change.added))
            for name, change in found.changes.items()
            if change.ended or change.added
        },
        samples=samples,
    )


def _clusters(held: Rows, redirects: Rows) -> dict[bytes, str]:
    """Whose each identifier is."""
    return {key: head_of(row[3], redirects) for (key,), row in held.by_key.items()}


def _profiles(
    found: Differences, before: Mapping[bytes, str], after: Mapping[bytes, str], *, reveal: bool
) -> tuple[ProfileCounts, tuple[ProfileSample, ...]]:
    became: dict[str, set[str]] = {}
    came_from: dict[str, set[str]] = {}
    keys: dict[str, set[bytes]] = {}
    keys_before: dict[str, set[bytes]] = {}
    for key, head in before.items():
        keys_before.setdefault(head, set()).add(key)
        became.setdefault(head, set())
        if key in after:
            became[head].add(after[key])
    for key, head in after.items():
        keys.setdefault(head, set()).add(key)
        came_from.setdefault(head, set())
        if key in before:
            came_from[head].add(before[key])
    merged = {head for head, heads in came_from.items() if len(heads) > 1}
    split = {head for head, heads in became.items() if len(heads) > 1}
    new = {head for head, heads in came_from.items() if not heads}
    gone = {head for head, heads in became.items() if not heads}
    same = {head for head in became.keys() & came_from.keys() if keys[head] == keys_before[head]}
    told_otherwise = split | gone | same
    changed = {head for head, heads in became.items() if head not in told_otherwise and not heads & merged}
    counts = ProfileCounts(
        before=len(became) + found.people_alike,
        after=len(came_from) + found.people_alike,
        merged=len(merged),
        split=len(split),
        changed=len(changed),
        new=len(new),
        gone=len(gone),
        unchanged=len(same) + found.people_alike,
    )
    samples: list[ProfileSample] = []
    for what, heads in (("merged", merged), ("split", split), ("changed", changed), ("new", new), ("gone", gone)):
        for head in sorted(heads)[:MOST_SAMPLES]:
            is_old = what in ("split", "changed", "gone")
            held = keys_before[head] if is_old else keys[head]
            rows = (found.old if is_old else found.new)[identifiers.name].by_key
            shown = sorted(
                f"{row[1]}:{row[2] if reveal else row[0].hex()[:16]}" for row in (rows[(key,)] for key in held)
            )
            samples.append(
                ProfileSample(
                    what=what,
                    before=(head,) if is_old else tuple(sorted(came_from[head])),
                    after=tuple(sorted(became[head])) if is_old else (head,),
                    identifiers=tuple(shown[:MOST_SAMPLES]),
                )
            )
    return counts, tuple(samples)


def _members_of(rows: Rows, redirects: Rows) -> set[tuple[str, str]]:
    """(audience, profile) of who is in an audience at the end."""
    newest: dict[tuple[str, str], Row] = {}
    for row in rows.by_key.values():
        held = newest.get((row[0], row[1]))
        if held is None or held[2] < row[2]:
            newest[row[0], row[1]] = row
    return {one for one, row in newest.items() if row[3] != "exited" and (one[1],) not in redirects.by_key}


Row = tuple[Any, ...]


def _audiences(found: Differences) -> tuple[AudienceDifference, ...]:
    name, redirects = membership_changes.name, profile_redirects.name
    before = _members_of(found.old[name], found.old[redirects])
    after = _members_of(found.new[name], found.new[redirects])
    entered, exited = _profiles_by(after - before), _profiles_by(before - after)
    return tuple(
        AudienceDifference(
            audience_id=audience,
            entered=len(entered.get(audience, ())),
            exited=len(exited.get(audience, ())),
            entered_samples=_samples(entered.get(audience, ())),
            exited_samples=_samples(exited.get(audience, ())),
        )
        for audience in sorted({*entered, *exited})
    )


_What = TypeVar("_What")


def _profiles_by(found: Iterable[tuple[_What, str]]) -> dict[_What, list[str]]:
    by: dict[_What, list[str]] = {}
    for what, profile in found:
        by.setdefault(what, []).append(profile)
    return by


def _samples(profile_ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(nsmallest(MOST_SAMPLES, set(profile_ids)))


def _consents(places: Places, found: Differences) -> tuple[ConsentDifference, ...]:
    with places.state.read() as connection:
        columns = [column for column in consent_records.columns if column.name != "known_seq"]
        stands = [
            tuple(row)
            for row in select_in(connection, select(*columns), consent_records.c.profile_id, found.members)
            if (row[0],) not in found.old[consent_records.name].by_key and row[6] <= found.spoken_until
        ]
    change = found.changes[consent_records.name]
    kept = [row for key, row in found.old[consent_records.name].by_key.items() if key not in change.ended]
    before = _choices([*found.old[consent_records.name].by_key.values(), *stands], found.old[profile_redirects.name])
    after = _choices([*kept, *change.added.values(), *stands], found.new[profile_redirects.name])
    told = _profiles_by(
        ((purpose, channel, before.get(whose, "unknown"), after.get(whose, "unknown")), profile)
        for whose in before.keys() | after.keys()
        if before.get(whose) != after.get(whose)
        for profile, purpose, channel in [whose]
    )
    return tuple(
        ConsentDifference(
            purpose=purpose,
            channel=channel,
            before=was,
            after=becomes,
            profiles=len(concerned),
            samples=_samples(concerned),
        )
        for (purpose, channel, was, becomes), concerned in sorted(told.items())
    )


def _choices(rows: list[Row], redirects: Rows) -> dict[tuple[str, str, str], str]:
    said: dict[str, list[Any]] = {}
    for row in rows:
        said.setdefault(head_of(row[1], redirects), []).append(record_of(row))
    found: dict[tuple[str, str, str], str] = {}
    for head, records in said.items():
        for purpose, channel in {(one.purpose, one.channel) for one in records}:
            choice = current_choice(records, purpose=purpose, channel=channel)
            if choice is not None:
                found[head, purpose, channel] = choice.status.value
    return found


def _sends(places: Places, found: Differences) -> tuple[SendDifference, ...]:
    with places.state.read() as connection:
        query = select(sends.c.send_key, sends.c.workflow_id, sends.c.profile_id).where(sends.c.seq <= found.until)
        made = {row[0]: (row[1], row[2]) for row in select_in(connection, query, sends.c.profile_id, found.members)}
    decided = {one.send_key: one for one in found.retold.decisions if one.outcome != "send"}
    would = {one.send_key: one for one in found.retold.decisions if one.outcome == "send"}
    old, new = found.old[profile_redirects.name], found.new[profile_redirects.name]
    differing: list[tuple[tuple[str, str, str], str]] = []
    for key, (workflow, profile) in made.items():
        if key in would:
            if head_of(would[key].profile_id, new) != head_of(profile, old):
                differing.append(((workflow, "anothers", ""), profile))
        else:
            reason = decided[key].reason if key in decided else "no such trigger"
            differing.append(((workflow, "not_made", reason), profile))
    differing += [((one.workflow_id, "missed", ""), one.profile_id) for key, one in would.items() if key not in made]
    return tuple(
        SendDifference(
            workflow_id=workflow, what=what, reason=reason, sends=len(concerned), samples=_samples(concerned)
        )
        for (workflow, what, reason), concerned in sorted(_profiles_by(differing).items())
    )
