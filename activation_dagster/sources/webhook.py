"""Segment's webhook destination, received: signed events, one a request or in batches, on disk before the answer."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from json import JSONDecodeError, JSONDecoder
from typing import Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from activation_dagster.errors import RetryLater

PATH = "/v1/webhooks/{source}"
SIGNATURE = "x-signature"
RETRY_AFTER_SECONDS = 5

_DECODER = JSONDecoder()
_SPACE = " \t\r\n"


class DurableAppender(Protocol):
    """Takes lines, as the collector does."""

    async def append(self, environment: str, source: str, lines: Sequence[bytes]) -> None:
        """Land lines (without their ends, in this order); they are on disk when this returns.

        Raises RetryLater; then nobody may be told that they were taken.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSource:
    """A source that Segment sends to: where its events land, and the secret that both know.

    Segment signs of a batch its first event only, so that whoever saw one could put others behind it.
    `trusts_first_event` takes that; without it a batch must be signed as a whole.
    """

    name: str
    environment: str
    secret: str = field(repr=False)
    trusts_first_event: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookLimits:
    """Bytes and events of one request, and the seconds that its body may take."""

    max_bytes: int = 32 * 1024 * 1024
    max_events: int = 4_000
    body_seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    status: int
    code: str
    message: str


def webhook_routes(
    source_named: Callable[[str], WebhookSource | None],
    appender: DurableAppender,
    *,
    limits: WebhookLimits | None = None,
) -> list[Route]:
    """The route of all webhook sources, `POST /v1/webhooks/<source>`; mount it beside other doors.

    It answers 200 after the events are on disk, 401 where the signature is missing or wrong (also for a source that
    does not exist: nobody learns names), 400 for what is no JSON object or array of them, 413 beyond the limits, and
    503 while nothing can be stored. What an event says is not judged here: it lands as it was sent.
    """
    bounds = limits or WebhookLimits()

    async def receive(request: Request) -> Response:
        try:
            async with asyncio.timeout(bounds.body_seconds):
                body = await _read(request, bounds.max_bytes)
        except TimeoutError:
            return _answer(
                _Refusal(status=408, code="timeout", message="The body did not come in time. Send it again.")
            )
        except ClientDisconnect:
            return Response(status_code=400)
        if isinstance(body, _Refusal):
            return _answer(body)
        source = source_named(str(request.path_params["source"]))
        given = request.headers.get(SIGNATURE, "")
        lines = await asyncio.to_thread(_taken, source, body, given, bounds)
        if isinstance(lines, _Refusal):
            return _answer(lines)
        assert source is not None
        if lines:
            try:
                await appender.append(source.environment, source.name, lines)
            except RetryLater:  # where events are stored, and why not, is nobody's business
                return _answer(
                    _Refusal(
                        status=503, code="unavailable", message="The events cannot be stored now. Send them again."
                    )
                )
        return Response(b'{"success": true}', media_type="application/json")

    return [Route(f"{PATH}{slash}", receive, methods=["POST"]) for slash in ("", "/")]


def signature(secret: str, signed: bytes) -> str:
    """What Segment puts into X-Signature: HMAC-SHA1 in lower-case hexadecimal digits."""
    return hmac.new(secret.encode(), signed, hashlib.sha1).hexdigest()


async def _read(request: Request, most: int) -> bytes | _Refusal:
    if request.headers.get("content-encoding", "identity") != "identity":
        return _Refusal(status=415, code="unsupported_encoding", message="The body is encoded. Send it plain.")
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            return _Refusal(
                status=413,
                code="payload_too_large",
                message=f"The body is over {most} bytes. Send fewer events at once.",
            )
        parts.append(part)
    return b"".join(parts)


def _taken(source: WebhookSource | None, body: bytes, given: str, limits: WebhookLimits) -> list[bytes] | _Refusal:
    """The lines of a body that is signed, or why there are none."""
    secret = "" if source is None else source.secret
    is_signed = _fits(secret, body, given)  # always computed, so that time does not tell which sources there are
    if source is None or not secret:
        return _unsigned("is missing or wrong")
    if not is_signed and not source.trusts_first_event:
        return _unsigned(
            "is missing or wrong, or covers the first event of a batch only, which this source does not take"
        )
    items = split_events(body)
    if not is_signed and not (items and body.lstrip()[:1] == b"[" and _fits(secret, items[0], given)):
        return _unsigned("is missing or wrong")
    if items is None:
        return _Refusal(status=400, code="invalid_json", message="The body is no JSON object, and no array of them.")
    if len(items) > limits.max_events:
        return _Refusal(
            status=413, code="too_many", message=f"More than {limits.max_events} events came at once. Send fewer."
        )
    return [item.replace(b"\r", b" ").replace(b"\n", b" ") for item in items]  # inside a text neither is JSON anyway


def _fits(secret: str, signed: bytes, given: str) -> bool:
    return hmac.compare_digest(signature(secret, signed).encode(), given.strip().lower().encode())


def _unsigned(what: str) -> _Refusal:
    return _Refusal(status=401, code="invalid_signature", message=f"X-Signature {what}.")


def split_events(body: bytes) -> list[bytes] | None:
    """The events of a body, each as it was sent: the object, or the objects of an array; None where it is neither."""
    try:
        text = body.decode()
        at = _skip(text, 0)
        found: list[bytes] = []
        if text[at : at + 1] == "[":
            at = _skip(text, at + 1)
            while text[at : at + 1] != "]":
                at = _one(text, at, found)
                if text[at : at + 1] == ",":
                    at = _skip(text, at + 1)
                    if text[at : at + 1] == "]":
                        return None
                elif text[at : at + 1] != "]":
                    return None
            at = _skip(text, at + 1)
        else:
            at = _one(text, at, found)
    except (UnicodeDecodeError, JSONDecodeError, RecursionError):
        return None
    return found if at == len(text) else None


def _one(text: str, at: int, found: list[bytes]) -> int:
    """Take the object at `at`; where the next thing stands."""
    if text[at : at + 1] != "{":
        raise JSONDecodeError("no object", text, at)
    _, end = _DECODER.raw_decode(text, at)
    found.append(text[at:end].encode())
    return _skip(text, end)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _answer(refusal: _Refusal) -> Response:
    said = {"success": False, "code": refusal.code, "message": refusal.message, "error": refusal.message}
    answer = Response(json.dumps(said), status_code=refusal.status, media_type="application/json")
    if refusal.status in (408, 503):
        answer.headers["retry-after"] = str(RETRY_AFTER_SECONDS)
    return answer
