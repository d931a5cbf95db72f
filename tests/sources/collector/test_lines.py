"""A landing line says what the server knows first, keeps what was sent, and nobody can forge what stands in front."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings

from activation_dagster.domain.events import refused_on_arrival
from activation_dagster.domain.lexical import MAX_LINE_BYTES, read_event
from activation_dagster.domain.reasons import QuarantineReason
from activation_dagster.sources.collector.lines import Arrival, Line, landing_line, sound
from tests.sql.test_ingest_agrees import lines as any_lines
from tests.sql.test_ingest_agrees import nested

ARRIVAL = Arrival(received_at="2026-03-01T10:00:00.000Z", made_id="made-0", sent_at="2026-03-01T09:59:59Z")


def landed(item: bytes, arrival: Arrival = ARRIVAL, position: int = 0) -> Line:
    return landing_line(item, arrival, position, lambda _: None)


def read(item: bytes, arrival: Arrival = ARRIVAL, position: int = 0) -> dict[str, Any]:
    found = read_event(landed(item, arrival, position).line)
    assert isinstance(found, dict), found
    return found


@settings(max_examples=600)
@given(any_lines.filter(lambda line: b"\n" not in line))
@example(b'{"a":1,"a":1}')
@example(b'{"a":":", "b":"\\"", "b":1}')
@example(b'{"a":"x", "a" :"x"}')
@example(b'{"a":{"b":1,"b":1}}')
@example(b'{"":1,"":2}')
@example(b'{"a":123456789012345.67e2}')
@example(nested(32))
@example(nested(33))
@example(b'{"a":"' + b"x" * MAX_LINE_BYTES + b'"}')
def test_the_quick_reader_says_what_the_lexical_rules_say(line: bytes) -> None:
    quick, plain = sound(line), read_event(line)
    assert isinstance(quick, dict) == isinstance(plain, dict)
    if isinstance(quick, dict):
        assert json.dumps(quick, sort_keys=True) == json.dumps(plain, sort_keys=True)
    else:
        assert quick == plain


@settings(max_examples=300)
@given(any_lines)
def test_every_item_becomes_one_line_whose_verdict_the_lexical_rules_share(item: bytes) -> None:
    one = landed(item)
    assert b"\n" not in one.line
    assert one.line.strip()
    said = read_event(one.line)
    if isinstance(said, QuarantineReason):
        assert one.reason == said
    else:
        assert one.reason is None
        sent = read_event(item.replace(b"\n", b" ").strip())
        assert isinstance(sent, dict)
        added = {"collector", "receivedAt", "messageId", "sentAt", "originalTimestamp", "type"}
        assert {key: said[key] for key in sent if key not in {*added, "writeKey"}} == {
            key: value for key, value in sent.items() if key not in {*added, "writeKey"}
        }


def test_what_is_sound_is_kept_byte_for_byte() -> None:
    item = b'{"type":"track","messageId":"m","n":1.10,"t":"\\/\\u00e9","big":1E2, "event" : "a","userId":"u"}'
    assert landed(item).line.endswith(item[1:])


def test_server_fields_stand_first_and_fill_only_what_is_missing() -> None:
    event = read(b'{"type":"track","event":"a","userId":"u","timestamp":"2026-03-01T09:00:00Z"}', position=3)
    assert next(iter(event)) == "collector"
    assert event["messageId"] == "made-0-3"
    assert event["receivedAt"] == ARRIVAL.received_at
    assert event["sentAt"] == ARRIVAL.sent_at
    assert event["originalTimestamp"] == "2026-03-01T09:00:00Z"
    own = b'{"type":"page","messageId":"m","sentAt":"2026-02-01T00:00:00Z","originalTimestamp":"x","timestamp":"y"}'
    kept = read(own)
    assert (kept["messageId"], kept["sentAt"], kept["originalTimestamp"]) == ("m", "2026-02-01T00:00:00Z", "x")


@pytest.mark.parametrize("value", [b"null", b'""'])
def test_an_empty_message_id_is_made_up(value: bytes) -> None:
    assert read(b'{"type":"page","messageId":' + value + b',"userId":"u"}')["messageId"] == "made-0-0"


def test_a_single_event_is_of_its_path_s_type_unless_it_says_another() -> None:
    single = Arrival(received_at=ARRIVAL.received_at, made_id="made-0", call="page")
    assert read(b'{"userId":"u"}', single)["type"] == "page"
    assert read(b'{"userId":"u","type":"track"}', single)["type"] == "track"


@pytest.mark.parametrize(
    "item",
    [
        b'{"collector":{"refused":"too_large"},"type":"page","userId":"u"}',
        b'{"type":"page","collector":{"refused":"too_large"},"receivedAt":"1999-01-01T00:00:00Z","userId":"u"}',
        b'{"\\u0063ollector":{"refused":"too_many"},"type":"page","userId":"u"}',
    ],
)
def test_what_only_the_server_may_say_is_taken_out_of_what_was_sent(item: bytes) -> None:
    event = read(item)
    assert refused_on_arrival(event) is None
    assert event["receivedAt"] == ARRIVAL.received_at
    assert "refused" not in event["collector"]
    assert "collector" in event["collector"]["taken_out"]


def test_a_write_key_inside_an_event_never_lands() -> None:
    assert b"secret" not in landed(b'{"type":"page","writeKey":"secret","userId":"u"}').line


def test_over_the_limits_an_event_is_landed_whole_with_its_reason_in_front() -> None:
    small = Arrival(received_at=ARRIVAL.received_at, made_id="made-0", max_event_bytes=100, max_events=2)
    large = b'{"type":"page","userId":"u","properties":{"x":"' + b"y" * 100 + b'"}}'
    for item, position, reason in [(large, 0, "too_large"), (b'{"type":"page","userId":"u"}', 2, "too_many")]:
        one = landed(item, small, position)
        assert one.reason == reason
        assert refused_on_arrival(read(item, small, position)) == reason
        assert one.line.endswith(item[1:])
    assert landed(b'{"type":"page","userId":"u"}', small, 1).reason is None


def test_the_batch_s_own_context_reaches_its_events_and_theirs_wins() -> None:
    common = Arrival(
        received_at=ARRIVAL.received_at, made_id="made-0", context={"a": 1, "b": 1}, integrations={"All": False}
    )
    event = read(b'{"type":"page","userId":"u","context":{"b":2}}', common)
    assert (event["context"], event["integrations"]) == ({"a": 1, "b": 2}, {"All": False})
    assert read(b'{"type":"page","context":5}', common)["context"] == 5


def test_what_the_server_saw_of_the_client_is_kept() -> None:
    seen = Arrival(received_at=ARRIVAL.received_at, made_id="made-0", address="10.1.2.0", agent="Node", gpc=True)
    said = read(b'{"type":"page"}', seen)["collector"]
    assert (said["ip"], said["userAgent"], said["gpc"], said["position"]) == ("10.1.2.0", "Node", True, 0)
    assert said["verdict"] == "accepted"
