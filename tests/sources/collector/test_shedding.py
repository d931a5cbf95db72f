"""Too much is shed by declared criticality: SDKs get their 200, nothing critical is lost, and every sum counts it."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from activation_dagster.domain.shedding import PressureLimits, Sheddable
from activation_dagster.domain.sources import Source, SourceKey, key_sha256
from activation_dagster.pipeline.receipts import event_receipt
from activation_dagster.pipeline.watch import Totals, totals
from activation_dagster.pipeline.work import drain
from activation_dagster.sources.open_segments import recover
from activation_dagster.wiring import open_places
from tests.sources.collector.load import Load, under_load
from tests.sources.collector.running import (
    KEY,
    MADE,
    SOURCES,
    Running,
    basic,
    contracts_with_sources,
    in_a_process,
    in_a_thread,
    settings_under,
    until,
)

FAST_KEY, LENIENT_KEY, STRICT_KEY = "f" * 32, "l" * 32, "t" * 32
AUTHORIZED = {"authorization": basic(KEY)}


def limited(name: str, key: str, **more: Any) -> Source:
    keys = (SourceKey(sha256=key_sha256(key), made_at=MADE),)
    return Source(name=name, owner="shop", environment="demo", keys=keys, events_per_second=0.001, **more)


MORE = (
    limited("fast", FAST_KEY),
    limited("lenient", LENIENT_KEY, shed=Sheddable.STANDARD),
    limited("strict", STRICT_KEY, shed=Sheddable.NONE),
)


def page(message_id: str) -> dict[str, Any]:
    """Best effort."""
    return {"type": "page", "name": "Home", "anonymousId": "a", "messageId": message_id, "properties": {"path": "/"}}


def bought(message_id: str) -> dict[str, Any]:
    """Critical."""
    properties = {"product_id": "sku-1", "price": 9.5, "quantity": 1, "currency": "USD"}
    return {
        "type": "track", "event": "Product Purchased", "userId": "u", "messageId": message_id, "properties": properties,
    }  # fmt: skip


def cancelled(message_id: str) -> dict[str, Any]:
    """Standard."""
    return {**bought(message_id), "event": "Product Cancelled"}


def by_name(message_id: str) -> dict[str, Any]:
    """What a message id says that it is."""
    return page(message_id) if message_id.rpartition("-")[2][-1] in "02468" else bought(message_id)


def shed_ids(running: Running) -> dict[str, str]:
    return {one["messageId"]: one["collector"]["shed"] for one in running.events() if "shed" in one["collector"]}


def whole_ids(running: Running) -> set[str]:
    return {one["messageId"] for one in running.events() if "shed" not in one["collector"]}


def worked(running: Running) -> Totals:
    """The batches of all that has landed, and their sums."""
    with open_places(running.settings) as places:
        drain(places, now=places.clock)
        return totals(places)


def assert_summed(found: Totals, *, shed: dict[str, str]) -> None:
    assert found.conserved
    assert found.received == found.accepted + found.duplicate + found.quarantined + found.shed
    assert (found.shed, dict(found.shed_by_reason)) == (len(shed), Counter(shed.values()))


# -- a source over its rate --------------------------------------------------------------------------------------------


def test_over_its_rate_best_effort_is_shed_and_what_is_critical_stays(tmp_path: Path) -> None:
    contracts_with_sources(tmp_path, (*SOURCES, *MORE))
    mixed = [page("p0"), bought("c0"), cancelled("s0"), page("p1")]
    with (
        in_a_thread(settings_under(tmp_path)) as running,
        httpx.Client(base_url=running.url, timeout=60) as client,
    ):

        def answered(key: str, batch: list[dict[str, Any]]) -> httpx.Response:
            return client.post("/v1/batch", json={"batch": batch}, headers={"authorization": basic(key)})

        first = answered(FAST_KEY, [page("first")])  # a full bucket lets anything in once
        assert first.json() == {"success": True}
        only_pages = answered(FAST_KEY, [page("p8"), page("p9")])
        assert (only_pages.status_code, only_pages.content) == (200, b'{"success": true}')
        too_much = answered(FAST_KEY, mixed)  # shedding is not enough for these
        assert (too_much.status_code, too_much.json()["code"]) == (429, "rate_limited")
        assert int(too_much.headers["retry-after"]) >= 1
        assert answered(LENIENT_KEY, [bought("c1")]).status_code == 200
        assert answered(LENIENT_KEY, [page("p2"), cancelled("s2")]).status_code == 200
        assert answered(STRICT_KEY, [bought("c2")]).status_code == 200
        assert answered(STRICT_KEY, [page("p3")]).status_code == 429
        receipt = client.get("/v1/receipts/p8", headers={"authorization": basic(FAST_KEY)}).json()
        assert receipt == {"messageId": "p8", "status": "shed", "reason": "shed_rate_limit"}
        metrics = client.get("/metrics").text
        assert 'collector_events_total{source="fast",verdict="shed_rate_limit"} 2.0' in metrics
    shed = shed_ids(running)
    assert shed == dict.fromkeys(("p8", "p9", "p2", "s2"), "shed_rate_limit")
    assert whole_ids(running) == {"first", "c1", "c2"}
    assert_summed(worked(running), shed=shed)


def test_a_single_call_that_is_shed_is_told_its_made_id_and_may_be_asked_for(tmp_path: Path) -> None:
    contracts_with_sources(tmp_path, (*SOURCES, *MORE))
    headers = {"authorization": basic(FAST_KEY)}
    with (
        in_a_thread(settings_under(tmp_path)) as running,
        httpx.Client(base_url=running.url, timeout=60, headers=headers) as client,
    ):
        assert client.post("/v1/page", json=page("first")).status_code == 200
        answer = client.post("/v1/page", json={"name": "Home", "anonymousId": "a"})
        assert answer.status_code == 200
        made = answer.headers["x-message-id"]
        assert client.get(f"/v1/receipts/{made}").json()["status"] == "shed"
        event = running.sealed(made)
        assert set(event) == {"collector", "receivedAt", "messageId", "type", "name"}
        assert (event["type"], event["name"], event["collector"]["source"]) == ("page", "Home", "fast")


# -- a backlog before the disk -----------------------------------------------------------------------------------------


@contextmanager
def disk_that_waits(running: Running) -> Generator[None]:
    """While the block lasts, no new segment is opened, so that all lines wait."""
    assert running.collector is not None
    gate = threading.Event()
    landing = running.collector.appender._landing_of("demo")
    until(lambda: not running.open_files())
    landing._at = lambda _: _wait_for(gate)
    try:
        yield
    finally:
        landing._at = lambda _: None
        gate.set()


def _wait_for(gate: threading.Event) -> None:
    gate.wait(120)


def test_a_spike_sheds_best_effort_and_loses_nothing_critical(tmp_path: Path) -> None:
    settings = settings_under(tmp_path)
    with (
        in_a_thread(settings) as running,
        httpx.Client(base_url=running.url, timeout=120, headers=AUTHORIZED) as client,
        ThreadPoolExecutor(max_workers=20) as senders,
    ):
        assert running.collector is not None
        reception = running.collector.reception
        reception.limits = replace(reception.limits, pressure=PressureLimits(waiting_bytes=4_000, waiting_seconds=600))
        appender = running.collector.appender
        appender.limits = replace(appender.limits, answer_seconds=120.0)

        def send(batch: list[dict[str, Any]]) -> int:
            return client.post("/v1/batch", json={"batch": batch}).status_code

        with disk_that_waits(running):
            calm = senders.submit(send, [page("before-0"), bought("before-1")])
            until(lambda: appender.waiting_bytes() > 0)
            filling = senders.submit(send, [bought(f"fill-{number}1") for number in range(20)])
            until(lambda: appender.waiting_bytes() > 4_000)
            spike = [
                senders.submit(send, [page(f"spike{number}-0"), cancelled(f"std{number}"), bought(f"spike{number}-1")])
                for number in range(15)
            ]
            until(lambda: appender.waiting_bytes() > 12_000)
            assert "collector_shedding 2.0" in client.get("/metrics").text
        assert {one.result(timeout=120) for one in (calm, filling, *spike)} == {200}
        until(lambda: not running.open_files())
        shed = shed_ids(running)
        assert shed == {f"spike{number}-0": "shed_overload" for number in range(15)}
        kept = {f"spike{n}-1" for n in range(15)} | {f"std{n}" for n in range(15)} | {f"fill-{n}1" for n in range(20)}
        assert whole_ids(running) == kept | {"before-0", "before-1"}
        receipt = client.get("/v1/receipts/spike3-0").json()
        assert receipt == {"messageId": "spike3-0", "status": "shed", "reason": "shed_overload"}
        found = worked(running)
        assert_summed(found, shed=shed)
        assert client.get("/v1/receipts/spike3-0").json()["status"] == "shed"
        # It took no messageId: sent again when the spike is over, it is accepted.
        assert send([page("spike3-0")]) == 200
        assert client.get("/v1/receipts/spike3-0").json()["status"] == "pending"
        until(lambda: not running.open_files())
        again = worked(running)
        assert (again.accepted, again.duplicate, again.shed) == (found.accepted + 1, 0, 15)
        assert client.get("/v1/receipts/spike3-0").json()["status"] == "accepted"


def test_kill_9_in_the_middle_of_shedding_keeps_what_was_acknowledged_and_the_sums(tmp_path: Path) -> None:
    settings = settings_under(tmp_path, collector_shed_bytes=1)  # whatever waits is too much
    load, home = Load(), Running(port=0, settings=settings)
    for number in range(2):
        with in_a_process(settings, workers=2) as running:
            before = len(load.acknowledged)
            with under_load(running.port, load, word=f"r{number}", threads=8, make=by_name):
                until(lambda before=before: len(load.acknowledged) > before and _has_shed(running))
                time.sleep(random.Random(number).uniform(0, 0.3))  # a random moment, not a condition
                assert running.process is not None
                os.killpg(running.process.pid, signal.SIGKILL)
                running.process.wait()
    recover(home.landing(), lambda: datetime.now(UTC))
    shed, whole = shed_ids(home), whole_ids(home)
    assert shed
    assert load.acknowledged <= set(shed) | whole
    assert all(by_name(message)["type"] == "page" for message in shed)
    assert set(shed) & whole == set()
    found = worked(home)
    assert found.received == len(home.lines())
    assert_summed(found, shed=shed)


def _has_shed(running: Running) -> bool:
    contents = [path.read_bytes() for path in running.open_files() if path.exists()]
    return any(b'{"collector":{"shed"' in line for line in (*contents, *running.lines()))


# -- what the lines mean -----------------------------------------------------------------------------------------------


def test_a_client_cannot_shed_by_saying_so(tmp_path: Path) -> None:
    said = {"collector": {"shed": "shed_overload"}, **bought("m1")}
    with in_a_thread(settings_under(tmp_path)) as running:
        httpx.post(f"{running.url}/v1/track", content=json.dumps(said), headers=AUTHORIZED, timeout=60)
        assert "shed" not in running.sealed("m1")["collector"]
        with open_places(running.settings) as places:
            found = event_receipt(places, "m1", source="shop")
        assert found is not None
        assert found.status == "pending"
