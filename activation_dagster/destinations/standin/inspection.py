"""What a test or a person may ask of the stand-in that nobody could ask of Iterable: /_standin/*."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar, cast

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from activation_dagster.destinations.standin.faults import Fault, FaultMode, FaultQueue
from activation_dagster.destinations.standin.rules import JsonObject
from activation_dagster.destinations.standin.store import Store
from activation_dagster.domain.sends import Json

_T = TypeVar("_T")
_MAX_PAGE = 10_000
_COUNTS = """
select (select count(*) from users) as users,
       (select count(*) from events) as events,
       (select coalesce(sum(times_received), 0) from events) as event_receipts,
       (select count(*) from workflow_entries) as workflow_entries,
       (select count(*) from workflow_entries where entry_number > 1) as repeated_workflow_entries,
       (select coalesce(sum(calls), 0) from refusals) as refused_calls
"""
_PAGES = ("events", "workflow_entries", "users")


class InStoreThread(Protocol):
    """Runs work where the store may be used."""

    def __call__(self, work: Callable[[], _T]) -> Awaitable[_T]:
        """Awaits the result of the work."""
        ...


def _json(value: Json, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


def _wrong(sentence: str) -> Response:
    return _json({"error": sentence}, 400)


class Inspection:
    """The routes under /_standin/; they need no key, since the server listens on loopback only."""

    def __init__(
        self, store: Store, faults: FaultQueue, workflow_ids: Sequence[int], in_store_thread: InStoreThread
    ) -> None:
        self._store = store
        self._faults = faults
        self._workflow_ids = workflow_ids
        self._in_store_thread = in_store_thread

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("/_standin/summary", self._summary, methods=["GET"]),
            *(Route(f"/_standin/{name}", self._page, methods=["GET"]) for name in _PAGES),
            Route("/_standin/faults", self._order_fault, methods=["POST"]),
            Route("/_standin/faults", self._clear_faults, methods=["DELETE"]),
            Route("/_standin/reset", self._reset, methods=["POST"]),
            Route("/_standin/forget", self._forget, methods=["POST"]),
            Route("/_standin/workflows", self._register_workflows, methods=["POST"]),
        ]

    async def _summary(self, request: Request) -> Response:  # noqa: ARG002 - Starlette passes it
        def read() -> JsonObject:
            counts: JsonObject = {**self._store.rows(_COUNTS)[0]}
            refusals = self._store.rows("select * from refusals order by endpoint, status, code")
            return {**counts, "refusals": [{**row} for row in refusals]}

        return _json(await self._in_store_thread(read))

    async def _page(self, request: Request) -> Response:
        name = request.url.path.rsplit("/", 1)[1]
        try:
            after = int(request.query_params.get("after", "0"))
            limit = min(int(request.query_params.get("limit", "1000")), _MAX_PAGE)
        except ValueError:
            return _wrong("'after' and 'limit' must be whole numbers; correct the query.")

        def read() -> list[dict[str, int | str | None]]:
            sql = f"select * from {name} where row_id > ? order by row_id limit ?"
            return self._store.rows(sql, (after, limit))

        rows = await self._in_store_thread(read)
        page: list[Json] = []
        for row in rows:
            shown: JsonObject = {**row}
            for column in ("body", "fields"):
                if column in row:
                    shown[column] = orjson.loads(str(row[column]))
            page.append(shown)
        return _json({name: page, "next_after": rows[-1]["row_id"] if rows else after})

    async def _order_fault(self, request: Request) -> Response:
        try:
            order = cast(JsonObject, orjson.loads(await request.body()))
            fault = Fault(
                endpoint=str(order["endpoint"]),
                mode=FaultMode(str(order["mode"])),
                status=int(cast(int, order.get("status", 500))),
                seconds=float(cast(float, order.get("seconds", 0.0))),
                times=int(cast(int, order.get("times", 1))),
                text=cast("str | None", order.get("text")),
                reply=cast("JsonObject | None", order.get("reply")),
                retry_after=cast("str | None", order.get("retry_after")),
            )
        except (KeyError, TypeError, ValueError) as error:
            return _wrong(f"The fault cannot be read ({type(error).__name__}); give endpoint, mode, status, seconds.")
        self._faults.order(fault)
        return _json({"ordered": fault.times})

    async def _clear_faults(self, request: Request) -> Response:  # noqa: ARG002 - Starlette passes it
        self._faults.clear()
        return _json({"ordered": 0})

    async def _reset(self, request: Request) -> Response:  # noqa: ARG002 - Starlette passes it
        def reset() -> None:
            self._store.clear()
            self._store.register_workflows(self._workflow_ids)

        self._faults.clear()
        await self._in_store_thread(reset)
        return _json({"reset": True})

    async def _forget(self, request: Request) -> Response:
        order = orjson.loads(await request.body())
        column, name = ("user_id", "userId") if "userId" in order else ("email", "email")
        if not isinstance(order.get(name), str):
            return _wrong("Nobody to forget; give userId or email.")
        identifier: str = order[name]
        await self._in_store_thread(lambda: self._store.forget(column, identifier))
        return _json({"forgotten": 1})

    async def _register_workflows(self, request: Request) -> Response:
        order = orjson.loads(await request.body())
        workflow_ids = [int(number) for number in order.get("workflowIds", [])]
        await self._in_store_thread(lambda: self._store.register_workflows(workflow_ids))
        return _json({"registered": len(workflow_ids)})
