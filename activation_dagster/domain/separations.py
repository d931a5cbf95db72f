"""Separations: two identifiers that a person said are not one person's, kept apart in every event that shows both."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from activation_dagster.domain.identifiers import Identifier
from activation_dagster.domain.reasons import LinkRefusal

Pair = tuple[bytes, bytes]
"""The keys of two identifiers, the smaller first."""


def pair_of(one: Identifier, other: Identifier) -> Pair:
    """The pair that two identifiers are, whichever is named first."""
    first, second = sorted((one.key, other.key))
    return first, second


def keep_apart(
    usable: Sequence[Identifier], separations: Collection[Pair]
) -> tuple[list[Identifier], list[tuple[Identifier, LinkRefusal]]]:
    """Of an event's identifiers, the strongest first: those that stay, and those left out for one that stays.

    It depends on the event alone, so events may be cut into batches wherever one likes.
    """
    if not separations or len(usable) < 2:
        return list(usable), []
    kept: list[Identifier] = []
    left_out: list[tuple[Identifier, LinkRefusal]] = []
    for identifier in usable:
        if any(pair_of(identifier, other) in separations for other in kept):
            left_out.append((identifier, LinkRefusal.SEPARATED))
        else:
            kept.append(identifier)
    return kept, left_out
