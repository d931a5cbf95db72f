"""The cast of the simulated shop: who its people are, what they share, and what they answered about consent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
HISTORY_MS = 90 * DAY_MS

# Shares of all people. What a seed gives varies around them; the Expectation holds what it really gave.
VISITORS = 0.06  # never say who they are
HIGH_SPENDERS = 0.10
SECOND_DEVICE = 0.25
SHARED_DEVICE = 0.04  # also say who they are on a device of the person before
SHARED_TYPO = 0.02  # mistype their address, and the next person mistypes it to the same
JOINED_TODAY = 0.10

COUNTRIES = (
    ("DE", "EUR", 22),
    ("US", "USD", 22),
    ("GB", "GBP", 16),
    ("FR", "EUR", 12),
    ("CA", "CAD", 8),
    ("BR", "BRL", 8),
    ("ES", "EUR", 6),
    ("NL", "EUR", 6),
)
US_STATES = ("CA", "NY", "TX", "FL", "VA", "CO", "CT", "UT", "IL", "WA")
FIRST_NAMES = (
    *("Anna", "Ben", "Chloé", "David", "Élodie", "Felix", "Grace", "Hugo", "Inês", "Jürgen", "Katarzyna", "Liam"),
    *("María", "Noah", "Olivia", "Paul", "Quentin", "Rosa", "Søren", "Tomás", "Uma", "Viktor", "Wei", "Zoë"),
)


class Answer(StrEnum):
    """What a person's consent to marketing e-mail has come to at the end of the simulation."""

    GRANTED = "granted"
    DECLINED = "declined"
    REVOKED = "revoked"  # granted first
    NEVER_ASKED = "never_asked"


ANSWERS = ((Answer.GRANTED, 52), (Answer.DECLINED, 15), (Answer.REVOKED, 8), (Answer.NEVER_ASKED, 25))


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One person of the shop; a visitor has no `user_id`. Times are epoch milliseconds, UTC."""

    user_id: str | None
    first_name: str
    email: str
    country: str
    region: str | None
    currency: str
    age: int
    devices: tuple[str, ...]
    shares_with: Person | None  # says who they are on the first device of this person as well
    answer: Answer
    wants_personalization: bool
    spends_high: bool
    arrived_ms: int
    identified_ms: int
    answered_ms: int
    revoked_ms: int | None


def cast(rng: Random, *, people: int, now_ms: int) -> list[Person]:
    """`people` persons who first came to the shop within the 90 days before `now_ms`."""
    everybody: list[Person] = []
    typo: str | None = None
    for number in range(people):
        before = everybody[-1] if everybody and everybody[-1].user_id is not None else None
        if typo is not None:
            email, typo = typo, None  # the second of a pair
        elif rng.random() < SHARED_TYPO:
            email = typo = f"typo.{number}@mial.example"
        else:
            email = None
        everybody.append(_person(rng, number=number, before=before, email=email, now_ms=now_ms))
    return everybody


def _person(rng: Random, *, number: int, before: Person | None, email: str | None, now_ms: int) -> Person:
    country, currency, _ = rng.choices(COUNTRIES, weights=[weight for _, _, weight in COUNTRIES])[0]
    first_name = rng.choice(FIRST_NAMES)
    is_visitor = rng.random() < VISITORS
    youngest = DAY_MS if rng.random() < JOINED_TODAY else HISTORY_MS - DAY_MS
    arrived_ms = now_ms - rng.randrange(3 * HOUR_MS, youngest)
    identified_ms = arrived_ms + rng.randrange(2 * MINUTE_MS, 60 * MINUTE_MS)
    answered_ms = identified_ms + rng.randrange(MINUTE_MS, 10 * MINUTE_MS)
    answer = Answer.NEVER_ASKED
    if not is_visitor:
        answer = rng.choices([answer for answer, _ in ANSWERS], weights=[weight for _, weight in ANSWERS])[0]
    revoked_ms = None
    if answer is Answer.REVOKED:
        revoked_ms = rng.randrange(answered_ms + 30 * MINUTE_MS, now_ms - 30 * MINUTE_MS)
    devices = (_device(rng), _device(rng)) if not is_visitor and rng.random() < SECOND_DEVICE else (_device(rng),)
    shares_device = before is not None and not is_visitor and rng.random() < SHARED_DEVICE
    return Person(
        user_id=None if is_visitor else f"u{number:06d}",
        first_name=first_name,
        email=email or f"{_plain(first_name)}.{number}@mail.example",
        country=country,
        region=rng.choice(US_STATES) if country == "US" else None,
        currency=currency,
        age=rng.randrange(18, 86),
        devices=devices,
        shares_with=before if shares_device else None,
        answer=answer,
        wants_personalization=rng.random() < 0.5,
        spends_high=not is_visitor and rng.random() < HIGH_SPENDERS,
        arrived_ms=arrived_ms,
        identified_ms=identified_ms,
        answered_ms=answered_ms,
        revoked_ms=revoked_ms,
    )


def _device(rng: Random) -> str:
    return f"anon-{rng.getrandbits(64):016x}"


def _plain(name: str) -> str:
    """A first name as it stands in an address: ASCII, lower case."""
    return "".join(letter for letter in name.lower() if letter.isascii())
