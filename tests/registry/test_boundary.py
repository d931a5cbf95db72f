"""One event at the boundary is judged as the readable judge judges it, word for word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from activation_dagster.domain.contracts import EventVersion, Undeclared, judge, taken
from activation_dagster.registry.boundary import judged_at_boundary, taken_at_boundary
from activation_dagster.registry.loading import load_contracts
from tests.registry.test_json_schema import CONTRACT, EVENTS, event_versions


@settings(max_examples=300)
@given(event_versions(), EVENTS | st.none())
def test_the_boundary_says_what_the_readable_judge_says(version: EventVersion, values: dict[str, Any] | None) -> None:
    assert judged_at_boundary(CONTRACT, version, values) == judge(CONTRACT, version, values)


@settings(max_examples=300)
@given(event_versions(), EVENTS | st.none(), st.sampled_from(Undeclared))
def test_the_boundary_reads_what_the_readable_rules_read(
    version: EventVersion, values: dict[str, Any] | None, undeclared: Undeclared
) -> None:
    contract = replace(CONTRACT, undeclared=undeclared)
    assert taken_at_boundary(contract, version, values) == taken(contract, version, values)


def test_every_published_version_is_judged_at_the_boundary() -> None:
    contracts = load_contracts(Path("contracts"), environment="demo")
    for contract in contracts.events.values():
        for version in contract.versions:
            required = {rule.name: None for rule in version.properties if rule.is_required}
            assert judged_at_boundary(contract, version, required) == judge(contract, version, required)
            assert judged_at_boundary(contract, version, None) == judge(contract, version, None)
