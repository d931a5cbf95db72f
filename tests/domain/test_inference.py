"""What traffic speaks for: required, types, formats, enumerations; and that a proposal never tells of a person."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.domain.contracts import Call, PropertyType
from activation_dagster.domain.formats import Format
from activation_dagster.domain.inference import (
    FEWEST_SPEAKERS,
    MOST_PROPERTIES,
    EventEvidence,
    InnerEvidence,
    PropertyEvidence,
    RepeatedText,
    _round_down,
    is_shown_name,
    propose,
)
from activation_dagster.domain.proposals import ProposedProperty, slug_of

NOTHING = PropertyEvidence(
    name="x", present=0, nulls=0, texts=0, numbers=0, integers=0, booleans=0, objects=0, arrays=0, timestamps=0,
    dates=0, emails=0, uuids=0, uris=0, phones=0, countries=0, currencies=0, personal_texts=0, least=None, greatest=None,
    longest=None, different_texts=0,
)  # fmt: skip
TEXTS = replace(NOTHING, present=1000, texts=1000, different_texts=2, longest=3)


def proposed(found: PropertyEvidence, *, events: int = 1000, texts: tuple[RepeatedText, ...] = ()) -> ProposedProperty:
    """The rule for one property of an event."""
    evidence = EventEvidence(
        call=Call.TRACK, name="E", seen=events, events=events, properties=[found], texts={found.name: texts}
    )
    return propose(evidence).properties[0]


@pytest.mark.parametrize(
    ("present", "events", "is_required"), [(1000, 1000, True), (995, 1000, True), (994, 1000, False), (19, 19, False)]
)
def test_required_is_what_nearly_all_of_enough_events_have(present: int, events: int, is_required: bool) -> None:
    found = proposed(replace(TEXTS, present=present, texts=present), events=events)
    assert found.rule.is_required is is_required


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (replace(NOTHING, present=9, numbers=9, integers=9), PropertyType.INTEGER),
        (replace(NOTHING, present=9, numbers=9, integers=8), PropertyType.NUMBER),
        (replace(NOTHING, present=9, texts=9, timestamps=9), PropertyType.TIMESTAMP),
        (replace(NOTHING, present=9, texts=9, dates=9), PropertyType.DATE),
        (replace(NOTHING, present=9, texts=9, dates=8), PropertyType.STRING),
        (replace(NOTHING, present=9, booleans=9), PropertyType.BOOLEAN),
        (replace(NOTHING, present=9, objects=9), PropertyType.OBJECT),
        (replace(NOTHING, present=9, arrays=9), PropertyType.ARRAY),
    ],
)
def test_the_type_is_the_narrowest_that_nearly_all_values_keep(found: PropertyEvidence, wanted: PropertyType) -> None:
    assert proposed(found).rule.type is wanted


def test_values_of_another_type_are_counted_and_said() -> None:
    found = proposed(replace(NOTHING, present=1000, numbers=900, integers=900, texts=100))
    assert found.rule.type is PropertyType.INTEGER
    assert any("100 of another type MIXED" in note for note in found.notes)


def test_an_enumeration_is_what_several_people_say_often() -> None:
    said = (RepeatedText(text="red", events=600, speakers=50), RepeatedText(text="blue", events=400, speakers=40))
    assert proposed(TEXTS, texts=said).rule.enum == ("red", "blue")


@pytest.mark.parametrize(
    "spoiling",
    [
        RepeatedText(text="blue", events=400, speakers=FEWEST_SPEAKERS - 1),
        RepeatedText(text="ann@shop.example", events=400, speakers=50),
        RepeatedText(text="Order 4711999", events=400, speakers=50),
    ],
)
def test_a_text_that_may_tell_of_a_person_is_shown_nowhere(spoiling: RepeatedText) -> None:
    found = proposed(TEXTS, texts=(RepeatedText(text="scarlet", events=600, speakers=50), spoiling))
    assert found.rule.enum == ()
    assert "scarlet" not in str(found)
    assert spoiling.text not in str(found)


def test_what_a_personal_property_says_is_shown_in_no_form() -> None:
    said = (RepeatedText(text="male", events=500, speakers=50), RepeatedText(text="female", events=500, speakers=50))
    found = proposed(replace(TEXTS, name="gender"), texts=said)
    assert (found.rule.is_pii, found.rule.enum) == (True, ())
    assert "male" not in str(found.notes)
    aged = proposed(replace(NOTHING, name="age", present=9, numbers=9, integers=9, least=17, greatest=93))
    assert aged.rule.is_pii
    assert not any("rounded" in note for note in aged.notes)


@pytest.mark.parametrize("name", ["email", "homePhone", "first_name", "Date of Birth", "ip", "shipping address"])
def test_personal_data_is_guessed_by_the_name(name: str) -> None:
    assert proposed(replace(TEXTS, name=name)).rule.is_pii


@pytest.mark.parametrize("name", ["product_id", "page", "package", "shipping_state", "currency", "tip", "image"])
def test_other_names_are_not_guessed_to_be_personal(name: str) -> None:
    assert not proposed(replace(TEXTS, name=name)).rule.is_pii


def test_personal_data_is_guessed_by_the_shape_of_values() -> None:
    found = proposed(replace(TEXTS, name="login", emails=1000, personal_texts=1000))
    assert found.rule.is_pii
    assert found.rule.format is Format.EMAIL


@pytest.mark.parametrize("name", ["ann@shop.example", "user_4711999", "a.b", "", "é"])
def test_a_property_name_that_may_be_data_is_not_shown(name: str) -> None:
    assert not is_shown_name(name)
    evidence = EventEvidence(
        call=Call.TRACK, name="E", seen=9, events=9, properties=[replace(TEXTS, name=name)], texts={}
    )
    found = propose(evidence)
    assert found.properties == ()
    assert not name or name not in "".join(found.notes)
    assert any("1 more properties" in note for note in found.notes)


def test_what_names_something_is_no_enumeration() -> None:
    said = (RepeatedText(text="shirt", events=600, speakers=50), RepeatedText(text="shoe", events=400, speakers=40))
    assert proposed(replace(TEXTS, name="product_id"), texts=said).rule.enum == ()


def test_keys_inside_objects_are_told_where_half_of_them_have_them() -> None:
    often, rare = replace(TEXTS, name="city", present=60), replace(TEXTS, name="mary", present=1)
    inner = InnerEvidence(path="seller", objects=100, properties=[often, rare])
    found = replace(NOTHING, name="seller", present=100, objects=100)
    evidence = EventEvidence(
        call=Call.TRACK, name="E", seen=100, events=100, properties=[found], texts={}, inner=[inner]
    )
    notes = "; ".join(propose(evidence).properties[0].notes)
    assert "inside seller (100 objects): city string 60.0 % and rarer keys" in notes
    assert "mary" not in notes


def test_an_event_that_makes_up_its_names_is_told_so() -> None:
    many = [replace(TEXTS, name=f"p{number}") for number in range(MOST_PROPERTIES)]
    evidence = EventEvidence(call=Call.TRACK, name="E", seen=9, events=9, properties=many, texts={})
    assert any("made up" in note for note in propose(evidence).notes)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
def test_a_round_bound_lies_outside_and_within_a_factor_of_five(value: float) -> None:
    low = _round_down(value)
    assert low <= value * (1 + 1e-12) or low <= value
    if abs(value) > 1e-300:
        assert abs(low) <= abs(value) * 5 * (1 + 1e-9)


@pytest.mark.parametrize(
    ("name", "slug"),
    [("Order Completed", "order_completed"), ("orderCompleted", "order_completed"), ("3D View!", "event_3d_view")],
)
def test_a_slug_is_the_name_in_snake_case(name: str, slug: str) -> None:
    assert slug_of(name) == slug
