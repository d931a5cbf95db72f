"""Settled sets: what became, many at once, of a large batch's identifiers that touch no rule, as rows for state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from activation_dagster.domain.components import Numbers, Offers, Settled, overgrown
from activation_dagster.domain.identifiers import IdentityRules
from activation_dagster.domain.links import Merge
from activation_dagster.lake.engine import Engine
from activation_dagster.lake.identity_sets import CodedSets, arrivals_of, ordered, profile_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledSets:
    """What a batch adds to state without its exact part; Arrow tables, each in the order of its key.

    `found`: (set_no, profile_id, seen_as, is_conflict) of every settled set. `links` (all accepted), `profiles` and
    `identifiers` have the columns of the tables of state that differ from row to row. `left`: (set_no) of the sets that
    are to be decided one by one. `broken`: profiles that have more than the contract allows.
    """

    found: Any
    links: Any
    profiles: Any
    identifiers: Any
    merges: tuple[Merge, ...]
    left: Any
    broken: tuple[tuple[str, str], ...]


def settled_sets(
    engine: Engine, rules: IdentityRules, *, coded: CodedSets, offers: Offers, people: Any, settled: Settled
) -> SettledSets:
    """Give profiles and events their names; `people` (Arrow) are the profiles of the clusters in state, by number."""
    clusters = len(people)
    makers = settled.makers
    # The strongest of a set is its first entry, and gives the profile that the set makes its name.
    strongest = coded.code_of[np.searchsorted(coded.set_of, makers)]
    names = pa.concat_arrays(
        [
            people,
            profile_ids(engine, coded.identifiers.take(pa.array(strongest))).combine_chunks(),
        ]
    )
    place_of = np.full(len(settled.stands_for), -1, dtype=np.int64)
    place_of[:clusters] = np.arange(clusters)
    place_of[clusters + makers] = clusters + np.arange(len(makers))

    def named(profiles: Numbers) -> Any:
        return names.take(pa.array(place_of[profiles]))

    sets = np.flatnonzero(settled.is_settled)
    seen_as = settled.profile_of[sets]
    telling = np.unique(offers.set_of[settled.linked])
    event_ids, happened_at = arrivals_of(engine, coded.set_no[telling])

    def events_of(numbers: Numbers) -> Any:
        return event_ids.take(pa.array(np.searchsorted(telling, numbers)))

    of_link, of_attached = offers.set_of[settled.linked], offers.set_of[settled.attached]
    linked = coded.identifiers.take(pa.array(coded.code_of[settled.linked]))
    attached = coded.identifiers.take(pa.array(coded.code_of[settled.attached]))
    winners = names.take(pa.array(place_of[[winner for _, winner, _ in settled.merges]], type=pa.int64())).to_pylist()
    losers = names.take(pa.array(place_of[[loser for _, _, loser in settled.merges]], type=pa.int64())).to_pylist()
    showing = events_of(np.array([number for number, _, _ in settled.merges], dtype=np.int64)).to_pylist()
    return SettledSets(
        found=pa.table(
            {
                "set_no": pa.array(coded.set_no[sets]),
                "profile_id": named(settled.stands_for[seen_as]),
                "seen_as": named(seen_as),
                "is_conflict": pa.array(np.zeros(len(sets), dtype=np.bool_)),
            }
        ),
        links=pa.table(
            {
                "event_id": events_of(of_link),
                "key": linked.column("key"),
                "kind": linked.column("kind"),
                "profile_id": named(settled.profile_of[of_link]),
            }
        ),
        profiles=ordered(
            pa.table(
                {
                    "profile_id": named(clusters + makers),
                    "created_rank": pa.array(coded.set_no[makers]),
                    "first_key": coded.identifiers.column("key").take(pa.array(strongest)),
                    "created_by": events_of(makers),
                }
            ),
            "profile_id",
        ),
        identifiers=ordered(
            pa.table(
                {
                    "key": attached.column("key"),
                    "kind": attached.column("kind"),
                    "value": attached.column("value"),
                    "profile_id": named(settled.profile_of[of_attached]),
                    "event_id": events_of(of_attached),
                    "seen_at": pa.array(happened_at[np.searchsorted(telling, of_attached)]),
                }
            ),
            "key",
        ),
        merges=tuple(
            Merge(event_id=event_id, winner=winner, loser=loser)
            for event_id, winner, loser in zip(showing, winners, losers, strict=True)
        ),
        left=pa.table({"set_no": pa.array(coded.set_no[~settled.is_settled])}),
        broken=tuple(
            (names[int(place_of[profile])].as_py(), broken) for profile, broken in overgrown(rules, offers, settled)
        ),
    )
