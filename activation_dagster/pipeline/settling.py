"""Settling: of a large batch's identifiers, those that touch no rule are decided many at once.

What is settled here is what `IdentityGraph` would have decided; the sets that may touch a rule are left to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.state import identity as graph_state

if TYPE_CHECKING:
    from activation_dagster.domain.components import Offers
    from activation_dagster.lake.identity_sets import CodedSets
    from activation_dagster.lake.settled_sets import SettledSets

UNCOUNTED = 1 << 32
"""More identifiers than any limit allows."""


def settle_sets(run: BatchRun) -> SettledSets:
    """Settle what can be settled of `identifier_sets`, against the graph as it stood before the batch."""
    from activation_dagster.domain.components import settle  # here: only large batches need numpy and pyarrow
    from activation_dagster.lake.identity_sets import coded_sets
    from activation_dagster.lake.settled_sets import settled_sets

    rules = run.contracts.identity
    coded = coded_sets(run.engine, rules)
    offers, people = _offers(run, coded)
    settled = settle(rules, offers)
    return settled_sets(run.engine, rules, coded=coded, offers=offers, people=people, settled=settled)


def _offers(run: BatchRun, coded: CodedSets) -> tuple[Offers, Sequence[str]]:
    """The coded sets beside what state knew of them before the batch, and the people of its clusters, oldest first."""
    import numpy as np

    from activation_dagster.domain.components import Offers
    from activation_dagster.lake.identity_sets import places_of

    keys: Any = coded.identifiers.column("key")
    with run.places.state.read() as connection:
        holders = graph_state.holders_of(connection, keys.to_pylist, up_to_seq=run.position - 1)
    holder_of = np.full(len(coded.kind_of), -1, dtype=np.int64)
    held = np.zeros((len(holders.people), len(run.contracts.identity.kinds)), dtype=np.int64)
    if holders.people:
        holder_of[places_of(keys, holders.keys)] = np.array(holders.holders, dtype=np.int64)
        place_of = {kind.name: place for place, kind in enumerate(run.contracts.identity.kinds)}
        for (person, kind), count in holders.held.items():
            # a kind that the contract has no more is counted in no column: such a person is left to the exact way
            held[person, place_of.get(kind, 0)] += count if kind in place_of else UNCOUNTED
    offers = Offers(
        set_of=coded.set_of,
        code_of=coded.code_of,
        kind_of=coded.kind_of,
        is_whole=coded.is_whole,
        holder_of=holder_of,
        held=held,
    )
    return offers, holders.people
