"""Lexical rules: which bytes are sound JSON text for us, judged once, before anybody looks at what they say.

Parsers differ on what they let through (duplicate keys, NaN, lone surrogates, a byte order mark, huge numbers), so two
judges could read two different events from one line. What any of them could read differently is refused here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, cast

from activation_dagster.domain.reasons import QuarantineReason

MAX_LINE_BYTES = 512 * 1024
MAX_DEPTH = 32
MAX_EXACT_INTEGER = 2**53 - 1
"""Beyond it a double is no longer exact, so engines that read numbers as doubles would see another number."""

_NUMBER = r"-?([0-9]{16}|[0-9.]+[eE])|-?(?i:nan|inf|infinity)[ \t\r]*[,\]}]"

SUSPECT_PATTERNS = (
    r"\\u(?:[dD][89a-fA-F]|0000)",
    rf":[ \t\r]*(?:{_NUMBER})",
    rf",[ \t\r]*(?:[\]}}]|{_NUMBER})",
    rf"\[[ \t\r]*(?:{_NUMBER})",
)
"""Text that may hide a fault which a JSON parser lets through; such a line is read on its own.

DuckDB's parser takes a comma before a bracket, and nan and inf in any case; a short number with an exponent can be out
of range too. Each begins with its own fixed text, to which a search skips: that is twice as fast as one pattern.
"""


class _Fault(Exception):
    def __init__(self, reason: QuarantineReason) -> None:
        self.reason = reason


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Fault(QuarantineReason.DUPLICATE_KEY)
    return found


def _constant(_: str) -> None:
    raise _Fault(QuarantineReason.NOT_JSON)


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > MAX_EXACT_INTEGER:
        raise _Fault(QuarantineReason.NUMBER_OUT_OF_RANGE)
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")) or (value.is_integer() and abs(value) > MAX_EXACT_INTEGER):
        raise _Fault(QuarantineReason.NUMBER_OUT_OF_RANGE)
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_constant=_constant, parse_int=_integer, parse_float=_float, strict=True
)


def _inside(value: object) -> Iterable[object]:
    """What stands directly inside a parsed value."""
    if isinstance(value, dict):
        return cast("dict[str, object]", value).values()
    return cast("list[object]", value) if isinstance(value, list) else ()


def _is_container(value: object) -> bool:
    return isinstance(value, dict | list)


def _depth(value: object) -> int:
    deepest = 0
    level: list[object] = [value]
    while level:
        deepest += 1
        level = [child for parent in level for child in _inside(parent) if _is_container(child)]
    return deepest


def _texts(value: object) -> Iterator[str]:
    """Every key and text inside a parsed value."""
    waiting: list[object] = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, str):
            yield found
            continue
        if isinstance(found, dict):
            waiting.extend(cast("dict[str, object]", found))
        waiting.extend(_inside(cast("object", found)))


def read_event(line: bytes) -> dict[str, Any] | QuarantineReason:
    """The JSON object on one landing line (bytes without the line's end), or the lexical reason it is refused for."""
    if len(line) > MAX_LINE_BYTES:
        return QuarantineReason.TOO_LARGE
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return QuarantineReason.NOT_UTF8
    try:
        value = _DECODER.decode(text)
    except _Fault as fault:
        return fault.reason
    except RecursionError:
        return QuarantineReason.TOO_DEEP
    except ValueError:
        return QuarantineReason.NOT_JSON
    if not isinstance(value, dict):
        return QuarantineReason.NOT_AN_OBJECT
    value = cast("dict[str, Any]", value)
    if _depth(value) > MAX_DEPTH:
        return QuarantineReason.TOO_DEEP
    if "\\u" in text:
        for found in _texts(value):
            if "\x00" in found:
                return QuarantineReason.NUL_CHARACTER
            if any("\ud800" <= character <= "\udfff" for character in found):
                return QuarantineReason.LONE_SURROGATE
    return value
