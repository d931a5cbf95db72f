"""The relations that contracts become, put on an engine as the pipeline puts them, for contracts made in a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from activation_dagster.domain.audiences import Audience
from activation_dagster.domain.consent import ConsentRules
from activation_dagster.domain.workflows import Workflow
from activation_dagster.lake.engine import Engine
from activation_dagster.pipeline.decide import _put_workflows
from activation_dagster.pipeline.promises import put_batch, put_promises
from activation_dagster.registry.contract_set import ContractSet
from activation_dagster.registry.loading import load_contracts

ROOT = Path(__file__).resolve().parent.parent.parent
SQL = ROOT / "sql"


@cache
def contracts_today() -> ContractSet:
    """The repository's own contracts."""
    return load_contracts(ROOT / "contracts", environment="demo")


class Promised:
    """An engine and contracts, in the place of a run; what the pipeline's own functions read of one, and no more."""

    def __init__(self, *, engine: Engine) -> None:
        self.engine = engine
        self.contracts: ContractSet = contracts_today()
        self.batch: Any = None

    def with_contracts(
        self,
        *,
        audiences: Mapping[str, Audience] | None = None,
        consent: ConsentRules | None = None,
        workflows: Mapping[str, Workflow] | None = None,
    ) -> None:
        """Put the relations of these contracts, in place of the repository's; only of kinds that are given."""
        today = contracts_today()
        self.contracts = replace(
            today,
            audiences=today.audiences if audiences is None else audiences,
            consent=today.consent if consent is None else consent,
            workflows=today.workflows if workflows is None else workflows,
        )
        run: Any = self
        if audiences is not None or consent is not None:
            put_promises(run)
        if workflows is not None:
            _put_workflows(run)

    def at(self, as_of: datetime, *, batch_id: str = "b1") -> None:
        """Put the relation `batch` at an instant."""
        self.batch = SimpleNamespace(batch_id=batch_id, as_of=as_of)
        self.engine.make("segments", "select 0 as segment_no, timestamp '2026-03-01 10:00:00' as landed_at")
        run: Any = self
        put_batch(run)
