"""The stand-in as an ASGI application: size, key, pace and faults first, then the endpoint's own rules."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from activation_dagster.destinations.standin import answers, calls
from activation_dagster.destinations.standin.answers import Answer
from activation_dagster.destinations.standin.calls import Project
from activation_dagster.destinations.standin.faults import Fault, FaultMode, FaultQueue
from activation_dagster.destinations.standin.inspection import Inspection
from activation_dagster.destinations.standin.limits import RATES, TokenBuckets
from activation_dagster.destinations.standin.rules import MAX_BODY_BYTES
from activation_dagster.destinations.standin.store import Store

TRANSPORT = "standin.transport"
"""Where the server leaves the connection in the scope, so that a fault can cut it."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StandinSettings:
    """How one stand-in runs. Without `api_key` any key passes, but there must be one; port 0 takes a free one."""

    store: Path
    port: int = 0
    api_key: str | None = field(default=None, repr=False)
    workflow_ids: tuple[int, ...] = ()
    rates: Mapping[str, float] = field(default_factory=lambda: RATES)
    rate_scale: float = 1.0
    project: Project = field(default_factory=Project)
    port_file: Path | None = None


class CutConnection(Response):
    """No answer at all: the connection is reset."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI passes it
        """Resets the connection and waits until the server has noticed, so that it sends nothing."""
        scope[TRANSPORT].abort()
        while (await receive())["type"] != "http.disconnect":
            pass


def _response(answer: Answer, retry_after: str | None = None) -> Response:
    headers = {"retry-after": retry_after} if retry_after is not None else None
    if answer.plain is not None:
        return Response(answer.plain, answer.status, headers, media_type="text/html")
    return Response(orjson.dumps(answer.body), answer.status, headers, media_type="application/json")


def _fault_response(fault: Fault) -> Response:
    answer = answers.envelope(fault.status, "GenericError", "Service temporarily unavailable")
    if fault.status == 429:
        answer = answers.rate_limited(fault.endpoint)
    if fault.reply is not None:
        answer = Answer(status=fault.status, body=fault.reply)
    if fault.text is not None:
        answer = Answer(status=fault.status, body={}, plain=fault.text)
    return _response(answer, fault.retry_after)


class StandinApp:
    """One project behind HTTP. All work on the store happens in one thread, beside the event loop."""

    def __init__(self, settings: StandinSettings, *, clock: Callable[[], float], clock_ms: Callable[[], int]) -> None:
        self._settings = settings
        self._store = Store(settings.store, clock_ms=clock_ms)
        self._store.register_workflows(settings.workflow_ids)
        self._faults = FaultQueue()
        self._buckets = TokenBuckets(settings.rates, scale=settings.rate_scale, clock=clock)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="standin-store")
        inspection = Inspection(self._store, self._faults, settings.workflow_ids, self.in_store_thread)
        self.asgi = Starlette(
            routes=[
                *(Route(path, self._post, methods=["POST"]) for path in calls.POST_CALLS),
                *(Route(path, self._get, methods=["GET"]) for path in _GET_PATHS),
                *inspection.routes(),
            ]
        )

    def close(self) -> None:
        """Waits for the write at hand and closes the store."""
        self._thread.shutdown(wait=True)
        self._store.close()

    async def in_store_thread(self, work: Callable[[], _T]) -> _T:
        """Runs work on the store after all work asked for before it."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _refuse(self, endpoint: str, answer: Answer) -> Answer:
        await self.in_store_thread(lambda: self._store.count_refusal(endpoint, answer.status, answer.code))
        return answer

    def _gatekeeper(self, request: Request, size: int) -> Answer | None:
        endpoint = request.url.path
        if size > MAX_BODY_BYTES:
            return answers.body_too_large()
        key = request.headers.get("api-key") or request.headers.get("api_key")  # header names know no case
        if not key or (self._settings.api_key is not None and key != self._settings.api_key):
            return answers.bad_api_key(endpoint)
        if not self._buckets.take(endpoint):
            return answers.rate_limited(endpoint)
        return None

    async def _post(self, request: Request) -> Response:
        fault = self._faults.take(request.url.path)
        if fault is not None and fault.mode is FaultMode.DROP_BEFORE:
            return CutConnection()
        body = bytearray()
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size <= MAX_BODY_BYTES:
                body += chunk
        if fault is not None and fault.mode is FaultMode.STATUS:
            return _fault_response(fault)
        if fault is not None and fault.mode is FaultMode.DELAY:
            await asyncio.sleep(fault.seconds)
        answer = await self._answer(request, bytes(body), size)
        if fault is not None and fault.mode is FaultMode.DROP_AFTER:
            return CutConnection()
        if fault is not None and fault.mode is FaultMode.STATUS_AFTER:
            return _fault_response(fault)
        return _response(answer)

    async def _answer(self, request: Request, body: bytes, size: int) -> Answer:
        endpoint = request.url.path
        if refusal := self._gatekeeper(request, size):
            return await self._refuse(endpoint, refusal)
        answer = await self.in_store_thread(lambda: self._keep(endpoint, body))
        return answer if answer.status < 400 else await self._refuse(endpoint, answer)

    def _keep(self, endpoint: str, body: bytes) -> Answer:
        try:
            call = orjson.loads(body)
        except orjson.JSONDecodeError:
            return answers.bad_json(endpoint)
        with self._store.transaction():
            return calls.POST_CALLS[endpoint](endpoint, self._store, self._settings.project, call)

    async def _get(self, request: Request) -> Response:
        endpoint = request.url.path
        if refusal := self._gatekeeper(request, 0):
            return _response(await self._refuse(endpoint, refusal))
        parameter = _GET_PATHS[endpoint]
        if parameter is None:
            return _response(await self.in_store_thread(lambda: calls.get_journeys(self._store)))
        name, column = parameter
        wanted = request.query_params.get(name)
        if wanted is None:
            answer = answers.envelope(400, "BadParams", f"Missing parameter: {name}")
            return _response(await self._refuse(endpoint, answer))
        return _response(await self.in_store_thread(lambda: calls.get_user(self._store, column, wanted)))


_GET_PATHS: Mapping[str, tuple[str, str] | None] = {
    "/api/users/byUserId": ("userId", "user_id"),
    "/api/users/getByEmail": ("email", "email"),
    "/api/journeys": None,
}
