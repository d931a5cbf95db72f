"""What a comparison says: changes with their rule, what each breaks, and an example that proves it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from activation_dagster.domain.compatibility.documents import Schema


class Direction(StrEnum):
    """Who must read whom: backward, the new version the old one's data; forward, the old version the new one's."""

    BACKWARD = "backward"
    FORWARD = "forward"


class Mode(StrEnum):
    """What a change may not break; transitive modes look at all earlier versions, the others at the newest."""

    BACKWARD = "backward"
    FORWARD = "forward"
    FULL = "full"
    BACKWARD_TRANSITIVE = "backward_transitive"
    FORWARD_TRANSITIVE = "forward_transitive"
    FULL_TRANSITIVE = "full_transitive"
    NONE = "none"

    @property
    def directions(self) -> frozenset[Direction]:
        """What must be kept in this mode."""
        match self.removesuffix("_transitive"):
            case "backward":
                return frozenset({Direction.BACKWARD})
            case "forward":
                return frozenset({Direction.FORWARD})
            case "full":
                return BOTH
            case _:
                return NEITHER

    @property
    def is_transitive(self) -> bool:
        return self.endswith("_transitive")


BOTH = frozenset(Direction)
NEITHER: frozenset[Direction] = frozenset()


class Policy(StrEnum):
    """Whether a declared key counts as promised before it was declared.

    STRICT is JSON Schema's logic: an open model already allowed the key with any value, so declaring it narrows.
    DECLARED is our own format's: a key is promised once a version declares it, and what stood there before is nobody's
    promise, so adding and removing optional properties breaks nothing.
    """

    STRICT = "strict"
    DECLARED = "declared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A value that one version accepts and the other refuses."""

    instance: Any
    refused_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between two versions. `path` is a JSON pointer into the schema; `breaks` holds in any mode,
    `is_breaking` under the mode that was asked for."""

    rule: str
    path: str
    message: str
    breaks: frozenset[Direction]
    is_breaking: bool = False
    example: Example | None = None
    against: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one comparison found."""

    mode: Mode
    changes: tuple[Change, ...]

    @property
    def is_compatible(self) -> bool:
        return not any(change.is_breaking for change in self.changes)


Proof = Callable[[Direction], Iterable[Any]]
"""Values that may prove a finding, given the direction that it breaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a rule found at one place.

    `refused_by` is the part of each side's schema by which a proving value must be refused, so that an example proves
    this finding and not a neighbour's; `proof` offers values beyond the usual ones. `is_provable` is off where
    validators differ on what the keyword says.
    """

    message: str
    breaks: frozenset[Direction] = NEITHER
    keywords: tuple[str, ...] = ()
    refused_by: Mapping[Direction, Schema] = field(default_factory=dict[Direction, Schema])
    proof: Proof | None = None
    below: str = ""
    is_provable: bool = True


Includes = Callable[[Schema, Schema], bool]
"""(writer, reader) → whether everything that the writer accepts is surely accepted by the reader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The same place in the old and in the new version."""

    old: Schema
    new: Schema
    includes: Includes
    policy: Policy

    def writer(self, direction: Direction) -> Schema:
        return self.old if direction is Direction.BACKWARD else self.new

    def reader(self, direction: Direction) -> Schema:
        return self.new if direction is Direction.BACKWARD else self.old

    def is_included(self, direction: Direction) -> bool:
        return self.includes(self.writer(direction), self.reader(direction))


Lift = Callable[[Schema, Any], Iterator[Any]]
"""(the schema one level up, a value of this place) → values one level up that hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A place below a pair. `group` names the keyword whose branches are judged together (allOf, anyOf, oneOf).

    `within` is the type of value that holds the place, where it is one.
    """

    path: str
    old: Schema
    new: Schema
    lift: Lift
    group: str = ""
    within: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: its name, what it is for, the keywords it looks at and the one function that finds its changes."""

    rule_id: str
    purpose: str
    keywords: frozenset[str]
    find: Callable[[Pair], Iterator[Finding]]
