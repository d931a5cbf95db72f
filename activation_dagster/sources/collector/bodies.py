"""Reading a request's body: which events it holds, each as the bytes that were sent, and what is said of all of them.

A body is cut into its events without parsing them, so that one that is no sound JSON spoils none beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import orjson

_SPACE = rb"[ \t\r\n]*+"
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_DEPTH_AT_ONCE = 6


def _nested(depth: int) -> bytes:
    inner = b"" if depth == 0 else b"|" + _nested(depth - 1)
    return rb'[{\[](?:[^"{}\[\]]++|' + _STRING + inner + rb")*+[}\]]"


_CONTAINER = re.compile(_nested(_DEPTH_AT_ONCE), re.DOTALL)
_KEY = re.compile(_SPACE + b"(" + _STRING + b")" + _SPACE + b":" + _SPACE, re.DOTALL)
_WORD = re.compile(rb'[^"{}\[\],:\s]++')
_TEXT = re.compile(_STRING, re.DOTALL)
_TOKEN = re.compile(_STRING + rb"|[{}\[\]]", re.DOTALL)
_AFTER = re.compile(_SPACE + rb"([,}\]])" + _SPACE)
_BEGIN = re.compile(_SPACE)
BOM = b"\xef\xbb\xbf"


class Unreadable(Exception):
    """The body is no JSON object that could be cut into its members; the sentence goes to the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a request says: `items` are its events as sent; the others are said once, for all of them."""

    items: list[bytes]
    write_key: str
    sent_at: str | None = None
    context: dict[str, Any] | None = None
    integrations: dict[str, Any] | None = None
    message_id: str | None = None


def members(text: bytes) -> list[tuple[bytes, bytes]]:
    """The members of a JSON object in their order: (key as written, with its quotes; value as written).

    Values are cut out, not judged. Raises Unreadable where the text is no object or breaks off.
    """
    found: list[tuple[bytes, bytes]] = []
    at = _begin(text, 0)
    if text[at : at + 1] != b"{":
        raise Unreadable("The body is no JSON object.")
    at = _begin(text, at + 1)
    if text[at : at + 1] == b"}":
        _nothing_after(text, at + 1)
        return found
    while True:
        key = _KEY.match(text, at)
        if key is None:
            raise Unreadable(f"The body is no JSON: a key is missing at byte {at}.")
        end = _value_end(text, key.end())
        found.append((key[1], text[key.end() : end]))
        at, mark = _after(text, end)
        if mark == b"}":
            _nothing_after(text, at)
            return found
        if mark != b",":
            raise Unreadable(f"The body is no JSON: a bracket too many at byte {at}.")


def elements(text: bytes) -> list[bytes]:
    """The elements of a JSON array in their order, as written. Raises Unreadable."""
    found: list[bytes] = []
    at = _begin(text, 0)
    if text[at : at + 1] != b"[":
        raise Unreadable("'batch' is no JSON array.")
    at = _begin(text, at + 1)
    if text[at : at + 1] == b"]":
        return found
    while True:
        end = _value_end(text, at)
        found.append(text[at:end])
        at, mark = _after(text, end)
        if mark == b"]":
            _nothing_after(text, at)
            return found
        if mark != b",":
            raise Unreadable(f"'batch' is no JSON array: a bracket too many at its byte {at}.")


def _begin(text: bytes, at: int) -> int:
    found = _BEGIN.match(text, at)
    return at if found is None else found.end()


def _after(text: bytes, at: int) -> tuple[int, bytes]:
    found = _AFTER.match(text, at)
    if found is None:
        raise Unreadable(f"The body is no JSON: it breaks off, or a comma is missing, at byte {at}.")
    return found.end(), found[1]


def _nothing_after(text: bytes, at: int) -> None:
    if _begin(text, at) != len(text):
        raise Unreadable(f"The body is no JSON: something follows its end at byte {at}.")


def _value_end(text: bytes, at: int) -> int:
    first = text[at : at + 1]
    if first in (b"{", b"["):
        whole = _CONTAINER.match(text, at)
        return _balanced_end(text, at) if whole is None else whole.end()
    found = (_TEXT if first == b'"' else _WORD).match(text, at)
    if found is None:
        raise Unreadable(f"The body is no JSON: a value is missing at byte {at}.")
    return found.end()


def _balanced_end(text: bytes, at: int) -> int:
    """Where the bracket at `at` is closed again, however deep it goes."""
    depth = 0
    for token in _TOKEN.finditer(text, at):
        mark = token[0]
        if mark in (b"{", b"["):
            depth += 1
        elif mark in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                return token.end()
    raise Unreadable(f"The body is no JSON: the bracket at byte {at} is not closed.")


def read_body(text: bytes, *, is_batch: bool, basic_key: str) -> Body:
    """Cut a body into its events. `basic_key` is the key of the Authorization header, or nothing.

    A key in the header stands before one in the body, and that before one inside an event. Raises Unreadable.
    """
    text = text.removeprefix(BOM)
    found = members(text)
    said: dict[str, bytes] = {}
    for key, value in found:
        said.setdefault(_name(key), value)
    write_key = basic_key or _text(said.get("writeKey")) or ""
    if not is_batch:
        return Body(
            items=[_joined(pair for pair in found if _name(pair[0]) != "writeKey") if "writeKey" in said else text],
            write_key=write_key or _key_inside(text),
            message_id=_text(said.get("messageId")),
        )
    if "batch" not in said:
        raise Unreadable("The body has no 'batch'.")
    items = elements(said["batch"])
    return Body(
        items=items,
        write_key=write_key or (_key_inside(items[0]) if items else ""),
        sent_at=_text(said.get("sentAt")),
        context=_object(said.get("context")),
        integrations=_object(said.get("integrations")),
    )


def without(text: bytes, names: frozenset[str]) -> bytes:
    """An object's text without the members of these names; the others as written."""
    return _joined(pair for pair in members(text) if _name(pair[0]) not in names)


def _joined(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"{" + b",".join(key + b":" + value for key, value in pairs) + b"}"


def _name(key: bytes) -> str:
    if b"\\" not in key:
        return key[1:-1].decode(errors="replace")
    return _text(key) or ""


def _parsed(text: bytes | None) -> Any:
    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _text(text: bytes | None) -> str | None:
    found: object = _parsed(text)
    return found if isinstance(found, str) else None


def _object(text: bytes | None) -> dict[str, Any] | None:
    found = _parsed(text)
    return cast("dict[str, Any]", found) if isinstance(found, dict) and found else None


def _key_inside(item: bytes) -> str:
    if b'"writeKey"' not in item:
        return ""
    try:
        inside = {_name(key): value for key, value in members(item)}
    except Unreadable:
        return ""
    return _text(inside.get("writeKey")) or ""
