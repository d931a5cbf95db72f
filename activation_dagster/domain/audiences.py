"""Audiences: who belongs to one, by what they did and what is known of them; the readable judge of membership.

`sql/consent/audience_matches.sql` judges all touched profiles at once and must agree with `matches`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Measure:
    """Something that can be added up a profile and day: how many of an event, or the sum of a property.

    `times` names a second property the first is multiplied with (price × quantity). An event whose property is absent
    counts in `count` and adds nothing to a sum.
    """

    event_name: str
    sum_of: str = ""
    times: str = ""

    @property
    def name(self) -> str:
        """The measure's one spelling, which is its key in state."""
        if not self.sum_of:
            return f"count({self.event_name})"
        return f"sum({self.event_name}: {self.sum_of}{' * ' + self.times if self.times else ''})"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureCondition:
    """At least so much of a measure, ever or within the last so many UTC days (today is the last of them)."""

    measure: Measure
    at_least: float
    within_days: int | None = None


class Comparison(StrEnum):
    """How a trait is compared."""

    IS_IN = "is_in"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"


@dataclass(frozen=True, slots=True, kw_only=True)
class TraitCondition:
    """A trait's newest value is one of some values, or a number at least or at most another. Absent never matches."""

    trait: str
    comparison: Comparison
    values: tuple[str | float | bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """`contracts/audiences/<audience_id>.yaml`: all conditions must hold; consent is added by the gate, never here."""

    audience_id: str
    owner: str
    description: str
    purpose: str
    channel: str
    conditions: tuple[MeasureCondition | TraitCondition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DayOfActivity:
    """What one profile did of one measure on one UTC day."""

    measure: str
    day: date
    event_count: int
    total_millionths: int


MILLIONTH = 1_000_000
"""Sums are kept in whole millionths, so that they are exact and do not depend on the order of adding."""

MOST_MILLIONTHS = 9 * 10**18
"""Where a sum stops, on both sides: two sound events of nine trillion would else be beyond what 64 bits hold."""


def amount(condition: MeasureCondition, activity: Iterable[DayOfActivity], today: date) -> int:
    """How much of a condition's measure a profile reached, in millionths, counting only the condition's days."""
    found = 0
    for done in activity:
        if done.measure != condition.measure.name:
            continue
        if condition.within_days is not None and (today - done.day).days >= condition.within_days:
            continue
        found += done.total_millionths if condition.measure.sum_of else done.event_count * MILLIONTH
    return max(-MOST_MILLIONTHS, min(found, MOST_MILLIONTHS))


def trait_matches(condition: TraitCondition, value: Any) -> bool:
    """Whether a trait's JSON value satisfies a condition; values of another type never do."""
    if value is None:
        return False
    if condition.comparison is Comparison.IS_IN:
        return any(json.dumps(value) == json.dumps(wanted) for wanted in condition.values)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    bound = condition.values[0]
    assert not isinstance(bound, str)
    return value >= bound if condition.comparison is Comparison.AT_LEAST else value <= bound


def matches(audience: Audience, *, activity: Sequence[DayOfActivity], traits: Mapping[str, Any], today: date) -> bool:
    """Whether a profile satisfies all conditions of an audience on the UTC day `today`."""
    return all(
        trait_matches(condition, traits.get(condition.trait))
        if isinstance(condition, TraitCondition)
        else amount(condition, activity, today) >= round(condition.at_least * MILLIONTH)
        for condition in audience.conditions
    )
