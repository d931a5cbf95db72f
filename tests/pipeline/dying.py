"""A process that applies an identity plan and kills itself at a recovery point: `python -m tests.pipeline.dying`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from activation_dagster.pipeline.identity import apply as identity_apply
from activation_dagster.pipeline.identity.apply import apply_plan, finish_adjudication
from activation_dagster.state.engine import open_state
from tests.pipeline.small_shop import REPOSITORY, Clock, places_at


def applying_dies(
    folder: Path, url: str, *, at: str, clock: datetime, rows_at_once: int, plan: Mapping[str, Any] | None = None
) -> None:
    """Let a process apply a plan, or finish what was begun, until it dies by SIGKILL at a recovery point.

    `at` is `<name>:<n>`, the n-th time that it reaches `<name>`.
    """
    job = {
        "folder": str(folder),
        "url": url,
        "at": at,
        "clock": clock.isoformat(),
        "rows_at_once": rows_at_once,
        "plan": plan,
    }
    ended = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.dying"],
        cwd=REPOSITORY,
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == -signal.SIGKILL, (at, ended.returncode, ended.stderr)


def main() -> None:
    """Read the job and do it."""
    job = json.load(sys.stdin)
    identity_apply.ROWS_AT_ONCE = job["rows_at_once"]

    counted: Counter[str] = Counter()

    def die(passed: str) -> None:
        counted[passed] += 1
        if f"{passed}:{counted[passed]}" == job["at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    folder = Path(job["folder"])
    places = replace(
        places_at(
            folder,
            open_state(job["url"]),
            clock=Clock(datetime.fromisoformat(job["clock"])),
            at=die,
            contracts=folder / "contracts",
            holder=f"dying:{os.getpid()}",
        ),
        batch_max_bytes=1,
    )
    if job["plan"] is None:
        finish_adjudication(places)
    else:
        apply_plan(places, job["plan"], by="bob", why="A better contract.")


if __name__ == "__main__":
    main()
