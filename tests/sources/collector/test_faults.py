"""Whatever happens to the collector, what it acknowledged is in landing, whole; what it cannot keep it refuses.

`make test-collector` repeats the first of these 200 times (COLLECTOR_ROUNDS) with one worker and with two
(COLLECTOR_WORKERS), and opens 10,000 connections.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Generator
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path

import httpx
import psutil
import pytest

from activation_dagster.sources.collector import server
from activation_dagster.sources.open_segments import recover
from tests.sources.collector.load import Load, batch_of, under_load
from tests.sources.collector.running import (
    KEY,
    Running,
    basic,
    in_a_process,
    in_a_thread,
    limited,
    settings_under,
    until,
)

WORKERS = [int(one) for one in os.environ.get("COLLECTOR_WORKERS", "1,2").split(",")]
ROUNDS = int(os.environ.get("COLLECTOR_ROUNDS", "3"))
CONNECTIONS = int(os.environ.get("COLLECTOR_CONNECTIONS", "1000"))
ENDED = (0, -signal.SIGTERM)
"""uvicorn raises the signal once more when all is closed; a supervisor takes it for what it is."""
AUTHORIZED = {"authorization": basic(KEY)}


def landed_ids(running: Running) -> list[str]:
    """The messageId of every sealed line; each line must be whole."""
    return [str(one["messageId"]) for one in map(json.loads, running.lines())]


def sealed_by_the_next(running: Running) -> None:
    """What whoever starts next does first."""
    recover(running.landing(), lambda: datetime.now(UTC))


@pytest.mark.parametrize("workers", WORKERS)
def test_kill_9_at_any_moment_under_load_loses_nothing_that_was_acknowledged(tmp_path: Path, workers: int) -> None:
    settings = settings_under(tmp_path)
    load = Load()
    home = Running(port=0, settings=settings)
    for number in range(ROUNDS):
        chance = random.Random(number)
        with in_a_process(settings, workers=workers) as running:
            before = len(load.acknowledged)
            with under_load(running.port, load, word=f"r{number}"):
                until(lambda before=before: len(load.acknowledged) > before)
                time.sleep(chance.uniform(0, 0.5))  # a random moment, not a condition
                assert running.process is not None
                os.killpg(running.process.pid, signal.SIGKILL)
                running.process.wait()
    sealed_by_the_next(home)
    landed = landed_ids(home)
    assert load.missing(landed) == set()
    assert set(landed) <= load.sent
    assert home.open_files() == []
    assert len(load.acknowledged) >= ROUNDS


def test_a_worker_that_is_killed_leaves_its_file_to_the_living_and_is_replaced(tmp_path: Path) -> None:
    settings = settings_under(tmp_path, collector_seal_seconds=600.0)
    load = Load()
    with in_a_process(settings, workers=2) as running:
        assert running.process is not None
        with under_load(running.port, load, word="a", threads=8):
            until(lambda: both_write(running))
            workers = workers_of(running.process.pid)
            before = len(load.acknowledged)
            workers[0].kill()
            until(lambda: running.landing().segments())  # the other one sealed the dead one's file
            until(lambda: len(load.acknowledged) > before + 100)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=60) in ENDED
        assert load.missing(landed_ids(running)) == set()


def both_write(running: Running) -> bool:
    """Whether two workers hold a file; another connection, because those of before may all be of who listened first."""
    httpx.post(f"{running.url}/v1/batch", content=batch_of([uuid.uuid4().hex]), headers=AUTHORIZED, timeout=60)
    return len(running.open_files()) == 2


def workers_of(parent: int) -> list[psutil.Process]:
    return [one for one in psutil.Process(parent).children() if "resource_tracker" not in " ".join(one.cmdline())]


def test_sigterm_answers_who_was_taken_and_seals_everything(tmp_path: Path) -> None:
    settings = settings_under(tmp_path, collector_seal_seconds=600.0)
    load = Load()
    with in_a_process(settings) as running:
        assert running.process is not None
        with under_load(running.port, load, word="a"):
            until(lambda: len(load.acknowledged) > 20)
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(timeout=60) in ENDED
        assert running.open_files() == []
        assert load.missing(landed_ids(running)) == set()
        assert not any("Traceback" in line or '"error"' in line.lower() for line in running.log), running.log


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of one megabyte; only root can mount one."""
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(where)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here; a limit on files stands in for it in the next test")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def test_a_full_disk_is_503_until_there_is_room_and_loses_nothing(tmp_path: Path, tiny_disk: Path) -> None:
    settings = settings_under(tmp_path).model_copy(update={"home": tiny_disk})
    load = Load()
    ballast = tiny_disk / "ballast"
    with in_a_thread(settings) as running, httpx.Client(base_url=running.url, timeout=60, headers=AUTHORIZED) as client:
        assert client.post("/v1/batch", content=batch_of(["first"])).status_code == 200
        load.acknowledged.add("first")
        _fill(ballast)
        refused = until(lambda: _refused(client, load))
        assert refused.json()["code"] == "unavailable"
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/health/ready").status_code == 503
        assert client.get("/health/live").status_code == 200
        ballast.unlink()
        until(lambda: client.get("/health/ready").status_code == 200)  # by itself, with no events coming
        assert client.post("/v1/batch", content=batch_of(["last"])).status_code == 200
        load.acknowledged.add("last")
    assert load.missing(landed_ids(running)) == set()


def test_a_disk_that_becomes_read_only_is_503_until_it_may_be_written_again(tmp_path: Path, tiny_disk: Path) -> None:
    settings = settings_under(tmp_path).model_copy(update={"home": tiny_disk})
    load = Load()
    with in_a_thread(settings) as running, httpx.Client(base_url=running.url, timeout=60, headers=AUTHORIZED) as client:
        assert client.post("/v1/batch", content=batch_of(["first"])).status_code == 200
        load.acknowledged.add("first")
        until(lambda: not running.open_files())  # a file that is written to would keep the disk writable
        until(lambda: _remounted(tiny_disk, "ro"))
        try:
            refused = until(lambda: _refused(client, load))
            assert (refused.json()["code"], int(refused.headers["retry-after"]) >= 1) == ("unavailable", True)
            assert client.get("/health/ready").status_code == 503
        finally:
            until(lambda: _remounted(tiny_disk, "rw"))
        until(lambda: client.get("/health/ready").status_code == 200)  # by itself
        assert client.post("/v1/batch", content=batch_of(["last"])).status_code == 200
        load.acknowledged.add("last")
    assert load.missing(landed_ids(running)) == set()


def _remounted(where: Path, how: str) -> bool:
    return subprocess.run(["mount", "-o", f"remount,{how}", str(where)], capture_output=True).returncode == 0


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def _refused(client: httpx.Client, load: Load) -> httpx.Response | None:
    message = uuid.uuid4().hex
    answer = client.post("/v1/batch", content=batch_of([message], padding=8_000))
    if answer.status_code == 200:
        load.acknowledged.add(message)
        return None
    assert answer.status_code == 503, answer.text
    return answer


LIMIT = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
"""


def test_a_file_that_may_not_grow_is_503_and_a_new_one_is_taken_without_a_restart(tmp_path: Path) -> None:
    settings = settings_under(tmp_path, collector_seal_seconds=600.0)
    with in_a_process(settings, before=LIMIT) as running:
        assert running.process is not None
        messages: list[str] = []
        statuses: list[int] = []
        with httpx.Client(base_url=running.url, timeout=60, headers=AUTHORIZED) as client:
            while 503 not in statuses:
                message = f"m{len(statuses)}"
                statuses.append(client.post("/v1/batch", content=batch_of([message], padding=9_000)).status_code)
                if statuses[-1] == 200:
                    messages.append(message)
            hard = psutil.Process(running.process.pid).rlimit(psutil.RLIMIT_FSIZE)[1]
            psutil.Process(running.process.pid).rlimit(psutil.RLIMIT_FSIZE, (hard, hard))
            assert client.post("/v1/batch", content=batch_of(["after"], padding=9_000)).status_code == 200
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=60) in ENDED
        assert landed_ids(running) == [*messages, "after"]


def test_a_disk_that_does_not_answer_is_503_and_a_full_queue_429(tmp_path: Path) -> None:
    with in_a_thread(settings_under(tmp_path)) as running:
        assert running.collector is not None
        appender = running.collector.appender
        with httpx.Client(base_url=running.url, timeout=60, headers=AUTHORIZED) as client:
            assert client.post("/v1/batch", content=batch_of(["first"])).status_code == 200
            until(lambda: not appender._open)
            appender.limits = replace(appender.limits, answer_seconds=0.5, waiting_bytes=3_000)
            is_well = threading.Event()
            appender._landing_of("demo")._at = lambda _: _wait_for(is_well)
            try:
                full = client.post("/v1/batch", content=batch_of(["large"], padding=4_000))
                assert (full.status_code, full.json()["code"]) == (429, "too_many_requests")
                assert int(full.headers["retry-after"]) >= 1
                slow = client.post("/v1/batch", content=batch_of(["slow"]))
                assert (slow.status_code, slow.json()["code"]) == (503, "unavailable")
                until(lambda: client.get("/health/ready").status_code == 503)
            finally:
                is_well.set()
            appender.limits = replace(appender.limits, answer_seconds=30.0)
            assert client.post("/v1/batch", content=batch_of(["last"])).status_code == 200
    # What was answered with 503 may have landed: its sender sends it again, and the messageId tells.
    assert {"first", "last"} <= set(landed_ids(running)) <= {"first", "slow", "last"}


def _wait_for(event: threading.Event) -> None:
    event.wait(60)


# -- clients that do harm ----------------------------------------------------------------------------------------------


def test_a_gzip_bomb_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    bomb = gzip.compress(b'{"batch":[' + b" " * 200_000_000, compresslevel=9)
    assert len(bomb) < 400_000
    with in_a_process(settings_under(tmp_path)) as running:
        assert running.process is not None
        process = psutil.Process(running.process.pid)
        with httpx.Client(base_url=running.url, timeout=60, headers=AUTHORIZED) as client:
            assert client.post("/v1/batch", content=batch_of(["warm"])).status_code == 200
            before = process.memory_info().rss
            for _ in range(5):
                answer = client.post("/v1/batch", content=bomb, headers={"content-encoding": "gzip"})
                assert (answer.status_code, answer.json()["code"]) == (400, "payload_too_large")
            assert process.memory_info().rss - before < 30_000_000


def test_a_body_that_is_refused_on_the_way_is_read_to_its_end_and_the_connection_goes_on(tmp_path: Path) -> None:
    """Its rest is no request: a client that still writes would lose the answer with the connection."""
    bomb = gzip.compress(b'{"batch":[' + b" " * 200_000_000, compresslevel=9)
    assert len(bomb) > 2 * server.MAX_HEAD_BYTES
    with in_a_thread(settings_under(tmp_path)) as running, ExitStack() as stack:
        one = HTTPConnection("127.0.0.1", running.port, timeout=60)
        stack.callback(one.close)
        one.connect()
        one.auto_open = 0  # a connection that is closed is not opened again
        one.putrequest("POST", "/v1/batch")
        for name, value in (AUTHORIZED | {"content-encoding": "gzip", "content-length": str(len(bomb))}).items():
            one.putheader(name, value)
        one.endheaders(bomb[: len(bomb) // 3])
        time.sleep(0.5)  # it is refused by now
        one.send(bomb[len(bomb) // 3 :])
        refused = one.getresponse()
        assert (refused.status, json.loads(refused.read())["code"]) == (400, "payload_too_large")
        one.request("POST", "/v1/batch", body=batch_of(["after"]), headers=AUTHORIZED)
        assert one.getresponse().status == 200


def test_slow_senders_and_idle_connections_keep_nobody_waiting_and_are_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 3.0)
    with ExitStack() as stack:
        running = stack.enter_context(in_a_thread(settings_under(tmp_path), limits=limited(body_seconds=1.0)))
        assert running.collector is not None
        running.collector.intake._seconds = 1.0

        def connected(first: bytes) -> socket.socket:
            one = stack.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=60))
            one.sendall(first)
            return one

        in_the_head = [connected(b"POST /v1/track HTTP/1.1\r\nhost: x\r\nx-slow:") for _ in range(20)]
        in_the_body = [
            connected(b"POST /v1/track HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{") for _ in range(20)
        ]
        with httpx.Client(base_url=running.url, timeout=60, headers=AUTHORIZED) as client:
            assert client.post("/v1/batch", content=batch_of(["beside"])).status_code == 200
        assert all(b"408" in one.recv(4096).split(b"\r\n")[0] for one in in_the_body)
        assert all(one.recv(4096) == b"" for one in in_the_head)
        assert running.collector.intake.held == 0


def test_a_head_without_an_end_is_cut_off_in_bounded_memory(tmp_path: Path) -> None:
    with in_a_thread(settings_under(tmp_path)) as running:
        sent = 0
        with (
            socket.create_connection(("127.0.0.1", running.port), timeout=60) as sender,
            suppress(ConnectionError),
        ):
            sender.sendall(b"POST /v1/track HTTP/1.1\r\n")
            while sent < 64_000_000:
                sent += sender.send(b"x-long: " + b"y" * 8_000 + b"\r\n")
        assert sent < 32_000_000


def test_many_idle_connections_do_no_harm(tmp_path: Path) -> None:
    with in_a_process(settings_under(tmp_path)) as running, ExitStack() as stack:
        assert running.process is not None
        process = psutil.Process(running.process.pid)
        client = stack.enter_context(httpx.Client(base_url=running.url, timeout=60, headers=AUTHORIZED))

        def send(name: str) -> None:
            for number in range(20):
                assert client.post("/v1/batch", content=batch_of([f"{name}{number}"])).status_code == 200

        send("warm")  # what the first requests take is not the connections' share
        before = process.memory_info().rss
        for _ in range(CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=60))
        until(lambda: process.num_fds() > CONNECTIONS)
        send("m")
        assert (process.memory_info().rss - before) / CONNECTIONS < 30_000


def test_nothing_that_a_person_sent_and_no_key_reaches_the_log(tmp_path: Path) -> None:
    secret = uuid.uuid4().hex
    with in_a_process(settings_under(tmp_path)) as running:
        assert running.process is not None
        with httpx.Client(base_url=running.url, timeout=60) as client:
            for path in ("track", "batch", "m", f"nowhere/{secret}"):
                for body in (
                    f'{{"userId":"{secret}","writeKey":"{KEY}"}}',
                    f'{{"{secret}',
                    f'{{"writeKey":"{secret}"}}',
                ):
                    client.post(f"/v1/{path}?email={secret}", content=body, headers={"user-agent": secret})
            client.get(f"/v1/receipts/{secret}", headers=AUTHORIZED)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=60) in ENDED
        log = "".join(running.log)
        assert '"collector_started"' in log
        assert secret not in log
        assert KEY not in log
