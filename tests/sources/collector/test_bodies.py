"""A body is cut into its events as any JSON reader would cut it, and one that is no JSON spoils none beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.sources.collector.bodies import Unreadable, elements, members, read_body, without

texts = st.text(max_size=8) | st.sampled_from(['"', "\\", "}{][,:", "writeKey", "\u2028", "é"])
leaves = texts | st.integers(-(10**20), 10**20) | st.floats(allow_nan=True) | st.booleans() | st.none()
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
spaces = st.sampled_from(["", " ", "\n", "\t\r\n "])


@st.composite
def spelled(draw: st.DrawFn, what: st.SearchStrategy[Any]) -> tuple[Any, bytes]:
    value, space = draw(what), draw(spaces)
    separators = (f"{space},{space}", f"{space}:{space}")
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), separators=separators)
    return value, f"{space}{text}{space}".encode("utf-8", "surrogatepass")


def same(left: object, right: object) -> bool:
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


@given(spelled(st.lists(values, max_size=5)))
def test_an_array_is_cut_into_its_elements(case: tuple[list[Any], bytes]) -> None:
    value, text = case
    assert same([json.loads(element) for element in elements(text)], value)


@given(spelled(st.dictionaries(texts, values, max_size=5)))
def test_an_object_is_cut_into_its_members(case: tuple[dict[str, Any], bytes]) -> None:
    value, text = case
    assert same({json.loads(key): json.loads(inside) for key, inside in members(text)}, value)
    assert same(json.loads(without(text, frozenset())), value)


@given(spelled(st.dictionaries(texts, values, min_size=1, max_size=5)), st.data())
def test_a_text_that_breaks_off_is_unreadable(case: tuple[Any, bytes], data: st.DataObject) -> None:
    text = case[1].strip()
    with pytest.raises(Unreadable):
        members(text[: data.draw(st.integers(0, len(text) - 1))])


@given(st.binary(max_size=60))
def test_any_bytes_are_cut_or_refused(text: bytes) -> None:
    for read in (members, elements):
        try:
            read(text)
        except Unreadable as refused:
            sentence = str(refused)
            assert sentence.endswith(".")


@pytest.mark.parametrize(
    "bad",
    [
        b'{"a":NaN}',
        b'{"a":1,"a":2}',
        b'{"a":"\xff"}',
        b'{"a":1e999}',
        b'{"a":"\\ud800"}',
        b"nul",
        b"{]",
        b'{"a" 1}',
        b"[" * 500 + b"]" * 500,
    ],
)
def test_a_bad_event_spoils_none_beside_it(bad: bytes) -> None:
    good = b'{"type":"track","event":"a","userId":"u"}'
    body = read_body(b'{"batch":[' + b",".join([good, bad, good]) + b'],"writeKey":"k"}', is_batch=True, basic_key="")
    assert body.items == [good, bad, good]
    assert body.write_key == "k"


def test_what_is_said_of_the_whole_batch_is_read_wherever_it_stands() -> None:
    text = b'{"sentAt":"t","context":{"a":1},"batch":[{"x":1}],"integrations":{"All":false},"writeKey":"late"}'
    body = read_body(text, is_batch=True, basic_key="")
    assert (body.items, body.write_key, body.sent_at) == ([b'{"x":1}'], "late", "t")
    assert (body.context, body.integrations) == ({"a": 1}, {"All": False})


@pytest.mark.parametrize(
    ("text", "is_batch", "basic", "key"),
    [
        (b'{"writeKey":"b","event":"a"}', False, "", "b"),
        (b'{"writeKey":"b","event":"a"}', False, "header", "header"),
        (b'{"batch":[{"writeKey":"inside"}]}', True, "", "inside"),
        (b'{"batch":[{"writeKey":"inside"}],"writeKey":"top"}', True, "", "top"),
        (b'{"write\\u004bey":"escaped"}', False, "", "escaped"),
        (b'{"writeKey":5}', False, "", ""),
        (b'{"batch":[]}', True, "", ""),
    ],
)
def test_the_key_is_found_anywhere(text: bytes, is_batch: bool, basic: str, key: str) -> None:
    assert read_body(text, is_batch=is_batch, basic_key=basic).write_key == key


def test_a_single_event_keeps_its_bytes_but_for_the_key() -> None:
    text = b'{"event": "a" ,"n":1.10, "writeKey":"k","\\u0061":"\\/"}'
    assert read_body(text, is_batch=False, basic_key="").items == [b'{"event":"a","n":1.10,"\\u0061":"\\/"}']


@pytest.mark.parametrize("text", [b"", b"[]", b"5", b"{}x", b'{"batch":5}', b'{"batch":{}}', b"{}", b'{"batch":[1,]}'])
def test_a_batch_without_a_batch_is_unreadable(text: bytes) -> None:
    with pytest.raises(Unreadable):
        read_body(text, is_batch=True, basic_key="")
