"""Identifiers: their kinds, how a value is read, and what the identity contract says may be done with them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache

from activation_dagster.domain.conflicts import ConflictJump
from activation_dagster.domain.formats import FORMAT_PATTERNS, Format
from activation_dagster.domain.reasons import LinkRefusal
from activation_dagster.domain.traits import TraitRules

USER_ID = "user_id"
"""The kind of which no profile ever has two, whatever a contract says: two known people never become one."""


class Strength(StrEnum):
    """What a kind may do: strong ones make profiles one, weak ones are only attached to what the strong ones name."""

    STRONG = "strong"
    WEAK = "weak"


class Window(StrEnum):
    """How long a span a limit counts in."""

    EVER = "ever"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


MICROS_A_DAY = 86_400_000_000

SPAN = {
    Window.DAY: MICROS_A_DAY,
    Window.WEEK: 7 * MICROS_A_DAY,
    Window.MONTH: 30 * MICROS_A_DAY,
    Window.YEAR: 365 * MICROS_A_DAY,
}
"""Microseconds: spans that roll, of 1, 7, 30 and 365 days, as Segment's do; a calendar's would depend on a zone."""


class Winner(StrEnum):
    """Which profile gives its id to what several become; the older one where that says nothing."""

    OLDEST = "oldest"
    STRONGEST = "strongest"
    LARGEST = "largest"


class OnConflict(StrEnum):
    """What is done with an event whose strong identifiers cannot stand together."""

    DROP_WEAKEST = "drop_weakest"
    KEEP_APART = "keep_apart"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """A step of normalisation: every match of `pattern` becomes `by`."""

    pattern: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Phone:
    """A step of normalisation: a telephone number as E.164; numbers without `+` are of `region` (ISO 3166)."""

    region: str | None


Step = str | Replace | Phone
"""A step of normalisation: trim, lower, email, or one that says more."""

STEPS = ("trim", "lower", "email", "phone")
"""The steps that are one word; `phone` alone takes only numbers that begin with their country."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A value seen with more than `more_than` different values of the kind `of` is many people's and names nobody."""

    more_than: int
    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifierKind:
    """One kind of identifier: where it is read, how it is normalised, what it must not be, how many a profile has.

    `paths` are dotted from the envelope; the first that holds text counts. A value must match `valid` whole, and none
    of the blocked values and patterns. A profile gets `limit` of them inside any span of `window`, by the events' own
    times. `is_unique`: a value that stands on another profile than the event's is a conflict and never merges the two.
    `time_to_live`: so long after the event that attached it a value names its profile, and later nobody.
    """

    name: str
    paths: tuple[str, ...]
    normalise: tuple[Step, ...]
    blocked_values: frozenset[str]
    blocked_patterns: tuple[str, ...]
    limit: int
    priority: int
    window: Window = Window.EVER
    valid: str | None = None
    shared: Shared | None = None
    is_unique: bool = False
    strength: Strength = Strength.STRONG
    time_to_live: timedelta | None = None
    owner: str = ""

    def read(self, raw: str) -> str | None:
        """The normalised value, or None where the value is blocked or not valid."""
        value = self.reading(raw)
        return value if not isinstance(value, LinkRefusal) else None

    def reading(self, raw: str) -> str | LinkRefusal:
        """The normalised value, or why it names nobody."""
        value: str | None = raw
        for step in self.normalise:
            value = normalised(value, step)
            if value is None:
                # what no step can read may still be a word that stands for nobody, such as `null`
                return LinkRefusal.BLOCKED_VALUE if self._is_blocked(raw.strip()) else LinkRefusal.INVALID_VALUE
        if self._is_blocked(value):
            return LinkRefusal.BLOCKED_VALUE
        if self.valid is not None and re.fullmatch(self.valid, value) is None:
            return LinkRefusal.INVALID_VALUE
        return value

    def readings(self, raws: Iterable[str]) -> list[str | None]:
        """`read` of many values, with all that does not depend on the value done once."""
        if self.valid is not None or not set(self.normalise) <= {"trim", "lower"}:
            return [self.read(raw) for raw in raws]
        values = [raw.strip() for raw in raws] if "trim" in self.normalise else list(raws)
        if "lower" in self.normalise:
            values = [value.lower() for value in values]
        blocked = {"", *self.blocked_values}
        for search in _searches(self.blocked_patterns):
            blocked.update(value for value in values if search(value))
        return [None if value in blocked else value for value in values]

    def _is_blocked(self, value: str) -> bool:
        if value == "" or value in self.blocked_values:
            return True
        return any(search(value) for search in _searches(self.blocked_patterns))

    @property
    def has_time(self) -> bool:
        """Whether what may be done with a value depends on when its event happened."""
        return self.window is not Window.EVER or self.time_to_live is not None


@lru_cache(maxsize=256)
def _searches(patterns: tuple[str, ...]) -> tuple[Callable[[str], object], ...]:
    return tuple(re.compile(pattern).search for pattern in patterns)


def normalised(value: str, step: Step) -> str | None:
    """A value after one step; None where the step finds no value in it."""
    match step:
        case "trim":
            return value.strip()
        case "lower":
            return value.lower()
        case "email":
            address = value.strip().lower().removeprefix("mailto:")
            return address if re.fullmatch(FORMAT_PATTERNS[Format.EMAIL], address) else None
        case "phone":
            return phone_number(value, None)
        case Phone():
            return phone_number(value, step.region)
        case Replace():
            return re.sub(step.pattern, step.by, value)
        case _:
            raise ValueError(f"no step of normalisation is called '{step}'")


@lru_cache(maxsize=65_536)
def phone_number(value: str, region: str | None) -> str | None:
    """A telephone number as E.164 (`+4915112345678`); None where it cannot be one that somebody has."""
    import phonenumbers  # 50 ms that only contracts with telephone numbers should pay

    try:
        found = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(found):
        return None
    return phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)


def phone_regions() -> frozenset[str]:
    """Every region that telephone numbers can be of."""
    import phonenumbers

    return frozenset(phonenumbers.SUPPORTED_REGIONS)


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """A kind and a normalised value."""

    kind: str
    value: str

    @property
    def key(self) -> bytes:
        """16 bytes that stand for the identifier wherever it is looked up."""
        return hashlib.md5(f"{self.kind}\x1f{self.value}".encode(), usedforsecurity=False).digest()


def profile_id(first: Identifier) -> str:
    """`p` and 24 hex digits derived from the identifier a profile was created with."""
    return "p" + hashlib.sha256(f"{first.kind}\x1f{first.value}".encode()).hexdigest()[:24]


MOST_IDENTIFIERS = 1_000
"""Identifiers on one profile where a contract says nothing: Segment's Unify maps as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRules:
    """`contracts/identity.yaml`; `kinds` by priority, the strongest first."""

    version: str
    owner: str
    kinds: tuple[IdentifierKind, ...]
    winner: Winner = Winner.OLDEST
    maximum_cluster: int = MOST_IDENTIFIERS
    on_conflict: OnConflict = OnConflict.DROP_WEAKEST
    traits: TraitRules = field(default_factory=TraitRules)
    conflict_jump: ConflictJump = field(default_factory=ConflictJump)

    def kind(self, name: str) -> IdentifierKind:
        return next(kind for kind in self.kinds if kind.name == name)

    def read(self, raw: Iterable[str | None]) -> tuple[list[Identifier], list[tuple[Identifier, LinkRefusal]]]:
        """Of an event's raw values, one for each of `kinds`: the identifiers, and what is none with its reason.

        A value that names nobody is not kept: it stands as `blocked`.
        """
        usable: list[Identifier] = []
        refused: list[tuple[Identifier, LinkRefusal]] = []
        for kind, text in zip(self.kinds, raw, strict=True):
            if text is None:
                continue
            value = kind.reading(text)
            if isinstance(value, LinkRefusal):
                refused.append((Identifier(kind.name, "blocked"), value))
            else:
                usable.append(Identifier(kind.name, value))
        return usable, refused
