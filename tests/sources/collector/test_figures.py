"""One page of figures, whichever worker answers: nothing is lost when one dies, and forwards stand there too."""

from __future__ import annotations

import re
import signal
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from activation_dagster.destinations.tracking_api import TrackingApi
from activation_dagster.pipeline.forward import Pace, forward
from activation_dagster.sources.collector import service
from activation_dagster.wiring import forward_targets, open_places
from tests.pipeline.tracking_server import far_collector
from tests.sources.collector.load import batch_of
from tests.sources.collector.running import KEY, Running, basic, in_a_process, in_a_thread, settings_under, until
from tests.sources.collector.test_faults import ENDED, both_write, workers_of

AUTHORIZED = {"authorization": basic(KEY)}


def figures(running: Running) -> Mapping[str, float]:
    """All figures by name and labels; over a connection of its own, so that any worker may answer."""
    text = httpx.get(f"{running.url}/metrics", timeout=60).text
    found = re.findall(r"^([a-z_]+(?:\{[^}]*\})?) ([0-9.e+-]+)$", text, flags=re.MULTILINE)
    names = [name for name, _ in found]
    assert len(names) == len(set(names)), "a figure stands twice"
    return {name: float(value) for name, value in found}


def counted(running: Running) -> float:
    return sum(value for name, value in figures(running).items() if name.startswith("collector_events_total"))


def test_two_workers_count_on_one_page_and_what_a_killed_one_counted_stays(tmp_path: Path) -> None:
    with in_a_process(settings_under(tmp_path, collector_seal_seconds=600.0), workers=2) as running:
        assert running.process is not None
        sent = 0

        def both_have_written() -> bool:
            nonlocal sent
            sent += 1
            return both_write(running)

        until(both_have_written)
        httpx.post(
            f"{running.url}/v1/batch", content=batch_of([uuid.uuid4().hex] * 20), headers=AUTHORIZED, timeout=60
        ).raise_for_status()
        sent += 20
        for _ in range(8):
            assert counted(running) == sent
        until(lambda: figures(running)["collector_workers"] == 2)
        killed = workers_of(running.process.pid)[0]
        killed.kill()
        until(lambda: not psutil.pid_exists(killed.pid))
        until(lambda: figures(running)["collector_workers"] == figures(running)["collector_ready"] == 2)
        for _ in range(4):
            assert counted(running) == sent
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=60) in ENDED


def test_how_far_forwards_are_stands_beside_it_and_one_that_nobody_looks_after_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "FORWARDS_SECONDS", 0.0)
    ahead = timedelta(0)

    def clock() -> datetime:
        return datetime.now(UTC) + ahead

    settings = settings_under(tmp_path)
    with far_collector() as far, in_a_thread(settings, clock=clock) as running:
        labels = f'{{source="shop",to="{far.address}"}}'
        assert "forward_lag_seconds" not in "".join(figures(running))
        file = settings.contracts / "sources.yaml"
        said = yaml.safe_load(file.read_text())
        said["sources"]["shop"]["forward"] = {"to": far.address, "key": "FAR_KEY"}
        file.write_text(yaml.safe_dump(said))
        assert figures(running)[f"forward_begun{labels}"] == 0
        from activation_dagster.registry.source_files import load_sources

        (target,) = forward_targets(load_sources(settings.contracts), "demo")

        def pass_over() -> None:
            receiver = TrackingApi(far.address, "key")
            with open_places(settings, clock=clock) as places:
                forward(places, target, receiver, Pace(wait=lambda _: False, most_tries=3))
            receiver.close()

        pass_over()
        page = '{"type": "page", "anonymousId": "a", "messageId": "m1"}'
        for body in (page, '{"type": "page", "messageId": "m2"}'):
            httpx.post(f"{running.url}/v1/page", content=body, headers=AUTHORIZED, timeout=60).raise_for_status()
        until(lambda: not running.open_files() and running.lines())
        seen = figures(running)
        assert (seen[f"forward_begun{labels}"], seen[f"forward_stale{labels}"]) == (1, 0)
        assert seen[f"forward_waiting_segments{labels}"] >= 1
        ahead = timedelta(seconds=300)
        behind = figures(running)
        assert behind[f"forward_lag_seconds{labels}"] >= 290
        assert behind[f"forward_stale{labels}"] == 1
        pass_over()
        assert far.ids == ["m1"]
        after = figures(running)
        assert (after[f"forward_lag_seconds{labels}"], after[f"forward_stale{labels}"]) == (0, 0)
        assert after[f"forward_sent_events_total{labels}"] == 1
        assert after[f'forward_withheld_events_total{{reason="no_identifier",{labels[1:]}'] == 1
        assert after["forward_readable"] == 1
        file.write_text("sources: [")
        assert figures(running)["forward_readable"] == 0
