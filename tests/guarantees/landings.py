"""A landing of a small shop with everything in it that a batch can meet: three segments, two of them in one hour."""

from __future__ import annotations

from datetime import timedelta

from activation_dagster.sources.simulator import simulate
from tests.guarantees.events import choice, identify, purchase, written
from tests.guarantees.shop import NOW, Shop

LANDED_AT = (NOW.replace(hour=9, minute=10), NOW.replace(minute=5), NOW.replace(minute=20))

LANDED = 458
"""Lines in all segments."""


def segments() -> list[list[bytes]]:
    """Seed 6 has shared devices, a shared address, merges, people who revoke, and sends of both kinds.

    Beside it two people say yes on a device and had said no before by name; the device turns out to be theirs, of one
    in a later batch and of the other in the same.
    """
    lines = simulate(seed=6, people=40, events=450, now=NOW).lines
    third = len(lines) // 3
    before, then = NOW - timedelta(days=3), NOW - timedelta(days=2)
    two_people = written(
        choice("c1", at=before, user="lee", marketing=False),
        choice("c2", at=then, device="phone", marketing=True),
        purchase("c3", at=then, device="phone", price=600.0),
    )
    one_person = written(
        identify("c4", at=NOW - timedelta(days=1), user="lee", device="phone", country="US"),
        choice("c5", at=NOW - timedelta(hours=2), device="phone", marketing=True),
    )
    all_at_once = written(
        choice("d1", at=before, user="kim", marketing=False),
        choice("d2", at=then, device="tablet", marketing=True),
        identify("d3", at=NOW - timedelta(hours=1), user="kim", device="tablet", country="US"),
    )
    return [lines[:third] + two_people, lines[third : 2 * third] + one_person, lines[2 * third :] + all_at_once]


def land_everything(shop: Shop) -> None:
    """All three segments."""
    for lines, at in zip(segments(), LANDED_AT, strict=True):
        shop.land(lines, at=at)
