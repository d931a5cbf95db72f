"""The demo's processes: the stand-in, Dagster's code server, daemon and web server, started and stopped together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from activation_dagster.errors import MendTheEnvironment

START_SECONDS = 90.0
STOP_SECONDS = 15.0


class Processes:
    """Children of this process, each with a log file; leaving the context stops them, the last started first."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self.logs = logs
        self.environment = {**os.environ, **environment}
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Processes:
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in [name for name, _ in reversed(self._running)]:
            self.stop(name)

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """Start `python <arguments>`; what it prints goes to `<logs>/<name>.log`."""
        with (self.logs / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,  # so that Ctrl-C reaches us first and we stop them in order
            )
        self._running.append((name, child))

    def check(self) -> None:
        """Raises MendTheEnvironment when a child has ended."""
        for name, child in self._running:
            if child.poll() is not None:
                raise MendTheEnvironment(
                    f"The {name} ended with code {child.returncode} while it was needed. "
                    f"Read {self.logs / f'{name}.log'}."
                )

    def stop(self, name: str) -> None:
        """End one child and what it started; by force when it does not end by itself."""
        for place, (found, child) in enumerate(self._running):
            if found != name:
                continue
            del self._running[place]
            for sign in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(child.pid, sign)
                    child.wait(timeout=STOP_SECONDS)
                    return
                except ProcessLookupError:
                    child.wait()
                    return
                except subprocess.TimeoutExpired:
                    continue
            return

    def wait_for_port(self, name: str, port: int) -> None:
        """Wait until something listens on a loopback port; raises when the children end or it takes too long."""
        give_up_at = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up_at:
            self.check()
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.settimeout(0.5)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        raise MendTheEnvironment(
            f"The {name} did not listen on 127.0.0.1:{port} within {START_SECONDS:.0f} s. "
            f"Read {self.logs / f'{name}.log'}."
        )


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
