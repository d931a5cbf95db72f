"""Each rule finds its change and says what it breaks; each example is held against another implementation's validator."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft4Validator, Draft7Validator, Draft202012Validator, meta

from activation_dagster.domain.compatibility.acceptance import surely_accepts
from activation_dagster.domain.compatibility.changes import Change, Direction, Mode, Policy
from activation_dagster.domain.compatibility.documents import Document
from activation_dagster.domain.compatibility.engine import RULES, compare, compare_all
from activation_dagster.domain.compatibility.instances import candidates
from activation_dagster.domain.compatibility.keywords import ASSERTING
from activation_dagster.errors import WrongUse
from tests.domain.compatibility.cases import KNOWN_CASES, RULE_CASES, Case
from tests.domain.compatibility.generated import VALUES, in_draft_07, versions
from tests.domain.compatibility.registry_cases import CONFLUENT, OTHERWISE, SCHEMAVER, SENTRY

LETTERS = {Direction.BACKWARD: "b", Direction.FORWARD: "f"}

IN_07 = {"$schema": "http://json-schema.org/draft-07/schema#"}
IN_2020 = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
DRAFTS = {"words of draft-07": Draft7Validator, "words of draft-04": Draft4Validator}


def changes(old: Any, new: Any, *, mode: Mode = Mode.FULL) -> tuple[Change, ...]:
    return compare(Document(old), Document(new), mode=mode).changes


def breaks(found: tuple[Change, ...]) -> str:
    return "".join(letter for direction, letter in LETTERS.items() if any(direction in one.breaks for one in found))


def assert_proves(old: Any, new: Any, change: Change, validator: Any = Draft202012Validator) -> None:
    """The example is valid on one side and refused on the other, for jsonschema-rs."""
    assert change.example is not None
    by_old, by_new = (validator(one).is_valid(change.example.instance) for one in (old, new))
    assert (by_old, by_new) == ((True, False) if change.example.refused_by == "new" else (False, True))


@pytest.mark.parametrize("case", RULE_CASES, ids=lambda case: f"{case.rule}-{case.breaks or 'nothing'}")
def test_a_rule_finds_its_change_and_what_it_breaks_and_proves_it(case: Case) -> None:
    found = changes(case.old, case.new)
    mine = [change for change in found if change.rule == case.rule]
    assert mine, [change.rule for change in found]
    assert breaks(found) == case.breaks
    for change in found:
        assert (change.example is not None) == (bool(change.breaks) and case.proves)
        if change.example is not None:
            assert_proves(case.old, case.new, change)


@pytest.mark.parametrize("case", RULE_CASES, ids=lambda case: f"{case.rule}-{case.breaks or 'nothing'}")
def test_what_breaks_one_way_breaks_the_other_way_round(case: Case) -> None:
    turned = breaks(changes(case.new, case.old))
    assert set(turned) == {{"b": "f", "f": "b"}[letter] for letter in case.breaks}


def test_every_rule_has_a_case_a_purpose_and_a_name_of_its_own() -> None:
    ids = [rule.rule_id for rule in RULES]
    assert len(ids) == len(set(ids))
    assert {case.rule for case in RULE_CASES} == set(ids)
    assert all(rule.purpose.endswith(".") and rule.rule_id.isupper() for rule in RULES)


@pytest.mark.parametrize("name", KNOWN_CASES)
def test_known_cases_have_the_known_verdict(name: str) -> None:
    assert_verdict(name, *KNOWN_CASES[name])


def _is_draft_07(*schemas: Any) -> bool:
    return any(word in repr(schemas) for word in ("'additionalItems'", "'dependencies'", "'items': ["))


@pytest.mark.parametrize("name", CONFLUENT | SENTRY | SCHEMAVER)
def test_other_registries_decide_alike(name: str) -> None:
    assert_verdict(name, *(CONFLUENT | SENTRY | SCHEMAVER)[name])


@pytest.mark.parametrize("name", OTHERWISE)
def test_where_we_decide_otherwise_there_is_a_reason(name: str) -> None:
    old, new, expected, why = OTHERWISE[name]
    assert_verdict(name, old, new, expected)
    assert why.endswith(".")


def assert_verdict(name: str, old: Any, new: Any, expected: bool) -> None:
    """The verdict is the expected one, turned round as well, and each example is told apart by another's validator."""
    verdict = compare(Document(old), Document(new), mode=Mode.BACKWARD)
    assert verdict.is_compatible is expected
    forward = compare(Document(new), Document(old), mode=Mode.FORWARD)
    assert forward.is_compatible is expected, "forward is backward with the versions exchanged"
    for change in verdict.changes:
        if change.example is not None:
            spoken = next((draft for words, draft in DRAFTS.items() if words in name), None)
            assert_proves(
                old, new, change, spoken or (Draft7Validator if _is_draft_07(old, new) else Draft202012Validator)
            )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(versions(), st.lists(VALUES, max_size=8))
def test_what_is_called_compatible_is_compatible_and_every_example_proves_its_change(
    pair: tuple[Any, Any], values: list[Any]
) -> None:
    old, new = pair
    assume(all(meta.is_valid(IN_2020 | one) for one in pair))
    assert_sound(old, new, values, Draft202012Validator)


def assert_sound(old: Any, new: Any, values: list[Any], validator: Any) -> None:
    """No value is valid under a writer and refused by a reader that is called compatible; examples prove the rest."""
    olds, news = Document(old), Document(new)
    found = compare(olds, news).changes
    judges = {Direction.BACKWARD: (old, new), Direction.FORWARD: (new, old)}
    edges = [*values, *(value for one in (olds, news) for value in itertools.islice(candidates(one.root), 60))]
    for direction, (writer, reader) in judges.items():
        if not any(direction in change.breaks for change in found):
            writes, reads = validator(writer), validator(reader)
            assert [value for value in edges if writes.is_valid(value) and not reads.is_valid(value)] == []
    for change in found:
        if change.example is not None:
            assert_proves(old, new, change, validator)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(versions(), st.lists(VALUES, max_size=8))
def test_the_same_holds_in_the_words_of_draft_07(pair: tuple[Any, Any], values: list[Any]) -> None:
    old, new = ({**in_draft_07(one), **IN_07} for one in pair)
    assume(all(meta.is_valid(one) for one in (old, new)))
    assert_sound(old, new, values, Draft7Validator)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(versions(), st.lists(VALUES, max_size=8))
def test_our_judge_of_one_value_agrees_with_another(pair: tuple[Any, Any], values: list[Any]) -> None:
    schema = pair[0]
    assume(meta.is_valid(IN_2020 | schema))
    document, other = Document(schema), Draft202012Validator(schema)
    for value in [*values, *itertools.islice(candidates(document.root), 40)]:
        assert surely_accepts(document.root, value) == other.is_valid(value), value


WITH_DEFAULTS = st.fixed_dictionaries(
    {
        "type": st.just("object"),
        "properties": st.dictionaries(
            st.sampled_from("ab"),
            st.sampled_from([{"type": "integer", "default": 0}, {"type": "integer"}, {"type": "string", "default": 0}]),
        ),
        "required": st.lists(st.sampled_from("abc"), unique=True, max_size=2),
        "additionalProperties": st.booleans(),
    },
    optional={"maxProperties": st.just(1)},
)


@settings(max_examples=200, deadline=None)
@given(WITH_DEFAULTS, WITH_DEFAULTS, st.lists(st.dictionaries(st.sampled_from("abc"), st.sampled_from([0, "x"]))))
def test_compatible_with_a_default_means_with_the_default_filled_in(old: Any, new: Any, values: list[Any]) -> None:
    if not compare(Document(old), Document(new), mode=Mode.BACKWARD).is_compatible:
        return
    defaults = {key: one["default"] for key, one in new["properties"].items() if "default" in one}
    for value in values:
        if Draft202012Validator(old).is_valid(value):
            filled = {key: one for key, one in defaults.items() if key in new["required"]} | value
            assert Draft202012Validator(new).is_valid(filled)


def test_the_same_schema_has_no_changes() -> None:
    for case in RULE_CASES:
        assert changes(case.old, case.old) == ()


def test_a_mode_decides_what_counts_and_never_what_is_told() -> None:
    old, new = {"type": "number"}, {"type": "integer"}
    told = {mode: compare(Document(old), Document(new), mode=mode) for mode in Mode}
    assert {mode for mode, verdict in told.items() if not verdict.is_compatible} == {
        Mode.BACKWARD,
        Mode.BACKWARD_TRANSITIVE,
        Mode.FULL,
        Mode.FULL_TRANSITIVE,
    }
    assert {verdict.changes[0].rule for verdict in told.values()} == {"TYPE_NARROWED"}


def test_transitive_modes_look_at_all_versions_and_the_others_at_the_newest() -> None:
    olds = [("v1", Document({"type": "string"})), ("v2", Document({"type": ["string", "integer"]}))]
    new = Document({"type": ["integer", "string", "null"]})
    assert compare_all(olds, new, mode=Mode.BACKWARD_TRANSITIVE).is_compatible
    reused = [("v1", Document({"enum": ["a", "b"]})), ("v2", Document({"enum": ["a"]}))]
    again = Document({"enum": ["a", "c"]})
    assert compare_all(reused, again, mode=Mode.BACKWARD).is_compatible
    verdict = compare_all(reused, again, mode=Mode.BACKWARD_TRANSITIVE)
    assert [change.against for change in verdict.changes if change.is_breaking] == ["v1"]


def test_a_declared_key_breaks_an_open_model_only_where_the_policy_is_strict() -> None:
    old, new = {"type": "object"}, {"type": "object", "properties": {"a": {"type": "string"}}}
    for policy, is_compatible in ((Policy.STRICT, False), (Policy.DECLARED, True)):
        verdict = compare(Document(old), Document(new), policy=policy)
        assert verdict.is_compatible is is_compatible
        assert [change.rule for change in verdict.changes] == ["PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL"]


def test_a_reference_by_the_name_of_the_file_stays_inside_it() -> None:
    def schema(kind: str) -> dict[str, Any]:
        return {
            "$id": "https://shop.example/order.json",
            "properties": {
                "a": {"$ref": "order.json#/$defs/part"},
                "b": {"$ref": "/part.json"},
                "c": {"$ref": "#here"},
            },
            "$defs": {"part": {"$id": "part.json", "$anchor": "here", "type": kind}},
        }

    assert breaks(changes(schema("integer"), schema("number"))) == "f"
    assert [change.path for change in changes(schema("integer"), schema("number"))] == [
        "#/properties/a",
        "#/properties/b",
        "#/properties/c",
    ]


@pytest.mark.parametrize("depth", [100, 3000])
def test_a_schema_too_deep_to_compare_is_told_in_a_sentence(depth: int) -> None:
    def nested(kind: str) -> Any:
        schema: Any = {"type": kind}
        for _ in range(depth):
            schema = {"properties": {"a": schema}}
        return schema

    with pytest.raises(WrongUse, match="nested more than 60 deep"):
        changes(nested("string"), nested("integer"))


JUNK = st.sampled_from([None, -1, 1.5, "x", [], [1], {}, {"a": 1}, True, [[]], ["x"], {"$ref": "#/a"}, {"a": ["b"]}, 0])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    versions(),
    st.lists(
        st.tuples(st.sampled_from(sorted(ASSERTING | {"$ref", "$id", "dependencies"})), JUNK), min_size=1, max_size=3
    ),
)
def test_what_is_no_schema_ends_in_a_sentence_and_never_in_a_crash(
    pair: tuple[Any, Any], junk: list[tuple[str, Any]]
) -> None:
    old, new = pair
    broken = {**new, "properties": {"a": dict(junk)}} if "type" in new else {**new, **dict(junk)}
    for one, other in ((old, broken), (broken, old)):
        with contextlib.suppress(WrongUse):
            compare(Document(one), Document(other))


@pytest.mark.parametrize(
    "content",
    [
        {"$ref": "https://elsewhere.example/schema.json"},
        {"$ref": "#/$defs/nowhere"},
        {"$ref": "#nobody"},
        {"$ref": "#"},
        {"properties": {"a": 3}},
        ["no schema"],
    ],
    ids=["remote", "missing", "anchor", "circle", "number", "list"],
)
def test_what_is_no_schema_is_told_in_a_sentence(content: Any) -> None:
    with pytest.raises(WrongUse, match=r"^The schema in that\.json .+\. .+\.$"):
        compare(Document({"properties": {"a": True}}), Document(content, name="that.json"))
