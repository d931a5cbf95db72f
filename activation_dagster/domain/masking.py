"""Masking: data about people keeps its shape and loses its values, so that it may be shown, logged and sent around."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from activation_dagster.domain.events import TIMES
from activation_dagster.domain.times import read_instant

HEX_PREFIX_BYTES = 16
LONGEST_SHOWN_BYTES = 64 * 1024
"""Longer payloads are shown as bytes: their shape would fill the screen."""

NAME = re.compile(r"[\w .:/()-]{1,100}")
"""How the name of a call, an event or a version looks; anything else there is masked too."""


def masked(value: Any) -> Any:
    """A JSON value with every text and number replaced by what it is; keys, true, false and null stay."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return f"<text of {len(value)}>"
    if isinstance(value, int):
        return "<integer>"
    if isinstance(value, float):
        return "<number>"
    if isinstance(value, Mapping):
        return {key: masked(inner) for key, inner in cast("Mapping[str, Any]", value).items()}
    return [masked(inner) for inner in cast("Sequence[Any]", value)]


def masked_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event with its call, its name, its version and its sound times as they are, all else masked."""
    found: dict[str, Any] = masked(event)
    for name in ("type", "event"):
        if _is_name(event.get(name)):
            found[name] = event[name]
    for name in TIMES:
        value = event.get(name)
        if isinstance(value, str) and read_instant(value) is not None:
            found[name] = value
    context = event.get("context")
    protocols: Any = cast("Mapping[str, Any]", context).get("protocols") if isinstance(context, Mapping) else None
    if isinstance(protocols, Mapping) and _is_version(
        version := cast("Mapping[str, Any]", protocols).get("event_version")
    ):
        found["context"]["protocols"]["event_version"] = version
    return found


def _is_name(value: object) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _is_version(value: object) -> bool:
    """A version may be named by its number alone; a long number could be of a person."""
    return _is_name(value) or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10_000)


def shown_payload(payload: bytes, *, reveal: bool) -> Any:
    """An event's bytes as they may be shown: masked, or with `reveal` as they are.

    What is no JSON object, or is too long to read, is `{"bytes": <length>, "begins": <hex>}`; revealed it is text.
    """
    event: Any = None
    if len(payload) <= LONGEST_SHOWN_BYTES:
        try:
            event = json.loads(payload, parse_constant=_refuse)
        except (ValueError, RecursionError):
            event = None
    if isinstance(event, Mapping):
        said = cast("Mapping[str, Any]", event)
        return dict(said) if reveal else masked_event(said)
    if reveal:
        return payload[:LONGEST_SHOWN_BYTES].decode("utf-8", errors="backslashreplace")
    return {"bytes": len(payload), "begins": payload[:HEX_PREFIX_BYTES].hex()}


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")  # Python reads NaN and Infinity, and would write them again
