"""Links: what state knows of identifiers and profiles, and what resolving a batch adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from activation_dagster.domain.identifiers import Identifier
from activation_dagster.domain.reasons import LinkRefusal


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownIdentifier:
    """An identifier in state and the profile it was first seen with (redirects not followed).

    `seen_at`: when the event that attached it happened, in microseconds; 0 where no rule has asked for it.
    """

    identifier: Identifier
    profile_id: str
    seen_at: int = 0


class LinkDecision(StrEnum):
    """What became of a link; every link is exactly one of these."""

    ACCEPTED = "accepted"
    REFUSED = "refused"  # a limit of one profile, or a person undid the link
    BLOCKED = "blocked"  # the value names nobody
    CONFLICT = "conflict"  # it would have made two profiles one that must not be


NAMES_NOBODY = frozenset(
    {
        LinkRefusal.BLOCKED_VALUE,
        LinkRefusal.INVALID_VALUE,
        LinkRefusal.SHARED_VALUE,
        LinkRefusal.OUTLIVED_VALUE,
    }
)
NOT_KEPT = frozenset({LinkRefusal.BLOCKED_VALUE, LinkRefusal.INVALID_VALUE})
"""Refusals of values that were never kept, so that nobody has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One identifier offered to one profile by one event, and what became of it.

    `other_profile_id` is the profile that has the identifier, where that is another: the second candidate.
    """

    event_id: str
    identifier: Identifier
    profile_id: str
    refusal: LinkRefusal | None
    other_profile_id: str = ""

    @property
    def decision(self) -> LinkDecision:
        if self.refusal is None:
            return LinkDecision.ACCEPTED
        if self.refusal in NAMES_NOBODY:
            return LinkDecision.BLOCKED
        if self.refusal is LinkRefusal.SEPARATED:
            return LinkDecision.REFUSED  # a person decided; that another profile has it is what they wanted
        return LinkDecision.CONFLICT if self.other_profile_id else LinkDecision.REFUSED


def disputed(links: Sequence[Link]) -> tuple[Link, ...]:
    """Of the links of one event in conflict, the strongest first, those that keep it from being somebody's.

    These stand on another profile than the strongest; where none does, they are what its profile may not get.
    """
    stopped = [link for link in links if link.refusal is not None and link.refusal not in NAMES_NOBODY]
    return tuple([link for link in stopped if link.other_profile_id] or stopped[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Two profiles that an event showed to be one; the winner's id stays."""

    event_id: str
    winner: str
    loser: str


@dataclass(slots=True, kw_only=True)
class IdentityChanges:
    """What resolving a batch adds to state, in the order it was decided.

    `attached`: (identifier, profile, event, when that happened). `companions`: (identifier, key of a value of the kind
    that its `shared` rule counts), once each, until the value is shared. `quarantined`: events that are nobody's
    because the contract says so of a conflict.
    """

    profiles: list[tuple[str, Identifier, str, int]] = field(default_factory=list[tuple[str, Identifier, str, int]])
    attached: list[tuple[Identifier, str, str, int]] = field(default_factory=list[tuple[Identifier, str, str, int]])
    links: list[Link] = field(default_factory=list[Link])
    merges: list[Merge] = field(default_factory=list[Merge])
    companions: list[tuple[Identifier, bytes]] = field(default_factory=list[tuple[Identifier, bytes]])
    quarantined: set[str] = field(default_factory=set[str])
