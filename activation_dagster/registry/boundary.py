"""The boundary judge: whether one event keeps its contract, by its JSON Schema compiled once, in microseconds.

It says yes or no. What is broken is said by the readable judge, for the few events that break something, so that the
words are the same everywhere. Defaults are those that the schema writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from jsonschema_rs import Draft202012Validator

from activation_dagster.domain.contracts import EventContract, EventVersion, judge, kept
from activation_dagster.domain.envelope import judge_envelope
from activation_dagster.registry.json_schema import judging_schema

VERSIONS_KEPT = 4_096
"""Compiled schemas kept; a version is a value, so it is compiled again only when it was pushed out."""


@lru_cache(maxsize=VERSIONS_KEPT)
def _schema(version: EventVersion) -> dict[str, Any]:
    return judging_schema(version)


@lru_cache(maxsize=VERSIONS_KEPT)
def _compiled(version: EventVersion) -> Draft202012Validator:
    return Draft202012Validator(_schema(version))


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


class CompiledEnvelopeJudge:
    """One version of the envelope's contract, compiled once and kept by whoever judges many events."""

    def __init__(self, version: EventVersion) -> None:
        self.version = version
        self._is_valid = _compiled(version).is_valid

    def violations(self, event: Mapping[str, Any]) -> tuple[str, ...]:
        """As `envelope_judged_at_boundary`."""
        return () if self._is_valid(event) else judge_envelope(self.version, event)


def judged_at_boundary(
    contract: EventContract, version: EventVersion, values: Mapping[str, Any] | None
) -> tuple[str, ...]:
    """All violations of one version by the values of its section, sorted, as `domain.contracts.judge` gives them."""
    if _compiled(version).is_valid({} if values is None else values):
        return ()
    return judge(contract, version, values)


def envelope_judged_at_boundary(version: EventVersion, event: Mapping[str, Any]) -> tuple[str, ...]:
    """All violations of the envelope's contract by a whole event, as `domain.envelope.judge_envelope` gives them."""
    return () if _compiled(version).is_valid(event) else judge_envelope(version, event)


def taken_at_boundary(
    contract: EventContract, version: EventVersion, values: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What is read of an accepted event's section, as `domain.contracts.taken` gives it."""
    return _filled(_schema(version), kept(contract, version, values))


def _filled(schema: Mapping[str, Any], value: Any) -> Any:
    """A value with the defaults that its schema writes for what is absent."""
    if isinstance(value, dict) and "properties" in schema:
        found = dict(cast("dict[str, Any]", value))
        for name, inner in schema["properties"].items():
            if name in found or "default" in inner:
                found[name] = _filled(inner, found.get(name, inner.get("default")))
        return found
    if isinstance(value, list) and "items" in schema:
        return [_filled(schema["items"], one) for one in cast("list[Any]", value)]
    return cast("Any", value)
