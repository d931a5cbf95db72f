"""A process that works a shop and kills or stops itself where it is told to; started once, it forks a worker a job.

`python -m tests.guarantees.worker` reads a job a line and answers with a line. It imports everything and uses nothing:
neither a Delta table nor a DuckDB has been opened when it forks (a child of a process that used deltalake panics), so a
worker costs a fork and not two seconds of imports. A worker that is told to die sends itself SIGKILL. One that is to
stand still says so and waits; SIGSTOP comes from here, while nothing else of it holds SQLite's write lock: a worker
has more than one thread, and one that froze in its transaction would lock everybody out for good.
"""

# pyright: reportUnusedImport=false
# Modules are imported before the fork server forks, so that a child does not pay for them.

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from activation_dagster.errors import RetryLater
from tests.guarantees.shop import NOW, Shop

CLAIM_SIZE = 7
"""Small enough for several rounds."""

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a worker ended or where it stands: the points it passed, and one of what follows, or none: it finished.

    `died_at` and `stopped_at` are points; `gave_up` names an error that says to try later.
    """

    points: tuple[str, ...]
    died_at: str = ""
    stopped_at: str = ""
    gave_up: str = ""

    @property
    def finished(self) -> bool:
        return not (self.died_at or self.stopped_at or self.gave_up)


class Workers:
    """Starts workers, one after the other; the last one that was stopped waits until it is resumed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(
        self,
        shop: Shop,
        *,
        what: Sequence[str] = ("drain", "deliver"),
        clock: datetime = NOW,
        die_at: Sequence[str] = (),
        stop_at: Sequence[str] = (),
        claim_size: int = CLAIM_SIZE,
    ) -> Outcome:
        """Do `what` in a process of its own, which dies or stands still at the first point it is told to.

        A point is `<name>:<n>`, the n-th time that this process reaches `<name>`. `clock` is what leases are read by;
        what has landed is planned as of NOW, so that two workers decide alike.
        """
        return self._ask(
            {
                "folder": str(shop.folder),
                "address": shop.address,
                "state_url": shop.state_url,
                "what": list(what),
                "clock": clock.isoformat(),
                "die_at": list(die_at),
                "stop_at": list(stop_at),
                "claim_size": claim_size,
            }
        )

    def resume(self) -> Outcome:
        """Let the worker that stands still go on to its end."""
        return self._ask({"resume": True})

    def _ask(self, job: dict[str, Any]) -> Outcome:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if answer.pop("failure"):
            raise AssertionError(answer["said"])
        said: dict[str, Any] = {name: tuple(value) if name == "points" else value for name, value in answer.items()}
        return Outcome(**said)


@contextmanager
def running_workers() -> Generator[Workers]:
    """The process that workers are forked from."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.guarantees.worker"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Workers(process)
        assert process.stdin is not None
        process.stdin.close()


# -- inside the process -----------------------------------------------------------------------------------------------


def _import_everything() -> None:
    import deltalake
    import deltalake.exceptions
    import deltalake.schema
    import deltalake.transaction  # noqa: F401
    import duckdb  # noqa: F401
    import numpy as np  # noqa: F401
    import psycopg  # noqa: F401
    import pyarrow as pa
    import pytz  # noqa: F401
    import sqlalchemy.dialects.postgresql
    import sqlalchemy.dialects.sqlite  # noqa: F401

    import activation_dagster.destinations.iterable
    import activation_dagster.pipeline.work  # noqa: F401
    from activation_dagster.pipeline import contracts_in_force
    from activation_dagster.registry.contract_set import fingerprint
    from activation_dagster.settings import Settings

    pa.array([""], type=pa.string())  # the first array imports pandas, where it is installed
    settings = Settings()
    today = fingerprint(settings.contracts, settings.environment)
    contracts_in_force._loaded(settings.contracts, settings.environment, today)


def _at(passed: TextIO, may_go_on: int, job: dict[str, Any]) -> Callable[[str], None]:
    """What happens at a recovery point: it is written down, and here it may end, or wait until it may go on."""
    counted: Counter[str] = Counter()

    def at(name: str) -> None:
        counted[name] += 1
        point = f"{name}:{counted[name]}"
        passed.write(point + "\n")
        passed.flush()
        if point in job["die_at"]:
            # To this thread, so that it does not take another step before the signal takes effect.
            signal.pthread_kill(threading.get_ident(), signal.SIGKILL)
        if point in job["stop_at"]:
            passed.write(f"={point}\n")
            passed.flush()
            os.read(may_go_on, 1)

    return at


def _work(job: dict[str, Any], passed: TextIO, may_go_on: int) -> None:
    from activation_dagster.pipeline.send import deliver
    from activation_dagster.pipeline.work import drain

    shop = Shop(folder=Path(job["folder"]), address=job["address"], state_url=job["state_url"])
    clock = datetime.fromisoformat(job["clock"])
    with shop.places(clock=lambda: clock, at=_at(passed, may_go_on, job), holder=f"worker:{os.getpid()}") as places:
        if "drain" in job["what"]:
            drain(places, now=lambda: NOW)
        if "deliver" in job["what"]:
            with shop.destinations(places) as destinations:
                deliver(places, destinations, clock=lambda: clock, claim_size=job["claim_size"])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Child:
    pid: int
    state_url: str
    said: TextIO
    go_on: int

    def stop(self) -> None:
        """Freeze it where it stands and waits, with all its threads."""
        with _no_writer(self.state_url):
            os.kill(self.pid, signal.SIGSTOP)
            os.waitpid(self.pid, os.WUNTRACED)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)
        os.write(self.go_on, b".")


@contextmanager
def _no_writer(state_url: str) -> Generator[None]:
    """Nobody is in a writing transaction of SQLite; PostgreSQL's locks are of rows, and a thread's rows are its own."""
    if not state_url.startswith("sqlite"):
        yield
        return
    with closing(sqlite3.connect(state_url.removeprefix("sqlite:///"), timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def _fork(job: dict[str, Any]) -> _Child:
    reading, writing = os.pipe()
    may_go_on, go_on = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            os.close(go_on)
            with os.fdopen(writing, "w") as passed:
                try:
                    _work(job, passed, may_go_on)
                except RetryLater as error:
                    passed.write(f"?{type(error).__name__}\n")
                except Exception:  # noqa: BLE001 - whatever it was, the test says it
                    passed.write("!" + json.dumps(traceback.format_exc()) + "\n")
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    os.close(may_go_on)
    return _Child(pid=child, state_url=job["state_url"], said=os.fdopen(reading), go_on=go_on)


def _await(child: _Child) -> tuple[dict[str, Any], bool]:
    """What became of a worker, and whether it stands still."""
    points: list[str] = []
    failure = gave_up = ""
    for line in map(str.rstrip, child.said):
        match line[0]:
            case "=":
                child.stop()
                return {"points": points, "failure": False, "stopped_at": line[1:]}, True
            case "!":
                failure += json.loads(line[1:])
            case "?":
                gave_up += line[1:]
            case _:
                points.append(line)
    _, status = os.waitpid(child.pid, 0)
    child.said.close()
    os.close(child.go_on)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return {"points": points, "failure": False, "died_at": points[-1]}, False
    if failure or status != 0:
        return {"said": failure or f"the worker ended with status {status}", "failure": True}, False
    return {"points": points, "failure": False, "gave_up": gave_up}, False


def main() -> None:
    """Answer jobs until the input ends."""
    _import_everything()
    standing: _Child | None = None
    for line in sys.stdin:
        job = json.loads(line)
        if "resume" in job:
            assert standing is not None
            child, standing = standing, None
            child.resume()
        else:
            child = _fork(job)
        answer, stands = _await(child)
        standing = child if stands else standing
        print(json.dumps(answer), flush=True)
    if standing is not None:
        os.kill(standing.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
