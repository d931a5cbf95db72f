"""Texts made for a pattern are matched by it, for patterns as contracts have them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.domain.compatibility.documents import Document
from activation_dagster.domain.compatibility.engine import compare
from activation_dagster.domain.compatibility.json_values import matches
from activation_dagster.domain.compatibility.pattern_texts import texts_like


@pytest.mark.parametrize(
    "pattern",
    [
        "^[A-Z]{2}$",
        "^ord_[0-9]{6,}$",
        r"^\d{4}-\d{2}-\d{2}$",
        r"^[a-z0-9._%+-]+@[a-z0-9.-]+\.[a-z]{2,}$",
        "^(GB|DE)[0-9]+$",
        "^(?:x|y)?z*$",
        r"^\+[1-9]\d{1,14}$",
        "^[^0-9 ]+$",
        r"^#[0-9a-fA-F]{3,8}$",
        "",
    ],
)
def test_texts_are_matched_by_their_pattern(pattern: str) -> None:
    found = list(texts_like(pattern))
    assert found
    assert [text for text in found if not matches(pattern, text)] == []


@given(st.text(alphabet=r"ab09[]()^$.*+?{},\|-d", max_size=12))
def test_no_pattern_is_too_strange_to_be_left(pattern: str) -> None:
    assert all(len(text) <= 100_000 for text in texts_like(pattern))


def test_an_example_is_built_beside_a_required_text_with_a_pattern() -> None:
    order = {"type": "string", "pattern": "^ord_[0-9]{6}$"}
    old = {"type": "object", "properties": {"order": order, "sum": {"type": "number"}}, "required": ["order"]}
    new = {**old, "properties": {"order": order, "sum": {"type": "integer"}}}
    (change,) = compare(Document(old), Document(new)).changes
    assert change.example is not None
    assert change.example.instance == {"order": "ord_000000", "sum": 0.5}
