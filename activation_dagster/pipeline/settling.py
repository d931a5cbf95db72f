"""Settling: of a large batch's identifiers, those that touch no rule are decided many at once.

What is settled here is what `IdentityGraph` would have decided; the sets that may touch a rule are left to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.state import identity as graph_state
from activation_dagster.state.adjudications import separated_keys

if TYPE_CHECKING:
    from activation_dagster.domain.components import Offers
    from activation_dagster.lake.identity_sets import CodedSets, KnownPeople
    from activation_dagster.lake.settled_sets import SettledSets


def settle_sets(run: BatchRun) -> SettledSets:
    """Settle what can be settled of `identifier_sets`, against the graph as it stood before the batch.

    Makes `known_values`: (kind, raw, owner) of each value as it came that state knew, with the profile it stands on.
    """
    from activation_dagster.domain.components import settle  # here: only large batches need numpy and pyarrow
    from activation_dagster.lake.identity_sets import coded_sets
    from activation_dagster.lake.settled_sets import settled_sets

    rules = run.contracts.identity
    coded = coded_sets(run.engine, rules)
    offers, known = _offers(run, coded)
    owners = known.owners.take(coded.raws.column("number"))
    run.engine.lend("known_values", coded.raws.append_column("owner", owners).filter(owners.is_valid()))
    settled = settle(rules, offers)
    return settled_sets(run.engine, rules, coded=coded, offers=offers, people=known.people, settled=settled)


def _offers(run: BatchRun, coded: CodedSets) -> tuple[Offers, KnownPeople]:
    """The coded sets beside what state knew of them before the batch, and that itself."""
    import numpy as np

    from activation_dagster.domain.components import Numbers, Offers
    from activation_dagster.lake.identity_sets import known_people

    keys: Any = coded.identifiers.column("key")
    with run.places.state.read() as connection:
        lines, redirects = graph_state.known_around(connection, keys.to_pylist, up_to_seq=run.position - 1)
        apart = separated_keys(connection, up_to_seq=run.position - 1)
        known = known_people(coded, lines, redirects, [kind.name for kind in run.contracts.identity.kinds])

    def ages(clusters: Numbers) -> Sequence[tuple[int, int, str]]:
        asked: list[str] = known.people.take(clusters).to_pylist()
        with run.places.state.read() as connection:
            created = graph_state.created_of(connection, asked, up_to_seq=run.position - 1)
        return [(*created[profile], profile) for profile in asked]

    if apart:  # a set that shows what a person keeps apart is left to the exact way
        present = np.flatnonzero([key in apart for key in keys.to_pylist()])
        coded.is_whole[coded.set_of[np.isin(coded.code_of, present)]] = False
    offers = Offers(
        set_of=coded.set_of,
        code_of=coded.code_of,
        kind_of=coded.kind_of,
        is_whole=coded.is_whole,
        holder_of=known.holder_of,
        held=known.held,
        ages=ages,
    )
    return offers, known
