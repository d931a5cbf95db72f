"""Masked data keeps its shape and loses every value that could be somebody's."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.domain.masking import masked, masked_event, shown_payload

SECRET = "ann@example.com"
values = st.recursive(
    st.just(SECRET) | st.just(4711) | st.just(47.11) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)


@given(values)
def test_no_text_and_no_number_survives(value: Any) -> None:
    shown = json.dumps(masked(value))
    assert SECRET not in shown
    assert "47" not in shown


@given(values)
def test_the_shape_stays(value: Any) -> None:
    def shape(found: Any) -> Any:
        if isinstance(found, dict):
            return {key: shape(inner) for key, inner in found.items()}
        return [shape(inner) for inner in found] if isinstance(found, list) else None

    assert shape(masked(value)) == shape(value)


@given(st.dictionaries(st.sampled_from(["type", "event", "timestamp", "userId", "context", "traits"]), values))
def test_an_event_shows_nothing_that_is_no_name_and_no_time(event: dict[str, Any]) -> None:
    assert SECRET not in json.dumps(masked_event(event))
    assert SECRET not in json.dumps(shown_payload(json.dumps(event).encode(), reveal=False))


def test_an_event_keeps_its_call_its_name_its_version_and_its_sound_times() -> None:
    event = {
        "type": "track",
        "event": "Product Purchased",
        "timestamp": "2026-03-01T10:15:30Z",
        "sentAt": "call ann",
        "userId": SECRET,
        "context": {"protocols": {"event_version": "v2"}, "ip": "10.0.0.1"},
    }
    assert masked_event(event) == {
        "type": "track",
        "event": "Product Purchased",
        "timestamp": "2026-03-01T10:15:30Z",
        "sentAt": "<text of 8>",
        "userId": "<text of 15>",
        "context": {"protocols": {"event_version": "v2"}, "ip": "<text of 8>"},
    }


def test_a_version_that_is_named_by_its_number_is_shown_and_no_number_of_a_person() -> None:
    def shown(version: object) -> object:
        return masked_event({"context": {"protocols": {"event_version": version}}})["context"]["protocols"]

    assert shown(7) == {"event_version": 7}
    assert shown(4_915_112_345_678) == {"event_version": "<integer>"}
    assert shown(True) == {"event_version": True}


def test_bytes_that_are_no_event_are_shown_as_so_many_bytes() -> None:
    assert shown_payload(b"\xff{", reveal=False) == {"bytes": 2, "begins": "ff7b"}
    assert shown_payload(b'{"a":NaN}', reveal=False) == {"bytes": 9, "begins": b'{"a":NaN}'.hex()}
