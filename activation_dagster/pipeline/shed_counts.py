"""Shed counts: how many events of a contract were dropped on arrival, for whoever asks why somebody had none."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection

from sqlalchemy import Connection, select

from activation_dagster.domain.audiences import Audience, MeasureCondition
from activation_dagster.domain.batches import Phase
from activation_dagster.domain.workflows import EventTrigger, Workflow
from activation_dagster.registry.contract_set import ContractSet
from activation_dagster.state.tables import batch_phases

SHED_OF = "shed_of:"
"""Before a contract's name among the counts of a batch's verdicts."""


def shed_by_contract(connection: Connection, contracts: Collection[str]) -> Counter[str]:
    """How many events of these contracts were shed, in all batches whose verdicts are closed."""
    counts = select(batch_phases.c.counts).where(
        batch_phases.c.phase == Phase.VALIDATED.value,
        batch_phases.c.closed_at.is_not(None),
        batch_phases.c.counts.contains(SHED_OF, autoescape=True),
    )
    found: Counter[str] = Counter()
    for (counted,) in connection.execute(counts):
        for name, count in json.loads(counted).items():
            if name.startswith(SHED_OF) and name.removeprefix(SHED_OF) in contracts:
                found[name.removeprefix(SHED_OF)] += count
    return found


def shed_text(connection: Connection, contracts: ContractSet, workflow: Workflow, audience: Audience) -> str:
    """A sentence on the shed events that a workflow or its audience would have read; empty where there are none."""
    found = shed_by_contract(connection, _read_by(contracts, workflow, audience))
    if not found:
        return ""
    told = ", ".join(f"{count:,} of '{contract}'" for contract, count in sorted(found.items()))
    return f" Events were shed ({told}); what is left of those names nobody, so one of this person's may be among them."


def _read_by(contracts: ContractSet, workflow: Workflow, audience: Audience) -> set[str]:
    names = {
        condition.measure.event_name for condition in audience.conditions if isinstance(condition, MeasureCondition)
    }
    read = {contract.slug for contract in contracts.events.values() if contract.name in names}
    return read | ({workflow.trigger.event} if isinstance(workflow.trigger, EventTrigger) else set())
