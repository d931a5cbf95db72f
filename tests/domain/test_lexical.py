"""Which bytes are an event's sound text: one reason for each kind of fault, and nothing sound refused."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.domain.lexical import (
    MAX_DEPTH,
    MAX_EXACT_INTEGER,
    MAX_LINE_BYTES,
    SUSPECT_PATTERNS,
    read_event,
)
from activation_dagster.domain.reasons import QuarantineReason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\xff{}", "not_utf8"),
        (b'{"a":"\xed\xa0\x80"}', "not_utf8"),
        (b"", "not_json"),
        (b"{", "not_json"),
        (b'{"a":1,}', "not_json"),
        (b'{"a":NaN}', "not_json"),
        (b'{"a":-Infinity}', "not_json"),
        (b'{"a":"\x01"}', "not_json"),
        (b"\xef\xbb\xbf{}", "not_json"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'{"a":1,"a":1}', "duplicate_key"),
        (b'{"a":{"b":1,"\\u0062":2}}', "duplicate_key"),
        (b'{"a":9007199254740992}', "number_out_of_range"),
        (b'{"a":1e400}', "number_out_of_range"),
        (b'{"a":1e16}', "number_out_of_range"),
        (b'{"a":-123456789012345678901234567890}', "number_out_of_range"),
        (b'{"a":"\\ud83d"}', "lone_surrogate"),
        (b'{"\\udc00":1}', "lone_surrogate"),
        (b'{"a":["\\u0000"]}', "nul_character"),
        (b'{"a":"' + b"x" * MAX_LINE_BYTES + b'"}', "too_large"),
        (b'{"a":' * MAX_DEPTH + b"{}" + b"}" * MAX_DEPTH, "too_deep"),
        (b"[" * 200_000, "too_deep"),
    ],
)
def test_each_fault_has_its_reason(line: bytes, reason: str) -> None:
    assert read_event(line) == QuarantineReason(reason)


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b' {"a" : [ ] }\r',
        b'{"a":9007199254740991,"b":-9007199254740991,"c":0.1e1,"d":1e-300}',
        b'{"a":"\\ud83d\\ude00","b":"\\u0001"}',
        b'{"a":{"a":{"a":1}}}',
        b'{"a":' * (MAX_DEPTH - 1) + b"{}" + b"}" * (MAX_DEPTH - 1),
    ],
)
def test_sound_text_is_read_as_the_standard_library_reads_it(line: bytes) -> None:
    assert read_event(line) == json.loads(line)


sound = st.recursive(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
    | st.integers(-MAX_EXACT_INTEGER, MAX_EXACT_INTEGER)
    | st.floats(-1e15, 1e15)
    | st.booleans()
    | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("ab", max_size=3), sound, max_size=4), st.booleans())
def test_whatever_the_standard_library_writes_of_sound_values_is_sound(event: dict[str, object], plain: bool) -> None:
    assert read_event(json.dumps(event, ensure_ascii=plain).encode()) == event


@pytest.mark.parametrize("number", ["9007199254740992", "1e16", "-1E+17", "1e400", "nan", "-INF", "Infinity", "NaN"])
@pytest.mark.parametrize("before", [":", ": ", "[", ",", ", ", ":\r"])
def test_every_number_out_of_range_makes_a_line_suspect_wherever_it_stands(number: str, before: str) -> None:
    """What is not suspect is read in bulk, by a parser that takes all of these."""
    around = {"[": '{"a":[%s]}', ",": '{"a":[1,%s]}', ", ": '{"a":[1, %s]}'}.get(before, '{"a"' + before + "%s}")
    assert any(re.search(pattern, around % number) for pattern in SUSPECT_PATTERNS)
