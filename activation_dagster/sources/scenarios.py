"""The simulated shop on a bad day: the same people and words, at a rate, with one thing that goes wrong."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from itertools import count
from random import Random

import orjson

from activation_dagster.errors import WrongUse
from activation_dagster.sources import simulated_events as say
from activation_dagster.sources.simulated_events import Draft, instant
from activation_dagster.sources.simulated_people import DAY_MS, HOUR_MS, Answer, Person, cast

SPIKE_FACTOR = 10
REPEATS = 4
BOT_PAGES = 9
BOTS = 3
KIOSK = "anon-kiosk"
CALLS_A_PERSON = 20

_Turn = Callable[[int], Draft]
"""What somebody does at an instant (epoch ms)."""


class Scenario(StrEnum):
    """What goes wrong; in the middle third of the time unless said."""

    CALM = "calm"  # nothing: what the others are held against
    SCHEMA_DRIFT = "schema_drift"  # from the first third on, an app sends prices as text
    DUPLICATE_STORM = "duplicate_storm"  # each call is sent five times
    IDENTITY_COLLISION = "identity_collision"  # everybody says who they are on one device
    CONSENT_REVOKED = "consent_revoked"  # everybody who said yes says no
    SPIKE = "spike"  # ten times as much
    LAG = "lag"  # devices were offline for hours: what they tell comes at once, at the beginning of the last third
    BOT_FLOOD = "bot_flood"  # a few devices look at pages, nine for each honest call
    CLOCK_SKEW = "clock_skew"  # all the time, every second device's clock is hours or days off


class Trouble(StrEnum):
    """What is wrong with one call; most have nothing."""

    NONE = ""
    DRIFTED = "drifted"
    REPEATED = "repeated"
    COLLIDING = "colliding"
    REVOKING = "revoking"
    EXTRA = "extra"
    LATE = "late"
    OF_A_BOT = "of_a_bot"
    SKEWED = "skewed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call: it leaves its device at `leaves_ms` (epoch, true time). `trouble` is what the scenario did to it."""

    leaves_ms: int
    draft: Draft
    trouble: Trouble
    third: int  # of the time, 0 to 2, in which it leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`rate` honest calls a second for `minutes`, from `start_ms` (epoch); the same plan gives the same calls."""

    scenario: Scenario
    seed: int
    rate: float
    minutes: float
    start_ms: int

    @property
    def length_ms(self) -> int:
        """How long it takes."""
        return round(self.minutes * 60_000)

    @property
    def honest_calls(self) -> int:
        """Calls without those that the scenario adds."""
        return round(self.rate * self.minutes * 60)


def calls(plan: Plan) -> Iterator[Call]:
    """The calls of a plan in the order in which they leave; those of the next moments only are held in memory.

    Message ids follow from scenario and seed alone, so the same plan at another time sends them again. Raises WrongUse
    for less than one person's worth of calls.
    """
    people = plan.honest_calls // CALLS_A_PERSON
    if people < 1:
        raise WrongUse(
            f"{plan.honest_calls} calls cannot show anything, by --rate and --minutes. "
            f"Ask for {CALLS_A_PERSON} at least: a higher rate, or more minutes."
        )
    rng = Random(f"{plan.scenario.value}:{plan.seed}")
    everybody = cast(rng, people=people, now_ms=plan.start_ms)
    numbers = count()
    waiting: list[tuple[int, int, Draft, Trouble]] = []
    for draft, trouble in _told(rng, plan, everybody):
        number = next(numbers)
        if not draft.message_id:
            draft.message_id = hashlib.sha256(f"{plan.scenario.value}:{plan.seed}:{number}".encode()).hexdigest()[:32]
        happens = draft.occurred_ms if trouble is not Trouble.LATE else plan.start_ms
        while waiting and waiting[0][0] <= happens:
            yield _call(plan, heapq.heappop(waiting))
        heapq.heappush(waiting, (draft.occurred_ms + draft.waited_ms, number, draft, trouble))
        if (
            trouble is Trouble.NONE
            and plan.scenario is Scenario.DUPLICATE_STORM
            and _third(plan, draft.occurred_ms) == 1
        ):
            for again in range(1, REPEATS + 1):
                copy = replace(draft, waited_ms=draft.waited_ms + 250 * again)
                heapq.heappush(waiting, (copy.occurred_ms + copy.waited_ms, next(numbers), copy, Trouble.REPEATED))
    while waiting:
        yield _call(plan, heapq.heappop(waiting))


def as_sent(call: Call) -> bytes:
    """A call as an SDK sends it, before it arrives: its device's times; where those matter, its own `sentAt` too."""
    draft = call.draft
    sent: Mapping[str, object] = {}
    if draft.skew_ms or call.trouble in (Trouble.LATE, Trouble.REPEATED):
        sent = {"sentAt": instant(call.leaves_ms + draft.skew_ms)}
    event = {"type": draft.body["type"], "messageId": draft.message_id, **draft.body}
    return orjson.dumps({**event, "timestamp": instant(draft.occurred_ms + draft.skew_ms), **sent})


def _call(plan: Plan, waiting: tuple[int, int, Draft, Trouble]) -> Call:
    leaves_ms, _, draft, trouble = waiting
    return Call(leaves_ms=leaves_ms, draft=draft, trouble=trouble, third=_third(plan, leaves_ms))


def _third(plan: Plan, at_ms: int) -> int:
    return min(2, max(0, (at_ms - plan.start_ms) * 3 // plan.length_ms))


def _told(rng: Random, plan: Plan, everybody: list[Person]) -> Iterator[tuple[Draft, Trouble]]:
    """Everything that happens, in order; only what is late happened before."""
    skewed = {device for person in everybody for device in person.devices[:1] if rng.random() < 0.5}
    turns = _turns(rng, everybody)
    revoking = iter([person for person in everybody if _says_yes(person)])
    for number in range(plan.honest_calls):
        at = plan.start_ms + number * plan.length_ms // plan.honest_calls
        draft = next(turns)(at)
        draft.waited_ms = 0
        is_now = _third(plan, at) == 1
        match plan.scenario:
            case Scenario.SCHEMA_DRIFT if _third(plan, at) > 0 and draft.body.get("event") == "Product Purchased":
                draft.properties["price"] = f"{draft.properties['price']} {draft.properties['currency']}"
                yield draft, Trouble.DRIFTED
            case Scenario.IDENTITY_COLLISION if is_now:
                named = rng.choice([person for person in everybody if person.user_id is not None] or everybody)
                yield _quick(say.identify(rng, named, at=at, device=KIOSK)), Trouble.COLLIDING
            case Scenario.CONSENT_REVOKED if is_now and (person := next(revoking, None)) is not None:
                yield _quick(say.consent_choice(rng, person, at=at, marketing=False)), Trouble.REVOKING
            case Scenario.LAG if is_now:
                comes = plan.start_ms + plan.length_ms * 2 // 3
                draft.occurred_ms = at - rng.randrange(3 * HOUR_MS, 9 * HOUR_MS)
                draft.waited_ms = comes - draft.occurred_ms + rng.randrange(1, 2_000)
                yield draft, Trouble.LATE
            case Scenario.CLOCK_SKEW if draft.body.get("anonymousId") in skewed:
                draft.skew_ms = rng.choice((-1, 1)) * rng.randrange(2 * HOUR_MS, 3 * DAY_MS)
                yield draft, Trouble.SKEWED
            case _:
                yield draft, Trouble.NONE
        if plan.scenario is Scenario.SPIKE and is_now:
            for _ in range(SPIKE_FACTOR - 1):
                yield _quick(_everyday(rng, rng.choice(everybody), at)), Trouble.EXTRA
        if plan.scenario is Scenario.BOT_FLOOD and is_now:
            for _ in range(BOT_PAGES):
                bot = say.page(rng, everybody[0], at=at, named=False, device=f"anon-bot-{rng.randrange(BOTS)}")
                yield _quick(bot), Trouble.OF_A_BOT


def _turns(rng: Random, everybody: list[Person]) -> Iterator[_Turn]:
    """Whose turn it is and what they do: first everybody is introduced, in the first sixth of the time or so."""
    for person in everybody:
        if person.user_id is None:
            continue
        yield partial(_introduced, rng, person)
        yield partial(_bought, rng, person)
        if person.answer is not Answer.NEVER_ASKED:
            yield partial(_answered, rng, person)
    while True:
        yield partial(_everyday_of_somebody, rng, everybody)


def _introduced(rng: Random, person: Person, at: int) -> Draft:
    return say.identify(rng, person, at=at, device=person.devices[0])


def _bought(rng: Random, person: Person, at: int) -> Draft:
    return say.purchase(rng, person, at=at)


def _answered(rng: Random, person: Person, at: int) -> Draft:
    return say.consent_choice(rng, person, at=at, marketing=_says_yes(person))


def _says_yes(person: Person) -> bool:
    """When they are first asked; who took it back later in the long story does not in these minutes."""
    return person.answer in (Answer.GRANTED, Answer.REVOKED)


def _everyday_of_somebody(rng: Random, everybody: list[Person], at: int) -> Draft:
    return _everyday(rng, rng.choice(everybody), at)


def _everyday(rng: Random, person: Person, at: int) -> Draft:
    if rng.random() < 0.6:
        return say.page(rng, person, at=at, named=person.user_id is not None)
    return say.purchase(rng, person, at=at)


def _quick(draft: Draft) -> Draft:
    """A call that leaves as soon as it happened."""
    draft.waited_ms = 0
    return draft
