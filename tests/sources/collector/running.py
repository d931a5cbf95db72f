"""A collector on loopback: in a thread of this process, or as `activation collector` in one of its own."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn

from activation_dagster.domain.sources import Source, SourceKey, key_sha256
from activation_dagster.registry.source_files import with_source
from activation_dagster.settings import Settings
from activation_dagster.sources.collector.app import Collector, CollectorLimits
from activation_dagster.sources.collector.server import configuration
from activation_dagster.sources.landing import OPEN_FOLDER, Landing
from activation_dagster.wiring import collector_of

REPOSITORY = Path(__file__).resolve().parents[3]
KEY = "k" * 32
DEV_KEY = "d" * 32
OLD_KEY = "o" * 32
NARROW_KEY = "n" * 32
SLOW_KEY = "s" * 32
MADE = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE = 60.0

SOURCES = (
    Source(name="shop", owner="shop", environment="demo", keys=(SourceKey(sha256=key_sha256(KEY), made_at=MADE),)),
    Source(
        name="shop-dev", owner="shop", environment="dev", keys=(SourceKey(sha256=key_sha256(DEV_KEY), made_at=MADE),)
    ),
    Source(
        name="old",
        owner="shop",
        environment="demo",
        keys=(SourceKey(sha256=key_sha256(OLD_KEY), made_at=MADE, until=MADE),),
    ),
    Source(
        name="narrow",
        owner="shop",
        environment="demo",
        events=("page",),
        keys=(SourceKey(sha256=key_sha256(NARROW_KEY), made_at=MADE),),
    ),
    Source(
        name="slow",
        owner="shop",
        environment="demo",
        events_per_second=2.0,
        keys=(SourceKey(sha256=key_sha256(SLOW_KEY), made_at=MADE),),
    ),
)


def contracts_with_sources(folder: Path, sources: Iterable[Source] = SOURCES) -> Path:
    """A copy of the repository's contracts with these sources."""
    root = folder / "contracts"
    shutil.copytree(REPOSITORY / "contracts", root)
    text = ""
    for source in sources:
        text = with_source(text, source)
    (root / "sources.yaml").write_text(text)
    return root


def settings_under(folder: Path, **more: Any) -> Settings:
    """An installation under a folder, with the sources of this module; segments are sealed at once."""
    root = folder / "contracts" if (folder / "contracts").exists() else contracts_with_sources(folder)
    # A machine that is busy with other tests must shed nothing; tests of shedding say otherwise.
    known: dict[str, Any] = {"collector_seal_seconds": 0.05, "collector_shed_seconds": 600.0, **more}
    return Settings(home=folder / "home", contracts=root, **known)


def until(what: Callable[[], Any], *, patience: float = PATIENCE) -> Any:
    """The first true thing that `what` says; fails where it says none in time."""
    deadline = time.monotonic() + patience
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@dataclass(slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass(slots=True)
class Running:
    """A collector that listens; `settings` are its own."""

    port: int
    settings: Settings
    collector: Collector | None = None
    process: subprocess.Popen[bytes] | None = None
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def landing(self, environment: str = "demo") -> Landing:
        return Landing(self.settings.home / "landing" / environment)

    def lines(self, environment: str = "demo", source: str | None = None) -> list[bytes]:
        """Every sealed line."""
        landing = self.landing(environment)
        found: list[bytes] = []
        for segment in landing.segments():
            if source in (None, segment.source):
                content = landing.read(segment)
                assert content.endswith(b"\n"), segment
                found += content.splitlines()
        return found

    def events(self, environment: str = "demo", source: str | None = None) -> list[dict[str, Any]]:
        """Every sealed event, read as leniently as Python reads."""
        found = [json.loads(line) for line in self.lines(environment, source)]
        return [one for one in found if isinstance(one, dict)]

    def sealed(self, message_id: str, environment: str = "demo") -> dict[str, Any]:
        """The event with a messageId, once it is sealed."""
        return until(
            lambda: next((one for one in self.events(environment) if one.get("messageId") == message_id), None)
        )

    def open_files(self, environment: str = "demo") -> list[Path]:
        return sorted((self.landing(environment).root / OPEN_FOLDER).glob("*/*.ndjson"))


def basic(key: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()


@contextmanager
def in_a_thread(
    settings: Settings,
    *,
    limits: Callable[[CollectorLimits], CollectorLimits] = lambda limits: limits,
    clock: Callable[[], datetime] | None = None,
) -> Generator[Running]:
    """A collector in this process; it is stopped as SIGTERM stops it."""
    collector = collector_of(settings) if clock is None else collector_of(settings, clock=clock)
    collector.reception.limits = limits(collector.reception.limits)
    collector.intake.max_bytes = collector.reception.limits.max_batch_bytes
    config = configuration(collector.application(), host="127.0.0.1", port=0, workers=1, factory=False)
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            until(lambda: server.started or not thread.is_alive())
            assert server.started
            yield Running(port=listening.getsockname()[1], settings=settings, collector=collector)
        finally:
            server.should_exit = True
            thread.join(timeout=PATIENCE)
            assert not thread.is_alive()


def limited(**changes: Any) -> Callable[[CollectorLimits], CollectorLimits]:
    return lambda limits: replace(limits, **changes)


@contextmanager
def in_a_process(settings: Settings, *, workers: int = 1, before: str = "", port: int = 0) -> Generator[Running]:
    """`activation collector` as people start it; killed where it still runs at the end.

    `before` is Python that its process runs first, to set a limit of the system, say.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACTIVATION_")}
    environment |= {
        "ACTIVATION_HOME": str(settings.home),
        "ACTIVATION_CONTRACTS": str(settings.contracts),
        "ACTIVATION_COLLECTOR_SEAL_SECONDS": str(settings.collector_seal_seconds),
        "ACTIVATION_COLLECTOR_SHED_SECONDS": str(settings.collector_shed_seconds),
        "ACTIVATION_COLLECTOR_SHED_BYTES": str(settings.collector_shed_bytes),
        "PYTHONPATH": str(REPOSITORY),
    }
    program = f"import sys; sys.argv = ['activation', *sys.argv[1:]]\n{before}\n"
    program += "from activation_dagster.cli import main\nif __name__ == '__main__': main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "collector", "--port", str(port), "--workers", str(workers)],
        env=environment,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    running = Running(port=0, settings=settings, process=process)
    try:
        running.port = _port(process, running.log)
        until(lambda: _is_ready(running) or process.poll() is not None)
        assert process.poll() is None, running.log
        yield running
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=PATIENCE)
        assert process.stderr is not None
        process.stderr.close()


def _port(process: subprocess.Popen[bytes], log: list[str]) -> int:
    assert process.stderr is not None
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not select.select([process.stderr], [], [], 0.5)[0]:
            continue
        line = process.stderr.readline().decode()
        log.append(line)
        if line.startswith("Listening on http://"):
            threading.Thread(target=_drain, args=(process, log), daemon=True).start()
            return int(line.split(":")[2].split()[0])
        assert line, log
    raise AssertionError("it does not listen")


def _drain(process: subprocess.Popen[bytes], log: list[str]) -> None:
    assert process.stderr is not None
    try:
        log.extend(line.decode() for line in process.stderr)
    except ValueError:  # closed at the end of the test
        return


def _is_ready(running: Running) -> bool:
    import httpx

    try:
        return httpx.get(f"{running.url}/health/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
