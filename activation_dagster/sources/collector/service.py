"""What the collector answers beside events: settings for SDKs, receipts, health, figures, its own description."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from activation_dagster.errors import ActivationError
from activation_dagster.sources.collector.answers import SUCCESS, json_answer, preflight, refusal
from activation_dagster.sources.collector.callers import basic_key, bearer
from activation_dagster.sources.collector.desk import Desk, Forwards, Receipts
from activation_dagster.sources.collector.figures import Figures, Forwarded
from activation_dagster.sources.collector.intake import Gone, Refused
from activation_dagster.sources.collector.openapi import description
from activation_dagster.sources.collector.reception import Reception

log = logging.getLogger("activation.collector")

FORWARDS_SECONDS = 5.0
"""So long is believed what was read of forwards: scrapes must not keep state and landing busy."""


class Service:
    """The paths that take no events; `trouble` says why events are not taken now, or nothing."""

    def __init__(
        self,
        *,
        reception: Reception,
        desk: Desk,
        receipts: Receipts,
        forwards: Forwards,
        figures: Figures,
        trouble: Callable[[], str],
        clock: Callable[[], datetime],
    ) -> None:
        self._reception = reception
        self._desk = desk
        self._receipts = receipts
        self._forwards = forwards
        self._forwarded: tuple[float, Sequence[Forwarded] | None] = (float("-inf"), None)
        self._figures = figures
        self._trouble = trouble
        self._clock = clock
        self._asking = asyncio.Semaphore(4)
        self._reading = asyncio.Lock()

    def routes(self) -> list[BaseRoute]:
        """Each path, with and without a slash at its end."""
        answers: dict[str, tuple[str, Callable[[Request], Awaitable[Response]]]] = {
            "/v1/m": ("POST", self._self_metrics),
            "/v1/projects/{key}/settings": ("GET", self._settings),
            "/v1/receipts/{message_id:path}": ("GET", self._receipt),
            "/health/live": ("GET", self._live),
            "/health/ready": ("GET", self._ready),
            "/metrics": ("GET", self._metrics),
            "/openapi.json": ("GET", self._openapi),
        }
        return [
            Route(f"{path}{slash}", answer, methods=[method, "OPTIONS"])
            for path, (method, answer) in answers.items()
            for slash in (("",) if path.endswith(":path}") else ("", "/"))
        ]

    async def _self_metrics(self, request: Request) -> Response:
        """What analytics.js says of itself: taken, so that its console stays clean, and dropped."""
        if request.method == "OPTIONS":
            return preflight()
        try:
            text = await self._reception.intake.read(request.scope, request.receive)
            self._reception.intake.release(len(text))
        except Refused as refused:
            return refusal(refused)
        except Gone:
            return Response(status_code=400)
        return json_answer(200, SUCCESS)

    async def _settings(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return preflight()
        key = request.path_params["key"]
        if self._desk.source_of(key, self._clock()) is None:
            return refusal(Refused(401, "invalid_write_key", "The write key is unknown, or is taken no more."))
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
        return json_answer(200, json.dumps(said).encode())

    async def _receipt(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return preflight()
        try:
            source = self._reception.known(basic_key(request.scope) or bearer(request.scope), self._clock())
        except Refused as refused:
            return refusal(refused)
        message_id = request.path_params["message_id"]
        try:
            async with self._asking:
                said = await asyncio.to_thread(self._receipts, source, message_id)
        except ActivationError as error:
            log.error("receipts_unreadable", extra={"raised": type(error).__name__})
            sentence = "Receipts of this source cannot be read here now."
            return refusal(Refused(503, "unavailable", sentence, retry_after=5))
        if said is None:
            return refusal(Refused(404, "unknown_message", "No event of this source with this messageId is known."))
        return json_answer(200, json.dumps(said).encode())

    async def _live(self, _: Request) -> Response:
        return json_answer(200, SUCCESS)

    async def _ready(self, _: Request) -> Response:
        trouble = self._trouble()
        if trouble:
            return refusal(Refused(503, "not_ready", trouble, retry_after=5))
        said = {"success": True, "contracts": self._desk.trouble or "loaded"}
        return json_answer(200, json.dumps(said).encode())

    async def _metrics(self, _: Request) -> Response:
        async with self._reading:
            at, seen = self._forwarded
            if time.monotonic() - at > FORWARDS_SECONDS:
                seen = await asyncio.to_thread(self._read_forwards)
                self._forwarded = (time.monotonic(), seen)
        return Response(self._figures.text(seen), media_type="text/plain; version=0.0.4; charset=utf-8")

    def _read_forwards(self) -> Sequence[Forwarded] | None:
        try:
            return self._forwards()
        except ActivationError as error:
            log.error("forwards_unreadable", extra={"raised": type(error).__name__})
            return None

    async def _openapi(self, _: Request) -> Response:
        return json_answer(200, json.dumps(description(self._reception.limits.max_batch_bytes)).encode())
