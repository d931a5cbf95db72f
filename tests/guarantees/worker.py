"""A process that works a shop and kills itself where it is told to; started once, it forks one worker a job.

`python -m tests.guarantees.worker` reads a job a line and answers with a line. It imports everything and uses nothing:
neither a Delta table nor a DuckDB has been opened when it forks (a child of a process that used deltalake panics), so a
worker costs a fork and not two seconds of imports. A worker that is told to die sends itself SIGKILL.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from tests.guarantees.shop import NOW, Shop

CLAIM_SIZE = 7
"""Small enough for several rounds."""

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a worker ended: where it died (empty: it finished), and the points it had passed by then."""

    died_at: str
    points: tuple[str, ...]


class Workers:
    """Starts workers, one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(
        self,
        shop: Shop,
        *,
        what: Sequence[str] = ("drain", "deliver"),
        clock: datetime = NOW,
        die_at: Sequence[str] = (),
        claim_size: int = CLAIM_SIZE,
    ) -> Outcome:
        """Do `what` in a process of its own, which dies at the first of `die_at` that it reaches.

        A point is `<name>:<n>`, the n-th time that this process reaches `<name>`. `clock` is what leases are read by;
        what has landed is planned as of NOW, so that two workers decide alike.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = {
            "folder": str(shop.folder),
            "address": shop.address,
            "state_url": shop.state_url,
            "what": list(what),
            "clock": clock.isoformat(),
            "die_at": list(die_at),
            "claim_size": claim_size,
        }
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if answer["failure"]:
            raise AssertionError(answer["failure"])
        points = tuple(answer["points"])
        assert answer["killed"] == bool(points and points[-1] in die_at), "it died elsewhere, or not where it should"
        return Outcome(died_at=points[-1] if answer["killed"] else "", points=points)


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
    import deltalake  # noqa: F401
    import deltalake.exceptions  # noqa: F401
    import deltalake.schema  # noqa: F401
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


def _at(passed: TextIO, die_at: Sequence[str]) -> Callable[[str], None]:
    """What happens at a recovery point: it is written down, and here it may end."""
    counted: Counter[str] = Counter()

    def at(name: str) -> None:
        counted[name] += 1
        point = f"{name}:{counted[name]}"
        passed.write(point + "\n")
        passed.flush()
        if point in die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    return at


def _work(job: dict[str, Any], passed: TextIO) -> None:
    from activation_dagster.pipeline.send import deliver
    from activation_dagster.pipeline.work import drain

    shop = Shop(folder=Path(job["folder"]), address=job["address"], state_url=job["state_url"])
    clock = datetime.fromisoformat(job["clock"])
    with shop.places(clock=lambda: clock, at=_at(passed, job["die_at"]), holder=f"worker:{os.getpid()}") as places:
        if "drain" in job["what"]:
            drain(places, now=lambda: NOW)
        if "deliver" in job["what"]:
            with shop.destinations(places) as destinations:
                deliver(places, destinations, clock=lambda: clock, claim_size=job["claim_size"])


def _fork(job: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "w") as passed:
                try:
                    _work(job, passed)
                    code = 0
                except Exception:  # noqa: BLE001 - whatever it was, the test says it
                    passed.write("!" + json.dumps(traceback.format_exc()) + "\n")
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as passed:
        said = passed.read().splitlines()
    _, status = os.waitpid(child, 0)
    failure = "".join(json.loads(line[1:]) for line in said if line.startswith("!"))
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not killed and status != 0:
        failure = failure or f"the worker ended with status {status}"
    return {"points": [line for line in said if not line.startswith("!")], "killed": killed, "failure": failure}


def main() -> None:
    """Answer jobs until the input ends."""
    _import_everything()
    for line in sys.stdin:
        print(json.dumps(_fork(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
