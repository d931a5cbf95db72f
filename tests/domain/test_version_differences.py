"""Two versions side by side: every property that is not as it was is told, in words."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from activation_dagster.domain.contracts import EventVersion, PropertyRule, PropertyType
from activation_dagster.domain.version_differences import Difference, differences, further_rules

RULE = PropertyRule(name="x", type=PropertyType.STRING, is_required=False)
CHANGED: dict[str, Any] = {
    "type": PropertyType.DATE,
    "is_required": True,
    "enum": ("a", "b"),
    "minimum": 1.0,
    "maximum": 2.5,
    "is_pii": True,
    "description": "words",
}


def version(*rules: PropertyRule) -> EventVersion:
    return EventVersion(version="v1", properties=rules)


def test_what_was_added_removed_and_kept_is_told_apart() -> None:
    other, gone = replace(RULE, name="new", is_required=True), replace(RULE, name="gone")
    found = differences(version(RULE, gone), version(other, RULE))
    assert [(one.property, one.difference, one.sentence) for one in found] == [
        ("new", Difference.ADDED, "string, required"),
        ("gone", Difference.REMOVED, "was string"),
    ]


@pytest.mark.parametrize("name", CHANGED)
def test_each_field_of_a_rule_that_changed_is_told(name: str) -> None:
    (found,) = differences(version(RULE), version(replace(RULE, **{name: CHANGED[name]})))
    assert found.difference is Difference.CHANGED
    assert "→" in found.sentence


def test_no_field_of_a_rule_is_overlooked() -> None:
    assert {field.name for field in fields(PropertyRule)} >= set(CHANGED)
    assert differences(version(RULE), version(RULE)) == ()


def test_further_rules_are_those_that_are_not_at_their_default() -> None:
    assert further_rules(RULE) == ()
    assert further_rules(replace(RULE, enum=("a", "b"), maximum=2.5)) == ("enum: a | b", "maximum: 2.5")
