"""One event as sent becomes one landing line: what the server knows stands first, what was sent stays."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol, cast

import orjson

from activation_dagster.domain.events import SHED
from activation_dagster.domain.lexical import MAX_DEPTH, MAX_LINE_BYTES, SUSPECT_PATTERNS, read_event
from activation_dagster.domain.reasons import QuarantineReason, ShedReason
from activation_dagster.sources.collector.bodies import Unreadable, without

MARK = "collector"
"""The first key of a line that the collector wrote. Only we write it first; one that a client sent is taken out."""

OURS = frozenset({MARK, "receivedAt", "writeKey"})
LONGEST_NAME = 200
"""Letters that are kept of the name of a shed event: a line that says so little must stay little."""
_SUSPECT = tuple(re.compile(pattern.encode()).search for pattern in SUSPECT_PATTERNS[1:])
"""The first looks behind a backslash, and no text with one comes so far."""
_KEYS = re.compile(rb'"[ \t\r]*:')


class Verdicts(Protocol):
    """Judges one sound event on arrival: the reason for which it will wait, or None."""

    def __call__(self, event: dict[str, Any], /) -> str | None: ...


class Shedding(Protocol):
    """Whether the event at a place of its request is shed, and why."""

    def __call__(self, event: dict[str, Any], place: int, /) -> ShedReason | None: ...


def nothing_shed(_event: dict[str, Any], _place: int) -> ShedReason | None:
    """Everything stays."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What is the same for all events of one request. Times are RFC 3339 in UTC."""

    received_at: str
    made_id: str
    """Beginning of the message ids that we make for this request's events."""
    source: str = ""
    call: str | None = None
    """What the path says of a single event's type."""
    sent_at: str | None = None
    address: str = ""
    agent: str = ""
    gpc: bool = False
    context: dict[str, Any] | None = None
    integrations: dict[str, Any] | None = None
    max_event_bytes: int = 32 * 1024
    max_events: int = 2_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A landing line (without its end), and what was found out on the way; `reason`: why it will wait, or None."""

    line: bytes
    reason: str | None
    message_id: str | None = None


def sound(text: bytes) -> dict[str, Any] | QuarantineReason:
    """What `domain.lexical.read_event` says of a line, in a tenth of its time for the lines that most are."""
    if len(text) > MAX_LINE_BYTES:
        return QuarantineReason.TOO_LARGE
    if b"\\" in text or text.count(b"{") + text.count(b"[") > MAX_DEPTH:
        return read_event(text)
    for search in _SUSPECT:
        if search(text):
            return read_event(text)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return read_event(text)
    if not isinstance(value, dict):
        return QuarantineReason.NOT_AN_OBJECT
    found = cast("dict[str, Any]", value)
    again = orjson.dumps(found)
    # A key twice is gone from what was parsed; without a backslash both texts are counted by the same rule.
    if again != text and len(_KEYS.findall(again)) != len(_KEYS.findall(text)):
        return read_event(text)
    return found


def landing_line(
    item: bytes, arrival: Arrival, position: int, verdicts: Verdicts, shedding: Shedding = nothing_shed
) -> Line:
    """The line that an event lands as, whatever it is: what cannot be read is landed too, and waits.

    What is shed lands as a line that says no more of it than its messageId, type, name and source, and why.
    """
    if b"\n" in item:
        item = item.replace(b"\n", b" ")  # between tokens it says nothing; inside a text it is no JSON anyway
    item = item.strip(b" \t\r\n")
    if not item.strip():
        item = b"null"  # a blank line would be passed over as no event
    over = None
    if len(item) > arrival.max_event_bytes:
        over = QuarantineReason.TOO_LARGE
    elif position >= arrival.max_events:
        over = QuarantineReason.TOO_MANY
    event = sound(item)
    if isinstance(event, QuarantineReason):
        if item[:1] != b"{" or not item.endswith(b"}") or b'"collector"' in item:
            return Line(line=item, reason=event)
        mark = _mark(arrival, position, over=None, verdict=event, taken=())
        return Line(line=_led(mark, b"", item), reason=event)
    shed = shedding(event, position)
    if shed is not None:
        return _shed_line(event, arrival, position, shed)
    taken = [name for name in OURS if name in event]
    if taken:
        item = _without(item, frozenset(taken))
        for name in taken:
            del event[name]
    item = _with_common(item, event, arrival)
    added = _added(event, arrival, position)
    if any(name in event for name in added):  # there, and empty
        item = _without(item, frozenset(added))
    event |= added
    reason = over or verdicts(event)
    mark = _mark(arrival, position, over=over, verdict=reason, taken=sorted(set(taken) - {"writeKey"}))
    message_id = event.get("messageId")
    return Line(
        line=_led(mark, orjson.dumps(added)[1:-1], item),
        reason=reason,
        message_id=message_id if isinstance(message_id, str) else None,
    )


def _shed_line(event: dict[str, Any], arrival: Arrival, position: int, reason: ShedReason) -> Line:
    message_id = event.get("messageId") or f"{arrival.made_id}-{position}"
    call = event.get("type") or arrival.call
    said: dict[str, Any] = {
        MARK: {
            SHED: reason.value,
            "at": arrival.received_at,
            "verdict": reason.value,
            "position": position,
            "source": arrival.source,
        },
        "receivedAt": arrival.received_at,
        "messageId": message_id,
        "type": call,
    }
    name = "event" if call == "track" else "name"
    if event.get(name):
        said[name] = str(event[name])[:LONGEST_NAME]
    return Line(line=orjson.dumps(said), reason=reason.value, message_id=message_id)


def _led(mark: bytes, added: bytes, item: bytes) -> bytes:
    rest = item[1:].lstrip(b" \t\r")
    parts = [b'{"' + MARK.encode() + b'":' + mark]
    if added:
        parts.append(added)
    return b",".join(parts) + (rest if rest == b"}" else b"," + rest)


def _mark(
    arrival: Arrival, position: int, *, over: QuarantineReason | None, verdict: str | None, taken: object
) -> bytes:
    """What the server says of an event; `refused` stands first, where the pipeline looks for it."""
    said: dict[str, Any] = {}
    if over is not None:
        said["refused"] = over.value
    said["at"] = arrival.received_at
    said["verdict"] = "accepted" if verdict is None else str(verdict)
    said["position"] = position
    if arrival.address:
        said["ip"] = arrival.address
    if arrival.agent:
        said["userAgent"] = arrival.agent
    if arrival.gpc:
        said["gpc"] = True
    if taken:
        said["taken_out"] = taken
    return orjson.dumps(said)


def _added(event: dict[str, Any], arrival: Arrival, position: int) -> dict[str, Any]:
    """What an event lacks and we know: it is written before what was sent."""
    added: dict[str, Any] = {"receivedAt": arrival.received_at}
    if event.get("messageId") in (None, ""):
        added["messageId"] = f"{arrival.made_id}-{position}"
    sent_at = event.get("sentAt")
    if sent_at is None and arrival.sent_at is not None:
        added["sentAt"] = sent_at = arrival.sent_at
    # As Segment does: the device's time is kept, and what it says of the clock corrects it.
    if event.get("originalTimestamp") is None and event.get("timestamp") is not None and sent_at is not None:
        added["originalTimestamp"] = event["timestamp"]
    if arrival.call is not None and event.get("type") is None:
        added["type"] = arrival.call
    return added


def _with_common(item: bytes, event: dict[str, Any], arrival: Arrival) -> bytes:
    """The batch's own context and integrations, put into an event; what the event says itself wins."""
    changed: dict[str, Any] = {}
    for name, common in (("context", arrival.context), ("integrations", arrival.integrations)):
        own: Any = event.get(name)
        if common is not None and (own is None or isinstance(own, dict)):
            changed[name] = {**common, **cast("dict[str, Any]", own or {})}
    if not changed:
        return item
    event |= changed
    rest = _without(item, frozenset(changed))[1:]
    return orjson.dumps(changed)[:-1] + (rest if rest == b"}" else b"," + rest)


def _without(item: bytes, names: frozenset[str]) -> bytes:
    try:
        return without(item, names)
    except Unreadable as error:  # it was parsed a moment ago
        raise AssertionError(error) from error
