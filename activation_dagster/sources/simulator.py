"""A deterministic shop: what several teams send of its people, with dirt of known kinds, and what must come of it."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from random import Random

import orjson

from activation_dagster.domain.reasons import QuarantineReason
from activation_dagster.errors import WrongUse
from activation_dagster.sources import simulated_events as say
from activation_dagster.sources.simulated_events import Draft
from activation_dagster.sources.simulated_people import DAY_MS, HOUR_MS, MINUTE_MS, Answer, Person, cast

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HIGH_SPEND = 1_000.0  # in the person's own currency, net of cancellations
HIGH_SPEND_DAYS = 30
LAST_ARRIVAL_MS = 10_000  # what happens last happens this long before `now`, so that it has arrived by then


class Dirt(StrEnum):
    """The ways in which a line can be unpleasant; each line has at most one."""

    BAD_TYPE = "bad_type"
    MISSING_PROPERTY = "missing_property"
    TRUNCATED_LINE = "truncated_line"
    NO_IDENTIFIER = "no_identifier"
    INVALID_TIME = "invalid_time"
    UNKNOWN_EVENT = "unknown_event"
    UNKNOWN_VERSION = "unknown_version"
    DUPLICATE = "duplicate"
    LATE = "late"
    SKEWED_CLOCK = "skewed_clock"
    BLOCKED_IDENTIFIER = "blocked_identifier"


# Share of all lines; at least one line of each kind.
RATES: Mapping[Dirt, float] = {
    Dirt.BAD_TYPE: 0.004,
    Dirt.MISSING_PROPERTY: 0.004,
    Dirt.TRUNCATED_LINE: 0.003,
    Dirt.NO_IDENTIFIER: 0.003,
    Dirt.INVALID_TIME: 0.003,
    Dirt.UNKNOWN_EVENT: 0.004,
    Dirt.UNKNOWN_VERSION: 0.002,
    Dirt.DUPLICATE: 0.02,
    Dirt.LATE: 0.02,
    Dirt.SKEWED_CLOCK: 0.015,
    Dirt.BLOCKED_IDENTIFIER: 0.003,
}

# Why a line of a kind must be quarantined; the other kinds must not be.
REASONS: Mapping[Dirt, QuarantineReason] = {
    Dirt.BAD_TYPE: QuarantineReason.CONTRACT_VIOLATION,
    Dirt.MISSING_PROPERTY: QuarantineReason.CONTRACT_VIOLATION,
    Dirt.TRUNCATED_LINE: QuarantineReason.NOT_JSON,
    Dirt.NO_IDENTIFIER: QuarantineReason.NO_IDENTIFIER,
    Dirt.INVALID_TIME: QuarantineReason.INVALID_TIME,
    Dirt.UNKNOWN_EVENT: QuarantineReason.UNKNOWN_EVENT,
    Dirt.UNKNOWN_VERSION: QuarantineReason.UNKNOWN_VERSION,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What must come of the lines. Counts are of lines unless their name says otherwise."""

    received: int
    duplicates: int
    quarantined: Mapping[Dirt, int]
    late: int
    skewed: int
    blocked: int
    accepted_by_name: Mapping[str, int]  # event name, or the call where it has none
    people: int
    user_ids: int  # people who say who they are
    anonymous_ids: int  # devices on accepted lines
    shared_devices: int  # devices on which more than one person says who they are
    shared_emails: int  # addresses that more than one person gives
    answers: Mapping[Answer, int]  # people by what their consent to marketing e-mail came to
    high_spenders: int  # people who spent at least HIGH_SPEND in the last HIGH_SPEND_DAYS
    # Message id → when it happened as far as anybody can tell: the skew formula cannot know how long a line travelled.
    occurred_at_of_skewed: Mapping[str, datetime]

    @property
    def accepted(self) -> int:
        """Lines that are neither a duplicate nor quarantined."""
        return self.received - self.duplicates - sum(self.quarantined.values())

    @property
    def quarantined_by_reason(self) -> Mapping[QuarantineReason, int]:
        """Quarantined lines by the reason that the platform must give."""
        by_reason: Counter[QuarantineReason] = Counter()
        for dirt, count in self.quarantined.items():
            by_reason[REASONS[dirt]] += count
        return by_reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """Lines (without newline) in the order in which they arrive, and what must come of them."""

    lines: list[bytes]
    expected: Expectation


def simulate(*, seed: int, people: int, events: int, now: datetime) -> Simulation:
    """`events` lines of `people` persons over the 90 days before `now`; the same arguments give the same bytes.

    Message ids follow from the seed alone, so landing one simulation twice lands duplicates. Raises WrongUse where
    `now` has no zone, or `events` are too few to introduce `people` (about eight a person always suffice).
    """
    if now.tzinfo is None:
        raise WrongUse("An instant without a zone was given, as now. Give it in UTC.")
    rng = Random(seed)
    now_ms = (now - EPOCH) // timedelta(milliseconds=1)
    dirt = {kind: max(1, round(rate * events)) for kind, rate in RATES.items()}
    everybody = cast(rng, people=people, now_ms=now_ms)
    clean = [draft for person in everybody for draft in _story(rng, person, now_ms)]
    extra = [kind for kind in dirt if kind not in (Dirt.LATE, Dirt.SKEWED_CLOCK)]
    room = events - len(clean) - sum(dirt[kind] for kind in extra)
    if people < 1 or room < dirt[Dirt.LATE] + dirt[Dirt.SKEWED_CLOCK]:
        raise WrongUse(
            f"{events} events cannot tell the story of {people} people, in the simulator. "
            f"Ask for at least one person and {events - room + 2 * dirt[Dirt.LATE]} events."
        )
    everyday = list(_everyday(rng, everybody, room, now_ms))
    _delay_and_skew(rng, everyday, dirt, now_ms)
    blocked = [_blocked(rng, everybody, number, now_ms) for number in range(dirt[Dirt.BLOCKED_IDENTIFIER])]
    clean += [*everyday, *blocked]
    broken = {kind: [_break(rng, kind, everybody, n, now_ms) for n in range(dirt[kind])] for kind in REASONS}
    drafts = [*clean, *(draft for kind in broken for draft in broken[kind])]
    for number, draft in enumerate(drafts):
        draft.message_id = hashlib.sha256(f"{seed}:{number}".encode()).hexdigest()[:32]
    again = [_again(rng, draft, now_ms) for draft in rng.sample(clean, dirt[Dirt.DUPLICATE])]
    cut_short = {draft.message_id for draft in broken[Dirt.TRUNCATED_LINE]}
    lines = [
        _cut(rng, draft) if draft.message_id in cut_short else orjson.dumps(written(draft))
        # A stable sort: of two with the same time, the first sent stays first.
        for draft in sorted([*drafts, *again], key=lambda draft: draft.received_ms)
    ]
    return Simulation(lines=lines, expected=_expectation(everybody, clean, dirt, received=len(lines), now_ms=now_ms))


def _story(rng: Random, person: Person, now_ms: int) -> Iterator[Draft]:
    """What every run tells of a person: how they came, who they are, what they answered."""
    yield say.page(rng, person, at=person.arrived_ms, named=False, device=person.devices[0])
    if person.user_id is None:
        return
    yield say.identify(rng, person, at=person.identified_ms, device=person.devices[0])
    if rng.random() < 0.6:  # the banner asks at the till: many have bought when they answer
        yield say.purchase(rng, person, at=person.identified_ms + MINUTE_MS // 2)
    if person.answer is not Answer.NEVER_ASKED:
        granted = person.answer is not Answer.DECLINED
        yield say.consent_choice(rng, person, at=person.answered_ms, marketing=granted)
    if person.revoked_ms is not None:
        if rng.random() < 0.5:
            yield say.consent_choice(rng, person, at=person.revoked_ms, marketing=False)
        else:
            yield say.profile_update(rng, person, at=person.revoked_ms, consent_status=False)
    for device in person.devices[1:]:
        yield say.page(rng, person, at=person.arrived_ms + MINUTE_MS, named=False, device=device)
        yield say.identify(rng, person, at=_later(rng, person, now_ms), device=device)
    if person.shares_with is not None:
        # Not before its owner has come: the device is the owner's.
        at = max(_later(rng, person, now_ms), person.shares_with.identified_ms + MINUTE_MS)
        yield say.identify(rng, person, at=at, device=person.shares_with.devices[0])
    if person.spends_high:
        recently = max(person.identified_ms, now_ms - (HIGH_SPEND_DAYS - 1) * DAY_MS)
        for _ in range(3):
            yield say.purchase(rng, person, at=rng.randrange(recently, now_ms - LAST_ARRIVAL_MS), great=True)


def _everyday(rng: Random, everybody: list[Person], count: int, now_ms: int) -> Iterator[Draft]:
    """`count` events of ordinary days; people come as often as it pleases them, high spenders more often."""
    habits = [rng.paretovariate(1.5) * (3.0 if person.spends_high else 1.0) for person in everybody]
    bought: dict[int, list[Draft]] = defaultdict(list)
    for who in rng.choices(range(len(everybody)), weights=habits, k=count):
        person = everybody[who]
        at = _later(rng, person, now_ms)
        roll = rng.random()
        if roll < 0.55:
            yield say.page(rng, person, at=at, named=person.user_id is not None)
        elif roll < 0.60 and person.user_id is not None:
            yield say.profile_update(rng, person, at=at, consent_status=_switch(rng, person))
        elif roll < 0.64 and bought[who]:
            taken_back = bought[who].pop()
            earliest = taken_back.occurred_ms + MINUTE_MS
            latest = max(earliest + 1, now_ms - LAST_ARRIVAL_MS)
            yield say.cancellation(rng, taken_back, at=rng.randrange(earliest, latest))
        else:
            draft = say.purchase(rng, person, at=at, great=person.spends_high and rng.random() < 0.2)
            if at < now_ms - HOUR_MS:
                bought[who].append(draft)
            yield draft


def _switch(rng: Random, person: Person) -> bool | None:
    """What a v2 update says, which is never anything new; None makes it a v1 update.

    Those who revoked get v1 only, so that their last word does not depend on which of two lines is first.
    """
    if person.answer in (Answer.NEVER_ASKED, Answer.REVOKED) or rng.random() < 0.5:
        return None
    return person.answer is Answer.GRANTED


def _later(rng: Random, person: Person, now_ms: int) -> int:
    """A time after the person is known and before now; one in five in the last day."""
    latest = now_ms - LAST_ARRIVAL_MS - MINUTE_MS
    earliest = person.identified_ms + MINUTE_MS
    if rng.random() < 0.2:
        earliest = max(earliest, latest - DAY_MS)
    return rng.randrange(earliest, latest)


def _delay_and_skew(rng: Random, everyday: list[Draft], dirt: Mapping[Dirt, int], now_ms: int) -> None:
    """Some events waited on their device, others come from a device whose clock is wrong; never words of consent."""
    old_enough = now_ms - 8 * DAY_MS
    usable = [draft for draft in everyday if not draft.is_about_consent]
    usable.sort(key=lambda draft: draft.occurred_ms > old_enough)  # stable: the old ones first
    late = rng.sample(usable[: max(dirt[Dirt.LATE], sum(d.occurred_ms <= old_enough for d in usable))], dirt[Dirt.LATE])
    for draft in late:
        longest = min(7 * DAY_MS, now_ms - LAST_ARRIVAL_MS - draft.occurred_ms)
        draft.waited_ms = rng.randrange(min(3 * HOUR_MS, longest - 1), longest)
    chosen = {id(draft) for draft in late}
    for draft in rng.sample([draft for draft in usable if id(draft) not in chosen], dirt[Dirt.SKEWED_CLOCK]):
        draft.skew_ms = rng.choice((-1, 1)) * rng.randrange(2 * HOUR_MS, 3 * DAY_MS)


def _blocked(rng: Random, everybody: list[Person], number: int, now_ms: int) -> Draft:
    """A page of somebody whose user id a broken script filled with a word that names nobody."""
    person = rng.choice(everybody)
    draft = say.page(rng, person, at=_later(rng, person, now_ms), named=False)
    draft.body["userId"] = say.BLOCKED_USER_IDS[number % len(say.BLOCKED_USER_IDS)]
    return draft


def _break(rng: Random, kind: Dirt, everybody: list[Person], number: int, now_ms: int) -> Draft:
    """An event that would be accepted but for one thing."""
    person = rng.choice(everybody)
    at = _later(rng, person, now_ms)
    if kind is Dirt.UNKNOWN_VERSION:
        named = next((p for p in [person, *everybody] if p.user_id is not None), person)
        draft = say.profile_update(rng, named, at=at, consent_status=True, version="v9")
        draft.body.setdefault("anonymousId", named.devices[0])
        return draft
    draft = say.purchase(rng, person, at=at)
    faults: Mapping[Dirt, Callable[[], object]] = {
        Dirt.BAD_TYPE: lambda: draft.properties.update(price="abc"),
        Dirt.MISSING_PROPERTY: lambda: draft.properties.pop("product_id"),
        Dirt.NO_IDENTIFIER: lambda: [draft.body.pop(name, None) for name in ("userId", "anonymousId")],
        Dirt.UNKNOWN_EVENT: lambda: draft.body.update(event=("product purchased", "Coupon Clipped")[number % 2]),
        Dirt.TRUNCATED_LINE: lambda: None,  # cut when it is written
    }
    if kind is Dirt.INVALID_TIME:
        draft.said_time = say.NO_TIMES[number % len(say.NO_TIMES)]
    else:
        faults[kind]()
    return draft


def _again(rng: Random, draft: Draft, now_ms: int) -> Draft:
    """The same message once more: at once and equal byte for byte, or sent again within twenty hours."""
    room = now_ms - draft.received_ms
    if rng.random() < 0.4 or room < 2:
        return replace(draft)
    return replace(draft, waited_ms=draft.waited_ms + rng.randrange(1, min(room, 20 * HOUR_MS)))


def written(draft: Draft) -> dict[str, object]:
    """An event as it arrives: the device's times by the device's clock, the arrival by ours."""
    said = draft.said_time or say.instant(draft.occurred_ms + draft.skew_ms)
    call = {"type": draft.body["type"], "messageId": draft.message_id}
    times = {
        "timestamp": said,
        "originalTimestamp": said,
        "sentAt": say.instant(draft.occurred_ms + draft.waited_ms + draft.skew_ms),
        "receivedAt": say.instant(draft.received_ms),
    }
    return {**call, **draft.body, **times}


def _cut(rng: Random, draft: Draft) -> bytes:
    """A line that ends too early, but not inside a character: that would be another fault."""
    text = orjson.dumps(written(draft)).decode()
    return text[: rng.randrange(1, len(text))].encode()


def _expectation(
    everybody: list[Person], clean: list[Draft], dirt: Mapping[Dirt, int], *, received: int, now_ms: int
) -> Expectation:
    identified = [person for person in everybody if person.user_id is not None]
    spend: defaultdict[str, float] = defaultdict(float)
    for draft in clean:
        if draft.spender is not None and draft.occurred_ms >= now_ms - HIGH_SPEND_DAYS * DAY_MS:
            spend[draft.spender] += draft.net_spend
    emails = Counter(person.email for person in identified)
    lent = Counter(person.shares_with.devices[0] for person in identified if person.shares_with is not None)
    return Expectation(
        received=received,
        duplicates=dirt[Dirt.DUPLICATE],
        quarantined={kind: dirt[kind] for kind in REASONS},
        late=dirt[Dirt.LATE],
        skewed=dirt[Dirt.SKEWED_CLOCK],
        blocked=dirt[Dirt.BLOCKED_IDENTIFIER],
        accepted_by_name=Counter(str(draft.body.get("event") or draft.body["type"]) for draft in clean),
        people=len(everybody),
        user_ids=len(identified),
        anonymous_ids=len({draft.body["anonymousId"] for draft in clean if "anonymousId" in draft.body}),
        shared_devices=len(lent),
        shared_emails=sum(count > 1 for count in emails.values()),
        answers=Counter(person.answer for person in everybody),
        high_spenders=sum(round(total, 2) >= HIGH_SPEND for total in spend.values()),
        occurred_at_of_skewed={
            draft.message_id: EPOCH + timedelta(milliseconds=draft.occurred_ms + draft.travelled_ms)
            for draft in clean
            if draft.skew_ms
        },
    )
