"""Ingest in bulk says of every line what the plain lexical and envelope rules say of it, and the same times."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from activation_dagster.domain.contracts import Call
from activation_dagster.domain.events import OBJECTS, TEXTS, TIMES, envelope_fault, occurred_at, shed_on_arrival
from activation_dagster.domain.lexical import MAX_DEPTH, MAX_LINE_BYTES, read_event
from activation_dagster.domain.reasons import QuarantineReason
from activation_dagster.domain.times import read_instant
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.ingest import compute_ingested
from tests.domain.spellings import assembled_instants, instants, no_instants
from tests.sql.landed import NOW, ORDINAL, Batches, batches_under

NOTHING = object()
Verdict = tuple[str | None, datetime | None, datetime | None, Any, Any, Any]
"""(reason, occurred_at, received_at, userId, anonymousId, event name); the last five only where there is no reason."""


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batches]:
    with batches_under(tmp_path_factory.mktemp("landed")) as found:
        yield found


# -- what the plain rules say, and what bulk says ---------------------------------------------------------------------


def plainly(line: bytes) -> Verdict:
    """The verdict of `domain/` on one line."""
    event = read_event(line)
    if isinstance(event, QuarantineReason):
        return event.value, None, None, None, None, None
    fault = shed_on_arrival(event) or envelope_fault(event)
    if fault is not None:
        return fault.value, None, None, None, None, None
    times = {name: None if event.get(name) is None else read_instant(event[name]) for name in TIMES}
    received = times["receivedAt"] or NOW
    happened = occurred_at(
        timestamp=times["timestamp"], original=times["originalTimestamp"], sent=times["sentAt"], received=received
    )
    name = event.get("name" if event["type"] in ("page", "screen") else "event")
    return None, happened, received, event.get("userId") or None, event.get("anonymousId") or None, name


def said_id(line: bytes) -> str:
    """The messageId of a line, which is text, of an event that can be read; empty where there is none."""
    event = read_event(line)
    said = None if isinstance(event, QuarantineReason) else event.get("messageId")
    return said if isinstance(said, str) else ""


def bare_lines(content: bytes) -> list[tuple[int, bytes]]:
    """Numbered lines without their ends, blank ones left out."""
    numbered = enumerate(content.split(b"\n"), start=1)
    return [(number, line.rstrip(b"\r")) for number, line in numbered if line.strip()]


def in_bulk(run: BatchRun) -> dict[int, Verdict]:
    """The verdict of `ingested_events` by line number."""
    compute_ingested(run)
    rows = run.engine.rows(
        "select ordinal, fault, occurred_at, received_at, user_id, anonymous_id, event_name from ingested_events"
    )
    return {
        row[0] % ORDINAL: (row[1], None, None, None, None, None)
        if row[1] is not None
        else (None, row[2].replace(tzinfo=UTC), row[3].replace(tzinfo=UTC), *row[4:])
        for row in rows
    }


def assert_agree(batches: Batches, lines: Sequence[bytes], *, end: bytes = b"\n", last_end: bytes = b"\n") -> None:
    """Every line has one verdict, and it is the plain one."""
    content = end.join(lines) + last_end
    with batches.of(content) as run:
        found = in_bulk(run)
        wanted = {number: plainly(line) for number, line in bare_lines(content)}
        for number, verdict in wanted.items():
            if verdict[0] is None and not isinstance(verdict[5], str):
                wanted[number] = (*verdict[:5], found.get(number, verdict)[5])  # a page's name may be no text
        assert found == wanted
        message_ids = dict(run.engine.rows(f"select ordinal % {ORDINAL}, message_id from ingested_events"))
        for number, line in bare_lines(content):
            said = said_id(line)
            assert message_ids[number] == said if said else message_ids[number].startswith("line:")
        payloads = dict(
            run.engine.rows(
                "select e.ordinal, coalesce(f.line, encode(p.payload)) from ingested_events as e "
                "left join landed_payloads as p on p.ordinal = e.ordinal left join line_faults as f"
                " on f.segment_no * 4294967296 + f.line_no = e.ordinal"
            )
        )
        kept = {key % ORDINAL: value.rstrip(b"\r") for key, value in payloads.items()}
        assert kept == dict(bare_lines(content))


# -- generated events -------------------------------------------------------------------------------------------------

texts = st.text(max_size=6) | st.sampled_from(
    [
        "",
        " ",
        "a",
        "é",
        "\U0001f469‍\U0001f469‍\U0001f467",
        "e\u0301",
        "\u2028",
        "\ufeff",
        "\x7f",
        '"',
        "\\",
        "\t",
        "\b",
        "null",
    ]
)
numbers = st.sampled_from(
    [0, -0.0, 5, 1.5, 1e15, 1e16, -1e16, 1e-7, 1e300, 2**53 - 1, 2**53, -(2**53), 2**64, 10**30, 0.1, 123456789012345.6]
)
leaves = texts | numbers | st.booleans() | st.none()
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=5
)
calls = st.sampled_from([call.value for call in Call] * 4 + ["Track", "", "purchase"])
objects = st.dictionaries(texts, values, max_size=3)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Mostly sound events, each with few things wrong."""
    event: dict[str, Any] = {"type": draw(calls), "userId": "u1", "event": "Thing Done"}
    for name in draw(st.lists(st.sampled_from(TEXTS), max_size=3)):
        event[name] = draw(texts | leaves)
    for name in draw(st.lists(st.sampled_from(TIMES), max_size=4)):
        event[name] = draw(instants | instants | instants | no_instants | leaves)
    for name in draw(st.lists(st.sampled_from([*OBJECTS, "name", "integrations"]), max_size=3)):
        event[name] = draw(objects | objects | objects | values)
    for name in draw(st.lists(st.sampled_from(["type", "userId", "event", *TEXTS, *TIMES]), max_size=2)):
        event.pop(name, None)
    return event


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """An event as one of many writers writes it."""
    event = draw(events())
    space = draw(st.sampled_from(["", "", " ", "  ", "\t", "\r"]))
    text = json.dumps(
        event,
        ensure_ascii=draw(st.booleans()),
        separators=(f"{space},{space}", f"{space}:{space}"),
    )
    for _ in range(draw(st.integers(0, 2))):  # writers may escape any character
        at = draw(st.integers(0, len(text)))
        if text[at : at + 1].isalpha() and text[at - 1 : at] != "\\" and "\\" not in text[max(0, at - 5) : at]:
            text = f"{text[:at]}\\u{ord(text[at]):04x}{text[at + 1 :]}"
    return (space + text + space).encode("utf-8", "surrogatepass")


insertions = st.sampled_from(
    [
        b",",
        b":",
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"\\udc00\\ud800",
        b"\\ud83d\\ude00",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\xef\xbb\xbf",
        b"\x00",
        b"\x01",
        b"\x1f",
        b"\x7f",
        b"\x0b",
        b" ",
        b"\t",
        b"\r",
        b"\xc2\xa0",
        b"NaN",
        b"nan",
        b"Infinity",
        b"-inf",
        b"+1",
        b"01",
        b"1.",
        b".5",
        b"1e5",
        b"1E+400",
        b"-1e16",
        b"99999999999999999999",
        b"9007199254740992",
        b"-9007199254740991",
        b"9007199254740993.0",
        b"0.1e17",
        b"true",
        b"null",
        b"None",
        b"/*x*/",
        b"//",
        b'"a":1,',
        b',"b":nan',
        b',"b":Inf',
        b',"b":[1,]',
        b',"b":{"c":1,}',
        b',"b":[1 , ]',
        b',"b":1e400',
        b',"b":1e16',
        b',"b":-12345678901234567',
        b',"b":[NaN]',
        b',"b": 9007199254740992',
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """An event that something was done to: cut, or something put into it at any place."""
    line = draw(written())
    match draw(st.integers(0, 3)):
        case 0:
            return line[: draw(st.integers(0, len(line)))]
        case 1:
            at = draw(st.integers(0, len(line)))
            return line[:at] + draw(insertions) + line[at:]
        case 2:
            end = line.rstrip()[:-1]
            return end + draw(insertions) + b"}"
        case _:
            at = draw(st.integers(0, max(0, len(line) - 1)))
            return line[:at] + draw(insertions) + line[at + 1 :]


oddities = st.sampled_from(
    [
        b"",
        b" ",
        b"\r",
        b"\t \r",
        b"null",
        b"5",
        b'"text"',
        b"[]",
        b"[{}]",
        b"{}",
        b"{",
        b"}",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe",
        b'{"type":"track"}{"type":"track"}',
        b" {} ",
        b"\r{}",
        b"\x0b{}",
        b"\xc2\xa0{}",
        b"\x0c",
    ]
)
lines = st.one_of(written(), mutated(), oddities)


@settings(max_examples=120)
@given(st.lists(lines.filter(lambda line: b"\n" not in line), min_size=1, max_size=40), st.booleans())
@example([b'{"type":"track","event":"a","userId":"u","p":1e16}'], False)
@example([b'{"type":"track","event":"a","userId":"u","p":nan}'], False)
@example([b'{"type":"track","event":"a","userId":"u","event":"b"}'], False)
@example([b'{"type":"track","event":"a","userId":"u","properties":{"a":{"b":1,"\\u0062":2}}}'], False)
@example([b'{"type":"track","event":"a","userId":"u","properties":{"a":[[{"b":1,"b":1}]]}}'], False)
@example([b'{"type":"track","event":"a","userId":"u","properties":{"a":{"b":1},"c":{"b":2}}}'], False)
@example([b'{"type":"track","event":"a","userId":"u","messageId":5}'], False)
@example([b'{"type":"track","event":"a","userId":"u","p":[1,]}'], False)
@example([b'{"type":"track","event":"a","userId":"u","message\\u0049d":5}'], False)
@example([b'{"type":"track","event":"a","userId":"u","messageId":\r5}'], False)
def test_every_line_has_the_plain_verdict(batches: Batches, content: list[bytes], windows: bool) -> None:
    assert_agree(batches, content, end=b"\r\n" if windows else b"\n")


def test_a_last_line_without_an_end_is_a_line_and_no_line_is_none(batches: Batches) -> None:
    sound = b'{"type":"track","event":"a","userId":"u"}'
    for content, last_end in [([sound, sound], b""), ([sound, b"{"], b""), ([sound], b"\n\n"), ([b"\xff"], b"")]:
        assert_agree(batches, content, last_end=last_end)
    with batches.of(b"") as run:
        assert in_bulk(run) == {}


def nested(depth: int, *, array: bool = False, inside: str = "1") -> bytes:
    """A sound event that is nested `depth` deep."""
    opened, closed = ("[", "]") if array else ('{"a":', "}")
    deep = opened * (depth - 1) + inside + closed * (depth - 1)
    return b'{"type":"track","event":"a","userId":"u","x":' + deep.encode() + b"}"


@pytest.mark.parametrize("array", [False, True])
def test_depth_is_judged_at_its_limit_on_lines_that_nothing_else_makes_suspect(batches: Batches, array: bool) -> None:
    content = [nested(depth, array=array) for depth in (2, MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, MAX_DEPTH + 2, 500)]
    assert_agree(batches, content)
    assert [plainly(line)[0] for line in content] == [None, None, None, "too_deep", "too_deep", "too_deep"]


def test_many_brackets_side_by_side_are_not_deep(batches: Batches) -> None:
    wide = b'{"type":"track","event":"a","userId":"u","x":[' + b",".join([b"[{}]"] * 200) + b"]}"
    assert plainly(wide)[0] is None
    assert_agree(batches, [wide, b"[" * 100_000, b"{" * 1_000])


def test_size_is_judged_at_its_limit(batches: Batches) -> None:
    around = b'{"type":"track","event":"a","userId":"u","x":"%s"}'
    room = MAX_LINE_BYTES - len(around) + 2
    content = [around % (b"a" * (room + more)) for more in (-1, 0, 1)]
    assert [plainly(line)[0] for line in content] == [None, None, "too_large"]
    assert_agree(batches, content)
    assert_agree(batches, content, end=b"\r\n")


def test_message_ids_are_measured_in_characters(batches: Batches) -> None:
    content = [
        json.dumps({"type": "page", "userId": "u", "messageId": text * count}, ensure_ascii=ascii_only).encode()
        for text in ("a", "é", "\U0001f469")
        for count in (99, 100, 101)
        for ascii_only in (False, True)
    ]
    assert_agree(batches, content)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(TIMES), assembled_instants | instants | no_instants), min_size=1, max_size=80)
)
def test_every_spelling_of_a_time_is_read_or_refused_alike(batches: Batches, said: list[tuple[str, str]]) -> None:
    content = [json.dumps({"type": "page", "userId": "u", name: text}).encode() for name, text in said]
    assert_agree(batches, content)


@settings(max_examples=30)
@given(st.lists(st.dictionaries(st.sampled_from(TIMES), instants), min_size=1, max_size=40))
def test_the_time_an_event_happened_is_corrected_alike(batches: Batches, said: list[dict[str, str]]) -> None:
    assert_agree(batches, [json.dumps({"type": "page", "userId": "u", **times}).encode() for times in said])


keys = st.sampled_from(["a", "b", "\\u0061", "é", "a.b", "$", "*", ""])
repeating = st.recursive(
    st.sampled_from(["1", '"a"', '"\\"a\\":"', "null", "[]", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda values: f"[{', '.join(values)}]")
        | st.lists(st.tuples(keys, inner), max_size=3).map(
            lambda pairs: "{" + ",".join(f'"{key}": {value}' for key, value in pairs) + "}"
        )
    ),
    max_leaves=8,
)


@settings(max_examples=80)
@given(st.lists(repeating, min_size=1, max_size=30))
def test_a_key_twice_in_an_object_is_found_wherever_the_object_stands(batches: Batches, values: list[str]) -> None:
    assert_agree(
        batches, [b'{"type":"track","event":"a","userId":"u","properties":{"x":%s}}' % text.encode() for text in values]
    )


def test_many_segments_keep_their_lines_apart(batches: Batches) -> None:
    sound = b'{"type":"track","event":"a","userId":"u"}'
    with batches.of(sound + b"\n{", b"", b"\n" + sound + b"\n", b"\xff\n" + sound) as run:
        compute_ingested(run)
        rows = run.engine.rows("select event_id, fault from ingested_events order by ordinal")
    assert [(row[0][-7:], row[1]) for row in rows] == [
        ("0000001", None),
        ("0000002", "not_json"),
        ("0000002", None),
        ("0000001", "not_utf8"),
        ("0000002", None),
    ]
    assert len({row[0] for row in rows}) == len(rows)
