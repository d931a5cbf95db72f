"""The collector's application: Segment's Tracking API, answered after the events are on disk."""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import json
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any, Literal, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from activation_dagster.domain.sources import Source
from activation_dagster.errors import ActivationError, LandingBusy, LandingUnwritable
from activation_dagster.sources.collector.appender import Appender
from activation_dagster.sources.collector.bodies import Body, Unreadable, read_body
from activation_dagster.sources.collector.figures import Figures
from activation_dagster.sources.collector.intake import Gone, Intake, Refused, header
from activation_dagster.sources.collector.lines import Arrival, landing_line
from activation_dagster.sources.collector.openapi import description
from activation_dagster.sources.collector.throttle import Throttle

log = logging.getLogger("activation.collector")

CALLS: dict[str, str | None] = {
    "track": "track",
    "identify": "identify",
    "page": "page",
    "screen": "screen",
    "group": "group",
    "alias": "alias",
    "t": "track",
    "i": "identify",
    "p": "page",
    "s": "screen",
    "g": "group",
    "a": "alias",
    "batch": None,
    "import": None,
    "b": None,
}
"""The last part of the path, and the type of its one event; None stands for a batch."""

SUCCESS = b'{"success": true}'
JSON_TYPE = (b"content-type", b"application/json")
CORS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"Retry-After, X-Message-Id"),
]
PREFLIGHT = [
    *CORS,
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (b"access-control-allow-headers", b"Content-Type, Content-Encoding, Authorization, X-Retry-Count"),
    (b"access-control-max-age", b"86400"),
    (b"content-length", b"0"),
]
YIELD_EVERY = 100
"""Events of a batch after which others get their turn."""
LONGEST_AGENT = 512


class Desk(Protocol):
    """Who a key belongs to and how events are judged (registry.front_desk.FrontDesk)."""

    trouble: str

    @property
    def environments(self) -> list[str]: ...

    def source_of(self, key: str, now: datetime, /) -> Source | None: ...

    def source_named(self, name: str, /) -> Source | None: ...

    def verdict(self, source: Source, event: Mapping[str, Any], received_at: datetime, /) -> str | None: ...

    def refresh(self) -> bool: ...


Receipts = Callable[[Source, str], Mapping[str, Any] | None]
"""What became of an event of a source, by its messageId; None where nothing is known of it. May block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorLimits:
    """What is taken, and how the client's address is kept. Bytes, events and seconds."""

    max_event_bytes: int = 32 * 1024
    max_batch_bytes: int = 500 * 1024
    max_batch_events: int = 2_500
    memory_bytes: int = 64 * 1024 * 1024
    body_seconds: float = 30.0
    refresh_seconds: float = 2.0
    client_address: Literal["off", "truncated", "full"] = "truncated"
    workers: int = 1


class Collector:
    """One worker's application; `appender` is started and closed with it."""

    def __init__(
        self,
        *,
        appender: Appender,
        desk: Desk,
        receipts: Receipts,
        limits: CollectorLimits,
        clock: Callable[[], datetime],
    ) -> None:
        self.appender = appender
        self.limits = limits
        self.intake = Intake(
            max_bytes=limits.max_batch_bytes, memory_bytes=limits.memory_bytes, seconds=limits.body_seconds
        )
        self.figures = Figures(
            waiting_bytes=lambda: appender.figures.waiting_bytes, is_ready=lambda: float(not self._trouble())
        )
        self._desk = desk
        self._receipts = receipts
        self._clock = clock
        self._throttle = Throttle(workers=limits.workers)
        self._asking = asyncio.Semaphore(4)

    @property
    def desk(self) -> Desk:
        """Whom the collector asks, for doors that are mounted beside its own."""
        return self._desk

    def routes(self) -> list[BaseRoute]:
        """Every path of the collector; other doors can be mounted beside them."""
        found: list[BaseRoute] = []
        for name, call in CALLS.items():
            door = _Door(self, name=name, call=call)
            found += [Route(f"/v1/{name}{slash}", door) for slash in ("", "/")]
        answers: dict[str, tuple[str, Callable[[Request], Awaitable[Response]]]] = {
            "/v1/m": ("POST", self._self_metrics),
            "/v1/projects/{key}/settings": ("GET", self._settings),
            "/v1/receipts/{message_id:path}": ("GET", self._receipt),
            "/health/live": ("GET", self._live),
            "/health/ready": ("GET", self._ready),
            "/metrics": ("GET", self._metrics),
            "/openapi.json": ("GET", self._openapi),
        }
        for path, (method, answer) in answers.items():
            slashes = ("",) if path.endswith(":path}") else ("", "/")
            found += [Route(f"{path}{slash}", answer, methods=[method, "OPTIONS"]) for slash in slashes]
        return found

    def application(self, more: list[BaseRoute] | None = None) -> Starlette:
        """The collector as an ASGI application, with the routes of other doors beside its own."""

        @asynccontextmanager
        async def life(_: Starlette) -> AsyncGenerator[None]:
            self.appender.watch(self._desk.environments)
            self.appender.start()
            refreshing = asyncio.create_task(self._refresh())
            log.info("collector_started", extra={"environments": self._desk.environments})
            try:
                yield
            finally:
                refreshing.cancel()
                await asyncio.to_thread(self.appender.close)
                log.info("collector_stopped", extra={"segments": self.appender.figures.sealed})

        app = Starlette(
            routes=[*self.routes(), *(more or [])],
            lifespan=life,
            exception_handlers={HTTPException: _http_error},
        )
        app.router.redirect_slashes = False  # a redirected POST is lost: Node counts 3xx as success
        return app

    async def take(self, scope: Scope, receive: Receive, *, call: str | None) -> str:
        """Land one request's events; the message id that was made for a single event, or nothing.

        Raises Refused or Gone.
        """
        body_bytes = await self.intake.read(scope, receive)
        try:
            return await self._land(scope, body_bytes, call=call)
        finally:
            self.intake.release(len(body_bytes))

    async def _land(self, scope: Scope, text: bytes, *, call: str | None) -> str:
        try:
            body = read_body(text, is_batch=call is None, basic_key=_basic_key(scope))
        except Unreadable as unreadable:
            raise Refused(400, "invalid_json", str(unreadable)) from None
        received_at = self._clock()
        source = self._known(body.write_key, received_at)
        if not body.items:
            return ""
        wait = self._throttle.wait_for(
            source.name, len(body.items), per_second=source.events_per_second, now=time.monotonic()
        )
        if wait > 0:
            raise Refused(429, "rate_limited", "This source sends more events than it may.", retry_after=ceil(wait))
        arrival = self._arrival(scope, body, received_at, call)
        lines: list[bytes] = []
        verdicts: dict[str, int] = {}
        made = ""

        def verdict(event: dict[str, Any]) -> str | None:
            return self._desk.verdict(source, event, received_at)

        for position, item in enumerate(body.items):
            line = landing_line(item, arrival, position, verdict)
            lines.append(line.line)
            said = line.reason or "accepted"
            verdicts[said] = verdicts.get(said, 0) + 1
            if line.message_id is not None and line.message_id.startswith(arrival.made_id):
                made = line.message_id
            if position % YIELD_EVERY == YIELD_EVERY - 1:
                await asyncio.sleep(0)
        try:
            await self.appender.append(source.environment, source.name, lines)
        except LandingBusy as busy:
            raise Refused(429, "too_many_requests", str(busy), retry_after=1) from None
        except LandingUnwritable:
            sentence = "The events cannot be stored now. Send them again."  # where they are stored is nobody's business
            raise Refused(503, "unavailable", sentence, retry_after=5) from None
        for said, events in verdicts.items():
            self.figures.events.labels(source.name, said).inc(events)
        self.figures.bytes.labels(source.name).inc(sum(map(len, lines)) + len(lines))
        return made if call is not None else ""

    def _known(self, key: str, now: datetime) -> Source:
        source = self._desk.source_of(key, now) if key else None
        if source is None:
            what = "is unknown, or is taken no more" if key else "is missing"
            raise Refused(401, "invalid_write_key", f"The write key {what}.")
        return source

    def _arrival(self, scope: Scope, body: Body, received_at: datetime, call: str | None) -> Arrival:
        return Arrival(
            received_at=f"{received_at:%Y-%m-%dT%H:%M:%S}.{received_at.microsecond // 1000:03d}Z",
            made_id=f"made-{uuid.uuid4().hex}",
            call=call,
            sent_at=body.sent_at,
            address=_address(scope, self.limits.client_address),
            agent=header(scope, b"user-agent")[:LONGEST_AGENT].decode("latin-1"),
            gpc=header(scope, b"sec-gpc").strip() == b"1",
            context=body.context,
            integrations=body.integrations,
            max_event_bytes=self.limits.max_event_bytes,
            max_events=self.limits.max_batch_events,
        )

    # -- the other paths ------------------------------------------------------------------------------------------

    async def _self_metrics(self, request: Request) -> Response:
        """What analytics.js says of itself: taken, so that its console stays clean, and dropped."""
        if request.method == "OPTIONS":
            return _preflight()
        try:
            text = await self.intake.read(request.scope, request.receive)
            self.intake.release(len(text))
        except Refused as refused:
            return _refusal(refused)
        except Gone:
            return Response(status_code=400)
        return _json(200, SUCCESS)

    async def _settings(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return _preflight()
        key = request.path_params["key"]
        if self._desk.source_of(key, self._clock()) is None:
            return _refusal(Refused(401, "invalid_write_key", "The write key is unknown, or is taken no more."))
        host = request.headers.get("host", "localhost")
        said: dict[str, Any] = {
            "integrations": {"Segment.io": {"apiKey": key, "apiHost": f"{host}/v1", "unbundledIntegrations": []}},
            "plan": {"track": {"__default": {"enabled": True, "integrations": {}}}},
            "edgeFunction": {},
            "analyticsNextEnabled": True,
            "middlewareSettings": {},
            "enabledMiddleware": {},
            "metrics": {"sampleRate": 0},
            "legacyVideoPluginsEnabled": False,
            "remotePlugins": [],
        }
        return _json(200, json.dumps(said).encode())

    async def _receipt(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return _preflight()
        try:
            source = self._known(_basic_key(request.scope) or _bearer(request.scope), self._clock())
        except Refused as refused:
            return _refusal(refused)
        message_id = request.path_params["message_id"]
        try:
            async with self._asking:
                said = await asyncio.to_thread(self._receipts, source, message_id)
        except ActivationError as error:
            log.error("receipts_unreadable", extra={"raised": type(error).__name__})
            sentence = "Receipts of this source cannot be read here now."
            return _refusal(Refused(503, "unavailable", sentence, retry_after=5))
        if said is None:
            return _refusal(Refused(404, "unknown_message", "No event of this source with this messageId is known."))
        return _json(200, json.dumps(said).encode())

    async def _live(self, _: Request) -> Response:
        return _json(200, SUCCESS)

    async def _ready(self, _: Request) -> Response:
        trouble = self._trouble()
        if trouble:
            return _refusal(Refused(503, "not_ready", trouble, retry_after=5))
        said = {"success": True, "contracts": self._desk.trouble or "loaded"}
        return _json(200, json.dumps(said).encode())

    async def _metrics(self, _: Request) -> Response:
        return Response(self.figures.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _openapi(self, _: Request) -> Response:
        return _json(200, json.dumps(description(self.limits.max_batch_bytes)).encode())

    def _trouble(self) -> str:
        """Why events are not taken, in words for anybody; contracts in trouble stop nothing."""
        return "Events cannot be stored now." if self.appender.trouble else ""

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(self.limits.refresh_seconds)
            if await asyncio.to_thread(self._desk.refresh):
                self.appender.watch(self._desk.environments)


class _Door:
    """One path that takes events, as a bare ASGI application: it is on the way of every event."""

    def __init__(self, collector: Collector, *, name: str, call: str | None) -> None:
        self._collector = collector
        self._name = name
        self._call = call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        figures = self._collector.figures
        headers = [JSON_TYPE, *CORS]
        content, status = SUCCESS, 200
        method = scope["method"]
        if method == "OPTIONS":
            await _send(send, 204, PREFLIGHT, b"")
            return
        try:
            if method != "POST":
                raise Refused(405, "method_not_allowed", "Events are sent with POST.")
            made = await self._collector.take(scope, receive, call=self._call)
            if made:
                headers.append((b"x-message-id", made.encode()))
        except Refused as refused:
            status, content = refused.status, _said(refused)
            headers += _advice(refused)
            figures.refused.labels(refused.code).inc()
        except Gone:
            figures.refused.labels("client_gone").inc()
            return
        headers.append((b"content-length", str(len(content)).encode()))
        await _send(send, status, headers, content)
        figures.requests.labels(self._name, str(status)).inc()
        figures.seconds.observe(time.perf_counter() - began)


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _said(refused: Refused) -> bytes:
    """Everything that some SDK reads from an error, at once."""
    said = {"success": False, "code": refused.code, "message": refused.message, "error": refused.message}
    return json.dumps(said).encode()


def _advice(refused: Refused) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    if refused.retry_after is not None:
        found.append((b"retry-after", str(max(1, refused.retry_after)).encode()))
    if refused.status == 401:
        found.append((b"www-authenticate", b'Basic realm="write key"'))
    if refused.status == 405:
        found.append((b"allow", b"POST, OPTIONS"))
    return found


def _refusal(refused: Refused) -> Response:
    answer = _json(refused.status, _said(refused))
    answer.raw_headers += _advice(refused)
    return answer


def _json(status: int, content: bytes) -> Response:
    answer = Response(content, status_code=status, media_type="application/json")
    answer.raw_headers += CORS
    return answer


def _preflight() -> Response:
    answer = Response(status_code=204)
    answer.raw_headers += PREFLIGHT[:-1]
    return answer


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed"}
    answer = _refusal(Refused(error.status_code, codes.get(error.status_code, "error"), str(error.detail)))
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


def _basic_key(scope: Scope) -> str:
    """The user of Basic authorization; the colon behind it may be missing, as old clients leave it out."""
    scheme, _, said = header(scope, b"authorization").partition(b" ")
    if scheme.lower() != b"basic":
        return ""
    try:
        return base64.b64decode(said.strip(), validate=True).partition(b":")[0].decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _bearer(scope: Scope) -> str:
    scheme, _, said = header(scope, b"authorization").partition(b" ")
    return said.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""


def _address(scope: Scope, kept: str) -> str:
    """The client's address as far as it is kept: truncated is a network of 256 (IPv4) or 2^80 (IPv6) addresses."""
    client = scope.get("client")
    if kept == "off" or not client:
        return ""
    try:
        found = ipaddress.ip_address(client[0])
    except ValueError:
        return ""
    if kept == "full":
        return str(found)
    return str(ipaddress.ip_network(f"{found}/{24 if found.version == 4 else 48}", strict=False).network_address)
