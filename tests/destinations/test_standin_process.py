"""The stand-in as a process of its own: what it answered survives, and it tells nobody about anybody."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest


def event(user_id: str = "u1", **more: Any) -> dict[str, Any]:
    return {"userId": user_id, "eventName": "Cart", **more}


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


@contextmanager
def standin_process(folder: Path, *arguments: str) -> Generator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    port_file = folder / "port"
    port_file.unlink(missing_ok=True)
    module = [sys.executable, "-m", "activation_dagster.destinations.standin"]
    files = ["--store", str(folder / "standin.sqlite"), "--port", "0", "--port-file", str(port_file)]
    output = (folder / "output").open("ab")
    with output, subprocess.Popen([*module, *files, *arguments], stdout=output, stderr=output) as process:
        try:
            wait_for(port_file.exists)
            address = f"http://127.0.0.1:{int(port_file.read_text())}"
            with httpx.Client(base_url=address, headers={"Api_Key": "k"}) as client:
                yield process, client
        finally:
            process.send_signal(signal.SIGTERM)


def test_what_was_answered_survives_kill_9_with_types_journeys_and_forgotten_people(tmp_path: Path) -> None:
    with standin_process(tmp_path, "--api-key", "k", "--workflow-id", "7", "--workflow-id", "8") as (process, client):
        client.post("/api/users/bulkUpdate", json={"users": [{"userId": "u1"}]}).raise_for_status()
        client.post("/_standin/forget", json={"userId": "u2"}).raise_for_status()
        client.post("/api/events/track", json=event(id="a", dataFields={"n": 1})).raise_for_status()
        client.post("/api/workflows/triggerWorkflow", json={"workflowId": 8, "userId": "u1"}).raise_for_status()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with standin_process(tmp_path, "--api-key", "k") as (_, client):
        summary = client.get("/_standin/summary").json()
        assert (summary["users"], summary["events"], summary["workflow_entries"]) == (1, 1, 1)
        assert [journey["id"] for journey in client.get("/api/journeys").json()["journeys"]] == [7, 8]
        assert client.post("/api/events/track", json=event(dataFields={"n": "x"})).status_code == 400
        assert client.post("/api/users/update", json={"userId": "u2"}).status_code == 409
    with sqlite3.connect(tmp_path / "standin.sqlite") as store:
        assert store.execute("pragma integrity_check").fetchone() == ("ok",)
    store.close()


def test_it_prints_nothing_about_anybody(tmp_path: Path) -> None:
    with standin_process(tmp_path) as (_, client):
        client.get("/api/users/getByEmail", params={"email": "zelda@example.com"}).raise_for_status()
        client.post("/api/events/track", json=event("zelda"))
        client.post("/_standin/faults", json={"endpoint": "/api/events/track", "mode": "drop_after"})
        with pytest.raises(httpx.TransportError):
            client.post("/api/events/track", json=event("zelda"))
    assert (tmp_path / "output").read_text() == ""


def test_it_can_be_reached_on_loopback_only(tmp_path: Path) -> None:
    with standin_process(tmp_path) as (process, _):
        listening = [c for c in psutil.Process(process.pid).net_connections("inet") if c.status == "LISTEN"]
    assert [connection.laddr.ip for connection in listening] == ["127.0.0.1"]
