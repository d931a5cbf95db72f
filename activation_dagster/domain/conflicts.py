"""Conflicts: when links that must not be become more than they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictJump:
    """When conflicts have jumped: at least so many in one batch, and more of its links than both shares say.

    `above_share` is of links offered, whatever was before; `factor` is against the usual share, which is the median of
    the batches before, so that one bad batch among them does not become the measure.
    """

    at_least: int = 20
    above_share: float = 0.02
    factor: float = 3.0


RECENT_BATCHES = 20
"""Batches before one that say what is usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkCount:
    """Links that one batch offered, and how many of them were conflicts."""

    offered: int
    conflicts: int

    @property
    def share(self) -> float:
        return self.conflicts / self.offered if self.offered else 0.0


def usual_share(before: Sequence[LinkCount]) -> float:
    """The median share of some batches; those that offered nothing say nothing. 0 where there is none."""
    shares = [count.share for count in before if count.offered]
    return median(shares) if shares else 0.0


def has_jumped(rule: ConflictJump, now: LinkCount, before: Sequence[LinkCount]) -> bool:
    """Whether a batch has more conflicts than is usual; the very first batch cannot."""
    if now.conflicts < rule.at_least or not any(count.offered for count in before):
        return False
    return now.share > max(rule.above_share, rule.factor * usual_share(before))
