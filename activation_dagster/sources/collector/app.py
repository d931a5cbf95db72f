"""The collector's application: Segment's Tracking API, answered after the events are on disk."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from activation_dagster.sources.collector.answers import (
    CORS,
    JSON_TYPE,
    PREFLIGHT,
    SUCCESS,
    advice_of,
    http_error,
    said_of,
    send_answer,
)
from activation_dagster.sources.collector.appender import Appender
from activation_dagster.sources.collector.desk import Desk, Forwards, Receipts
from activation_dagster.sources.collector.figures import Figures
from activation_dagster.sources.collector.intake import Gone, Intake, Refused
from activation_dagster.sources.collector.reception import CollectorLimits, Reception
from activation_dagster.sources.collector.service import Service

__all__ = ["Collector", "CollectorLimits"]

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


class Collector:
    """One worker's application; `appender` is started and closed with it."""

    def __init__(
        self,
        *,
        appender: Appender,
        desk: Desk,
        receipts: Receipts,
        forwards: Forwards,
        limits: CollectorLimits,
        clock: Callable[[], datetime],
    ) -> None:
        self.appender = appender
        self.figures = Figures(
            waiting_bytes=appender.waiting_bytes,
            is_ready=lambda: float(not self._trouble()),
            pressure=lambda: float(self.reception.pressure()),
        )
        self.reception = Reception(appender=appender, desk=desk, figures=self.figures, limits=limits, clock=clock)
        self._desk = desk
        self._service = Service(
            reception=self.reception,
            desk=desk,
            receipts=receipts,
            forwards=forwards,
            figures=self.figures,
            trouble=self._trouble,
            clock=clock,
        )

    @property
    def desk(self) -> Desk:
        """Whom the collector asks, for doors that are mounted beside its own."""
        return self._desk

    @property
    def intake(self) -> Intake:
        """The bodies that are being read."""
        return self.reception.intake

    def routes(self) -> list[BaseRoute]:
        """Every path of the collector; other doors can be mounted beside them."""
        found: list[BaseRoute] = []
        for name, call in CALLS.items():
            door = _Door(self, name=name, call=call)
            found += [Route(f"/v1/{name}{slash}", door) for slash in ("", "/")]
        return [*found, *self._service.routes()]

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
            exception_handlers={HTTPException: http_error},
        )
        app.router.redirect_slashes = False  # a redirected POST is lost: Node counts 3xx as success
        return app

    def _trouble(self) -> str:
        """Why events are not taken, in words for anybody; contracts in trouble stop nothing."""
        return "Events cannot be stored now." if self.appender.trouble else ""

    async def _refresh(self) -> None:
        while True:
            self.figures.refresh()
            await asyncio.sleep(self.reception.limits.refresh_seconds)
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
            await send_answer(send, 204, PREFLIGHT, b"")
            return
        try:
            if method != "POST":
                raise Refused(405, "method_not_allowed", "Events are sent with POST.")
            made = await self._collector.reception.take(scope, receive, call=self._call)
            if made:
                headers.append((b"x-message-id", made.encode()))
        except Refused as refused:
            status, content = refused.status, said_of(refused)
            headers += advice_of(refused)
            figures.refused.labels(refused.code).inc()
        except Gone:
            figures.refused.labels("client_gone").inc()
            return
        headers.append((b"content-length", str(len(content)).encode()))
        await send_answer(send, status, headers, content)
        figures.requests.labels(self._name, str(status)).inc()
        figures.seconds.observe(time.perf_counter() - began)
