"""Traits: of all that was said of one, the value that counts, by the policy that the identity contract declares for it.

Only what was said counts, never of which of a person's former profiles: so it does not matter when two became one, nor
how events were cut into batches. What several events said alike may stand as one `Said`, or as one each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

DERIVED = "$"
"""Traits that the platform derives begin with this, such as `$country`; of those the latest counts, always."""


class TraitPolicy(StrEnum):
    """Which value of a trait counts; between equals always the latest."""

    LATEST = "latest"
    FIRST = "first"
    MOST_FREQUENT = "most_frequent"
    SOURCE_PRIORITY = "source_priority"


@dataclass(frozen=True, slots=True, kw_only=True)
class TraitRule:
    """The policy of one trait; `sources` from the one that counts most, all that are not named come after them."""

    policy: TraitPolicy = TraitPolicy.LATEST
    sources: tuple[str, ...] = ()


LATEST = TraitRule()


@dataclass(frozen=True, slots=True, kw_only=True)
class TraitRules:
    """The policies of an identity contract: of the traits it names, and of all others."""

    default: TraitRule = LATEST
    named: Mapping[str, TraitRule] = field(default_factory=dict[str, TraitRule])

    def of(self, trait: str) -> TraitRule:
        """The rule of one trait."""
        return LATEST if trait.startswith(DERIVED) else self.named.get(trait, self.default)

    def asks(self, trait: str) -> bool:
        """Whether more than the newest value of a trait must be known."""
        return self.of(trait) != LATEST

    @property
    def ask_nothing(self) -> bool:
        """Whether of every trait the newest value is enough."""
        return all(rule == LATEST for rule in (self.default, *self.named.values()))


When = tuple[int, int, str]
"""When something was said (µs), and between equals the order of arrival: state sequence and event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One value (JSON) of one trait, as one source said it `times` times."""

    value: str
    source: str
    times: int
    first: When
    last: When


def chosen(rule: TraitRule, said: Collection[Said]) -> str:
    """The value (JSON) that counts of all that was said of one person's trait, which is something."""
    match rule.policy:
        case TraitPolicy.LATEST:
            return max(said, key=lambda one: one.last).value
        case TraitPolicy.FIRST:
            return min(said, key=lambda one: one.first).value
        case TraitPolicy.MOST_FREQUENT:
            times: Counter[str] = Counter()
            for one in said:
                times[one.value] += one.times
            return max(said, key=lambda one: (times[one.value], one.last)).value
        case TraitPolicy.SOURCE_PRIORITY:
            rank = {source: place for place, source in enumerate(rule.sources)}
            best = min(rank.get(one.source, len(rank)) for one in said)
            return max((one for one in said if rank.get(one.source, len(rank)) == best), key=lambda one: one.last).value
