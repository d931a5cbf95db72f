"""Checks judge what a batch's relations said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from activation_dagster.defs.checks import OF_BATCHES
from activation_dagster.defs.findings import Worked
from activation_dagster.domain.batches import Phase, PhaseReport

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)


def worked(versions: dict[str, int]) -> Worked:
    """A batch of ten accepted events, by what `look` calls their contract and version."""
    batch: Any = None
    report = PhaseReport(batch_id="b1", phase=Phase.VALIDATED, counts={"accepted": 10}, tables={}, ran_before=False)
    return Worked(
        batch=batch,
        reports={Phase.VALIDATED: report},
        offending={},
        versions=versions,
        late=0,
        occurred_until=None,
        received_until=None,
        newest_arrival=None,
        recent=(),
        looked_at=NOW,
    )


@pytest.mark.parametrize(
    ("versions", "passes"),
    [
        ({"product_purchased v1": 10}, True),
        ({"product_purchased v1": 9, "unknown_event ?": 1}, True),
        ({"product_purchased v1": 9, "? ?": 1}, False),
        ({"product_purchased v1": 9, "product_purchased ?": 1}, False),
        ({"product_purchased v1": 9}, False),
    ],
)
def test_an_accepted_event_names_its_contract_and_version_or_was_declared_to_be_kept(
    versions: dict[str, int], passes: bool
) -> None:
    (check,) = [one for one in OF_BATCHES if one.name == "contract_coverage"]
    assert check.is_blocking
    assert check.judge(worked(versions)).passed is passes
