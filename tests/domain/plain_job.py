"""The whole main job in plain Python, one event after the other: what every count of the platform is held against.

It shares the contracts and the single-event judges of `domain/` with the platform, and nothing else: no SQL, no state
database, no batch-wise cleverness. People are objects that are merged by hand.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from activation_dagster.domain.admission import admission, is_state_only
from activation_dagster.domain.audiences import Audience, DayOfActivity, Measure, matches
from activation_dagster.domain.consent import ConsentRecord, ConsentStatus, current_choice, judge_consent
from activation_dagster.domain.contracts import EventContract, kept, taken
from activation_dagster.domain.envelope import judge_envelope
from activation_dagster.domain.events import TIMES, envelope_fault, occurred_at
from activation_dagster.domain.identifiers import Identifier, profile_id
from activation_dagster.domain.lexical import read_event
from activation_dagster.domain.reasons import QuarantineReason
from activation_dagster.domain.times import read_instant
from activation_dagster.domain.workflows import Contender, EventTrigger, winner
from activation_dagster.registry.contract_set import ContractSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """One accepted event: what counts as said of it, and what is read of its section."""

    event: Mapping[str, Any]
    read: Mapping[str, Any]
    is_state_only: bool
    contract: EventContract
    message_id: str
    occurred_at: datetime
    received_at: datetime
    landed_at: datetime
    ordinal: tuple[int, int]


@dataclass(slots=True, kw_only=True, eq=False)
class Person:
    """Somebody: all that was ever seen of them. `into` is who they turned out to be."""

    number: int
    first: Identifier
    identifiers: set[Identifier] = field(default_factory=set[Identifier])
    traits: dict[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])
    activity: dict[tuple[str, date], list[int]] = field(default_factory=dict[tuple[str, date], list[int]])
    choices: list[ConsentRecord] = field(default_factory=list[ConsentRecord])
    member_of: dict[str, Identifier] = field(default_factory=dict[str, Identifier])
    entries: Counter[str] = field(default_factory=Counter[str])
    into: Person | None = None

    @property
    def profile_id(self) -> str:
        return profile_id(self.first)

    def today(self) -> Person:
        return self if self.into is None else self.into.today()

    def value(self, kind: str) -> str | None:
        return min((found.value for found in self.identifiers if found.kind == kind), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One candidate and what became of it."""

    send_key: str
    workflow_id: str
    person: Person | None
    outcome: str
    reason: str
    triggered_at: datetime
    decided_at: datetime
    data_fields: Mapping[str, Any]


def millionths(measure: Measure, properties: Mapping[str, Any]) -> int:
    """What one event adds to a sum: rounded half away from zero, nothing where a factor is no number."""
    product = 1.0
    for name in (measure.sum_of, measure.times):
        if name:
            value = properties.get(name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                return 0
            product *= float(value)
    scaled = product * 1_000_000
    if not math.isfinite(scaled):
        return 0
    rounded = int(Decimal(scaled).quantize(Decimal(1), ROUND_HALF_UP)) if abs(scaled) < 2**53 else int(scaled)
    return rounded if -(2**63) <= rounded < 2**63 else 0


def at(event: Mapping[str, Any], path: str) -> Any:
    """What stands at a dotted path of an event; None where nothing is."""
    found: Any = event
    for step in path.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(step)
    return found


class PlainJob:
    """The platform's meaning: give it batches in order, then deliver. All of them come from one source."""

    def __init__(self, contracts: ContractSet, *, dedupe_window: timedelta, source: str = "shop") -> None:
        self._contracts = contracts
        self._source = source
        self._measures = contracts.measures()
        self._window = dedupe_window
        self._taken: dict[str, datetime] = {}
        self._owner: dict[Identifier, Person] = {}
        self._batch_no = 0
        self.events: Counter[str] = Counter()
        self.quarantined: Counter[str] = Counter()
        self.people: list[Person] = []
        self.decisions: list[Decision] = []
        self.outcomes: dict[str, str] = {}
        self._reached: list[tuple[Person, str, datetime]] = []

    # -- what is asked of it ------------------------------------------------------------------------------------------

    def persons(self) -> list[Person]:
        """Everybody who is somebody else's former self left out."""
        return [person for person in self.people if person.into is None]

    def members(self, audience_id: str) -> set[str]:
        return {person.profile_id for person in self.persons() if audience_id in person.member_of}

    def sends(self) -> list[Decision]:
        return [decision for decision in self.decisions if decision.outcome == "send"]

    # -- one batch ----------------------------------------------------------------------------------------------------

    def work(self, segments: Sequence[tuple[datetime, bytes]], *, arrival_hour: datetime, as_of: datetime) -> None:
        """One batch: (sealed_at, bytes) of its segments in their order."""
        self._batch_no += 1
        accepted = list(self._judged(segments, arrival_hour))
        persons = [self._seen(found) for found in accepted]
        entered = self._reviewed(as_of)
        landed_at = max((sealed for sealed, _ in segments), default=as_of)
        self._decide(accepted, persons, entered, as_of=as_of, landed_at=landed_at)

    def _judged(self, segments: Sequence[tuple[datetime, bytes]], arrival_hour: datetime) -> Iterator[Accepted]:
        for segment_no, (sealed_at, content) in enumerate(segments):
            for line_no, line in enumerate(content.split(b"\n"), start=1):
                bare = line.rstrip(b"\r")
                if not bare.strip():
                    continue  # a blank line is no event
                self.events["received"] += 1
                message_id, found = self._verdict(bare, sealed_at, (segment_no, line_no))
                taken_at = self._taken.get(message_id)
                if taken_at is not None and arrival_hour - taken_at < self._window:
                    self.events["duplicate"] += 1
                elif isinstance(found, QuarantineReason):
                    self.events["quarantined"] += 1
                    self.quarantined[found.value] += 1
                else:
                    self.events["accepted"] += 1
                    if message_id:
                        self._taken[message_id] = arrival_hour
                    yield found

    def _verdict(
        self, line: bytes, sealed_at: datetime, ordinal: tuple[int, int]
    ) -> tuple[str, Accepted | QuarantineReason]:
        """One line's messageId (empty where it has none that can be read), and what it is."""
        event = read_event(line)
        if isinstance(event, QuarantineReason):
            return "", event
        said = event.get("messageId")
        message_id = said if isinstance(said, str) else ""
        fault = envelope_fault(event)
        if fault is not None:
            return message_id, fault
        contract = self._contracts.contract_for(event["type"], event.get("event"))
        if contract is None:
            return message_id, QuarantineReason.UNKNOWN_EVENT
        named = at(event, "context.protocols.event_version")
        version = contract.version(None if named is None else str(named), self._source)
        if version is None:
            return message_id, QuarantineReason.UNKNOWN_VERSION
        times = {name: read_instant(event[name]) if event.get(name) else None for name in TIMES}
        received = times["receivedAt"] or sealed_at
        happened = occurred_at(
            timestamp=times["timestamp"],
            original=times["originalTimestamp"],
            sent=times["sentAt"],
            received=received,
        )
        said = event.get(contract.section)
        promised = self._contracts.envelope
        reason, _ = admission(
            contract,
            version,
            said,
            environment=self._contracts.environment,
            source=self._source,
            occurred_at=happened,
            received_at=received,
            envelope=() if promised is None else judge_envelope(promised.version(self._source), event),
        )
        if reason is not None:
            return message_id, reason
        return message_id, Accepted(
            event=event | {contract.section: kept(contract, version, said)},
            read=taken(contract, version, said),
            is_state_only=is_state_only(contract, occurred_at=happened, received_at=received),
            contract=contract,
            message_id=message_id,
            occurred_at=happened,
            received_at=received,
            landed_at=sealed_at,
            ordinal=ordinal,
        )

    # -- who --------------------------------------------------------------------------------------------------------

    def _seen(self, found: Accepted) -> Person | None:
        """Whose event it is; what it says of them is noted at once, so that a later merge finds it."""
        person = self._see(self._identifiers(found))
        if person is not None:
            self._note(found, person)
        return person

    def _identifiers(self, accepted: Accepted) -> list[Identifier]:
        """The usable identifiers, the strongest first."""
        found: list[Identifier] = []
        version = accepted.contract.version(None)  # the real data names no version
        assert version is not None
        paths = self._contracts.identifier_paths(accepted.contract, version)
        for kind in self._contracts.identity.kinds:
            raw = next((text for path in paths[kind.name] if isinstance(text := at(accepted.event, path), str)), None)
            value = None if raw is None else kind.read(raw)
            if value is not None:
                found.append(Identifier(kind.name, value))
        return found

    def _see(self, offered: list[Identifier]) -> Person | None:
        limits = {kind.name: kind.limit for kind in self._contracts.identity.kinds}
        while offered:
            people = list(dict.fromkeys(self._owner[one].today() for one in offered if one in self._owner))
            everything = set(offered).union(*(person.identifiers for person in people))
            if all(count <= limits[kind] for kind, count in Counter(one.kind for one in everything).items()):
                return self._join(offered, people, everything)
            offered = offered[:-1]
        return None

    def _join(self, offered: list[Identifier], people: list[Person], everything: set[Identifier]) -> Person:
        if not people:
            people = [Person(number=len(self.people), first=offered[0])]
            self.people.append(people[0])
        oldest = min(people, key=lambda person: person.number)
        for younger in people:
            if younger is not oldest:
                self._merge(oldest, younger)
        oldest.identifiers = everything
        for identifier in offered:
            self._owner.setdefault(identifier, oldest)
        return oldest

    def _merge(self, winner: Person, loser: Person) -> None:
        """The winner takes over all that was known; a *no* of either stays until the person chooses again."""
        for purpose, channel in sorted({(c.purpose, c.channel) for c in [*winner.choices, *loser.choices]}):
            one, other = (current_choice(who.choices, purpose=purpose, channel=channel) for who in (winner, loser))
            if one is None or other is None or one.status is other.status:
                continue
            denial, grant = (one, other) if one.status is ConsentStatus.DENIED else (other, one)
            if grant.decided_at > denial.decided_at:
                winner.choices.append(self._choice(purpose, channel, ConsentStatus.DENIED, grant.decided_at))
        winner.choices += loser.choices
        for name, found in loser.traits.items():
            winner.traits[name] = max(found, winner.traits.get(name, found), key=lambda trait: trait[:3])
        for key, (count, total) in loser.activity.items():
            mine = winner.activity.setdefault(key, [0, 0])
            mine[0] += count
            mine[1] += total
        winner.member_of = loser.member_of | winner.member_of
        winner.entries |= loser.entries
        loser.into = winner

    # -- what is known -----------------------------------------------------------------------------------------------

    def _choice(self, purpose: str, channel: str, status: ConsentStatus, decided_at: datetime) -> ConsentRecord:
        return ConsentRecord(
            record_id="",
            profile_id="",
            purpose=purpose,
            channel=channel,
            status=status,
            decided_at=decided_at,
            seq=self._batch_no,
            source="",
        )

    def _note(self, found: Accepted, person: Person) -> None:
        """What one event says of its person."""
        for measure in self._measures:
            if measure.event_name == found.contract.name:
                done = person.activity.setdefault((measure.name, found.occurred_at.date()), [0, 0])
                done[0] += 1
                done[1] += millionths(measure, found.read) if measure.sum_of else 0
        for mapping in self._contracts.consent.mappings:
            choice = at(found.event, mapping.path)
            if mapping.event_name == found.contract.name and isinstance(choice, bool):
                status = ConsentStatus.GRANTED if choice else ConsentStatus.DENIED
                for channel in mapping.channels:
                    decided_at = min(found.occurred_at, found.received_at)
                    person.choices.append(self._choice(mapping.purpose, channel, status, decided_at))
        if found.event["type"] == "identify":
            said = {name: value for name, value in (found.event.get("traits") or {}).items() if len(name) <= 80}
            countries = (at(found.event, path) for path in self._contracts.country_from)
            said["$country"] = next((country for country in countries if country is not None), None)
            for name, value in said.items():
                if value is not None:
                    newer = (found.occurred_at, self._batch_no, found.ordinal, value)
                    older = person.traits.get(name)
                    if older is None or older[:3] <= newer[:3]:
                        person.traits[name] = newer

    def _traits(self, person: Person) -> dict[str, Any]:
        return {name: found[3] for name, found in person.traits.items()}

    def _allows(self, person: Person, purpose: str, channel: str, when: datetime) -> str | None:
        country = self._traits(person).get("$country")
        region = self._contracts.consent.region_of(country if isinstance(country, str) else None)
        verdict = judge_consent(
            self._contracts.consent, person.choices, purpose=purpose, channel=channel, region=region, at=when
        )
        return None if verdict.reason is None else verdict.reason.value

    def _satisfies(self, person: Person, audience: Audience, today: date) -> bool:
        activity = [
            DayOfActivity(measure=measure, day=day, event_count=count, total_millionths=total)
            for (measure, day), (count, total) in person.activity.items()
        ]
        return matches(audience, activity=activity, traits=self._traits(person), today=today)

    def _reviewed(self, as_of: datetime) -> list[tuple[str, Person]]:
        """Who entered an audience now; everybody is looked at, whether anything was heard of them or not."""
        entered: list[tuple[str, Person]] = []
        for person in self.persons():
            for audience in self._contracts.audiences.values():
                name = audience.audience_id
                is_member = (
                    self._satisfies(person, audience, as_of.date())
                    and self._allows(person, audience.purpose, audience.channel, as_of) is None
                )
                if is_member and name not in person.member_of:
                    person.member_of[name] = person.first
                    person.entries[name] += 1
                    entered.append((name, person))
                elif not is_member:
                    person.member_of.pop(name, None)
        return entered

    # -- what is sent -------------------------------------------------------------------------------------------------

    def _decide(
        self,
        accepted: Sequence[Accepted],
        persons: Sequence[Person | None],
        entered: Sequence[tuple[str, Person]],
        *,
        as_of: datetime,
        landed_at: datetime,
    ) -> None:
        decided = {decision.send_key for decision in self.sends()}
        drafts: list[tuple[str, str, str, Person | None, datetime, str | None, Mapping[str, Any]]] = []
        for workflow in self._contracts.workflows.values():
            trigger = workflow.trigger
            triggers: list[tuple[str, Person | None, datetime, Mapping[str, Any], bool]]
            if isinstance(trigger, EventTrigger):
                triggers = [
                    (
                        f"message:{self._message_name(found)}",
                        person and person.today(),
                        found.occurred_at,
                        found.read,
                        found.is_state_only,
                    )
                    for found, person in zip(accepted, persons, strict=True)
                    if found.contract.slug == trigger.event
                    and all(found.read.get(k) == v for k, v in trigger.where.items())
                ]
            else:
                triggers = [
                    (f"entry:{person.first.key.hex()}:{person.entries[audience_id]}", person, as_of, {}, False)
                    for audience_id, person in entered
                    if audience_id == workflow.audience_id
                ]
            for name, person, triggered_at, event, is_too_late in triggers:
                key = hashlib.sha256(f"{workflow.workflow_id}\x1f{name}".encode()).hexdigest()[:40]
                reason: str | None = None
                destination = self._contracts.destinations[workflow.destination]
                if is_too_late:
                    reason = "too_late"
                elif person is None:
                    reason = "no_profile"
                elif person.value(destination.profile_key) is None:
                    reason = "no_profile_key"
                elif (refusal := self._allows(person, workflow.purpose, workflow.channel, as_of)) is not None:
                    reason = refusal
                elif workflow.audience_id not in person.member_of:
                    reason = "not_in_audience"
                elif triggered_at + workflow.expires_after <= as_of:
                    reason = "too_old"
                elif key in decided:
                    reason = "already_decided"
                competes_on = name if isinstance(trigger, EventTrigger) else f"{workflow.audience_id}:{name}"
                drafts.append((key, workflow.workflow_id, competes_on, person, triggered_at, reason, event))
        for key, workflow_id, competes_on, person, triggered_at, reason, event in drafts:
            workflow = self._contracts.workflows[workflow_id]
            if reason is None:
                rivals = [
                    draft
                    for draft in drafts
                    if draft[5] in (None, "already_decided")
                    and draft[3] is person
                    and draft[2] == competes_on
                    and self._contracts.workflows[draft[1]].channel == workflow.channel
                ]
                decided_before = [draft for draft in rivals if draft[5] is not None]
                best = winner(
                    [
                        Contender(workflow_id=draft[1], priority=self._contracts.workflows[draft[1]].priority)
                        for draft in decided_before or rivals  # who was decided before has won
                    ]
                ).workflow_id
                if best != workflow_id:
                    reason = f"lost_to:{best}"
            self.decisions.append(
                Decision(
                    send_key=key,
                    workflow_id=workflow_id,
                    person=person,
                    outcome="send" if reason is None else "refuse",
                    reason=reason or "",
                    triggered_at=triggered_at,
                    decided_at=as_of,
                    data_fields=self._fields(workflow.data_fields, person, event),
                )
            )
        assert landed_at <= as_of or not drafts

    @staticmethod
    def _message_name(found: Accepted) -> str:
        assert found.message_id, "name the line here if a trigger without a messageId is ever tested"
        return found.message_id

    def _fields(self, declared: Mapping[str, str], person: Person | None, event: Mapping[str, Any]) -> dict[str, Any]:
        traits = {} if person is None else self._traits(person)
        places = {"traits": traits, "properties": event}
        filled = {name: places[path.split(".", 1)[0]].get(path.split(".", 1)[1]) for name, path in declared.items()}
        return {name: value for name, value in filled.items() if value is not None}

    def deliver(self, now: datetime) -> None:
        """What becomes of every send that is still open at the instant `now`, in `outcomes`."""
        for send in sorted(self.sends(), key=lambda send: (send.decided_at, send.send_key)):
            if send.send_key in self.outcomes:
                continue
            workflow = self._contracts.workflows[send.workflow_id]
            assert send.person is not None
            person = send.person.today()
            if send.triggered_at + workflow.expires_after <= now:
                self.outcomes[send.send_key] = "expired"
            elif self._allows(person, workflow.purpose, workflow.channel, now) is not None:
                self.outcomes[send.send_key] = "consent_withdrawn"
            elif workflow.reentry is not None and any(
                reached.today() is person and by == workflow.workflow_id and now - claimed_at < workflow.reentry
                for reached, by, claimed_at in self._reached
            ):
                self.outcomes[send.send_key] = "inside_reentry"
            else:
                self.outcomes[send.send_key] = "sent"
                self._reached.append((person, workflow.workflow_id, now))
