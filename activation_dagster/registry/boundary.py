"""The boundary judge: whether one event keeps its contract, by its JSON Schema compiled once, in microseconds.

It says yes or no. What is broken is said by the readable judge, for the few events that break something, so that the
words are the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jsonschema_rs import Draft202012Validator

from activation_dagster.domain.contracts import EventContract, EventVersion, judge
from activation_dagster.registry.json_schema import judging_schema

VERSIONS_KEPT = 4_096
"""Compiled schemas kept; a version is a value, so it is compiled again only when it was pushed out."""


@lru_cache(maxsize=VERSIONS_KEPT)
def _compiled(version: EventVersion) -> Draft202012Validator:
    return Draft202012Validator(judging_schema(version))


class CompiledJudge:
    """One version's judge, compiled once and kept by whoever judges many events of it."""

    def __init__(self, contract: EventContract, version: EventVersion) -> None:
        self.contract = contract
        self.version = version
        self._is_valid = _compiled(version).is_valid

    def violations(self, values: Mapping[str, Any] | None) -> tuple[str, ...]:
        """As `judged_at_boundary`."""
        if self._is_valid({} if values is None else values):
            return ()
        return judge(self.contract, self.version, values)


def judged_at_boundary(
    contract: EventContract, version: EventVersion, values: Mapping[str, Any] | None
) -> tuple[str, ...]:
    """All violations of one version by the values of its section, sorted, as `domain.contracts.judge` gives them."""
    if _compiled(version).is_valid({} if values is None else values):
        return ()
    return judge(contract, version, values)
