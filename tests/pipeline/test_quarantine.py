"""What waits can be counted and looked at, and looking shows nothing of a person unless asked."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.domain.masking import LONGEST_SHOWN_BYTES, masked, masked_event, shown_payload
from activation_dagster.domain.repairs import Selection
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.quarantine import listed, shown
from tests.pipeline.small_shop import NOW, bad_price, event, land, purchase, work


def test_nothing_waits_in_an_empty_environment(places: Places) -> None:
    assert listed(places) == ()
    assert shown(places) == ()


def test_what_waits_is_grouped_by_event_reason_and_field_with_its_owner(worked: Places) -> None:
    assert [(group.event, group.reason, group.field, group.events, group.owner) for group in listed(worked)] == [
        ("", "not_json", "", 1, "platform"),
        ("No Such Event", "unknown_event", "", 1, "platform"),
        ("product_purchased", "contract_violation", "properties.price", 1, "shop"),
    ]
    assert all(group.first_seen_at <= group.last_seen_at <= NOW for group in listed(worked))


def test_an_event_that_breaks_two_fields_counts_in_both_groups_and_twice_the_same_once(places: Places) -> None:
    wrong = purchase("u1") | {"properties": {"product_id": 7, "price": "dear", "quantity": 1, "currency": 9}}
    land(places, wrong, bad_price("u2"))
    work(places)
    assert [(group.field, group.events) for group in listed(places)] == [
        ("properties.price", 2),
        ("properties.currency", 1),
        ("properties.product_id", 1),
    ]


def test_samples_are_masked_and_keep_their_shape(worked: Places) -> None:
    (sample,) = shown(worked, Selection(reason="contract_violation"))
    assert (sample.event, sample.contract_version, sample.owner) == ("product_purchased", "v1", "shop")
    assert sample.violations == ("properties.price: type number",)
    assert sample.payload["event"] == "Product Purchased"
    assert sample.payload["userId"] == "<text of 2>"
    assert sample.payload["properties"] == {
        "product_id": "<text of 5>",
        "price": "<text of 4>",
        "quantity": "<integer>",
        "currency": "<text of 3>",
    }


def test_samples_are_as_received_where_they_are_revealed(worked: Places) -> None:
    (sample,) = shown(worked, Selection(reason="contract_violation"), reveal=True)
    assert (sample.payload["userId"], sample.payload["properties"]["price"]) == ("u1", "dear")
    (cut,) = shown(worked, Selection(reason="not_json"), reveal=True)
    assert cut.payload == '{"type": "track", "messa'


def test_what_is_no_json_is_a_length_and_how_it_begins(worked: Places) -> None:
    (cut,) = shown(worked, Selection(reason="not_json"))
    assert cut.payload == {"bytes": 24, "begins": b'{"type": "track"'.hex()}


def test_samples_are_the_newest_and_only_those_asked_for(places: Places) -> None:
    land(places, *(bad_price(f"u{number}") for number in range(5)), event("track", "u", at=NOW, event="O'Brien's"))
    work(places)
    found = shown(places, Selection(event="product_purchased"), limit=2)
    assert [sample.event_id.rpartition(":")[2] for sample in found] == ["0000005", "0000004"]
    assert [sample.reason for sample in shown(places, Selection(event="O'Brien's"))] == ["unknown_event"]
    assert shown(places, Selection(reason="too_deep")) == ()


def test_a_batch_that_is_not_yet_validated_shows_nothing(places: Places) -> None:
    class Died(Exception):
        pass

    def die(point: str) -> None:
        if point == "validated.durable":
            raise Died

    land(places, bad_price("u1"))
    with pytest.raises(Died):
        work(replace(places, at=die))
    assert listed(places) == ()
    work(places)
    assert len(listed(places)) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(min_size=1),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
)


def leaves(value: Any) -> list[Any]:
    """Every value at the end of a path."""
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in leaves(inner)]
    return [value]


@given(value=JSON)
def test_masking_keeps_shape_and_keys_and_no_text_or_number(value: Any) -> None:
    def shape(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: shape(inner) for key, inner in part.items()}
        return [shape(inner) for inner in part] if isinstance(part, list) else None

    assert shape(masked(value)) == shape(value)
    allowed = {"<integer>", "<number>"}
    for leaf in leaves(masked(value)):
        assert leaf is None or isinstance(leaf, bool) or leaf in allowed or leaf.startswith("<text of ")


@given(name=st.text(), version=st.text() | st.integers())
def test_an_event_keeps_only_names_that_look_like_names(name: str, version: str | int) -> None:
    sent = {"type": "track", "event": name, "context": {"protocols": {"event_version": version}}, "timestamp": name}
    found = masked_event(sent)
    assert found["type"] == "track"
    assert "@" not in json.dumps(found)


@given(payload=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_every_payload_can_be_shown_and_is_json_again(payload: bytes) -> None:
    for reveal in (False, True):
        assert json.loads(json.dumps(shown_payload(payload, reveal=reveal))) is not None


def test_a_payload_too_long_to_read_is_shown_as_bytes() -> None:
    payload = json.dumps({"type": "track", "properties": {"note": "x" * LONGEST_SHOWN_BYTES}}).encode()
    assert shown_payload(payload, reveal=False)["bytes"] == len(payload)


@pytest.mark.parametrize("payload", [b'{"a": NaN}', b"[" * 100_000, b'"text"', b"\xff\xfe", b""])
def test_what_is_no_event_is_shown_as_bytes(payload: bytes) -> None:
    assert shown_payload(payload, reveal=False) == {"bytes": len(payload), "begins": payload[:16].hex()}
