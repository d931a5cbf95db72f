"""One loop a target of forwarding, as contracts/sources.yaml says now: loops begin and end with what stands there."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from activation_dagster.commands.printing import counted, say, warn
from activation_dagster.errors import ActivationError, ContractsInvalid

if TYPE_CHECKING:
    from activation_dagster.pipeline.forward import ForwardReport
    from activation_dagster.pipeline.forward_status import Target
    from activation_dagster.pipeline.places import Places

PAUSE_SECONDS = 1.0
"""Between two looks at landing, and at contracts/sources.yaml."""

TROUBLE_SECONDS = 60.0
"""Until a receiver that refused the key, or a landing that could not be read, is tried again."""

LOOKS_A_FULL_ONE = 300
"""So many looks at the last hours stand between two looks at everything."""

MOST_TARGETS = 256


@dataclass(slots=True, kw_only=True)
class _Running:
    """A target's loop, and the variable that holds its key."""

    variable: str
    loop: Future[None]
    stopped: threading.Event = field(default_factory=threading.Event)


class Forwarders:
    """All loops of one environment; targets begin at `since`, the first time, or with what lands from then on."""

    def __init__(self, places: Places, environ: Mapping[str, str], *, since: datetime | None) -> None:
        self._places = places
        self._environ = environ
        self._since = since
        self._running: dict[Target, _Running] = {}
        self._wanted: dict[Target, str] = {}
        self._seen: tuple[int, int, int] | None = None

    def run(self, stopped: threading.Event) -> None:
        """Look after the loops until told to stop. What nobody foresaw in one of them ends all, and is raised."""
        with ThreadPoolExecutor(max_workers=MOST_TARGETS, thread_name_prefix="forward") as pool:
            try:
                while not stopped.is_set():
                    self._read()
                    self._follow(pool)
                    stopped.wait(PAUSE_SECONDS)
            finally:
                for one in self._running.values():
                    one.stopped.set()
        for one in self._running.values():
            one.loop.result()

    def _read(self) -> None:
        """What contracts/sources.yaml wants, where it has changed; a file with a mistake leaves what was wanted."""
        from activation_dagster.registry.source_files import SOURCES_FILE, load_sources
        from activation_dagster.wiring import forward_targets

        try:
            found = (self._places.contracts_root / SOURCES_FILE).stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        except FileNotFoundError:
            seen = (0, 0, 0)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            wanted = forward_targets(load_sources(self._places.contracts_root), self._places.environment)
        except ContractsInvalid as error:
            warn(f"The sources were changed and are refused; what was sent on before goes on. {error}")
            return
        for target, variable in wanted.items():
            if not self._environ.get(variable):
                warn(
                    f"The environment variable {variable} is not set, and sources.{target.source}.forward names it. "
                    "Start again with it; nothing is lost meanwhile."
                )
        self._wanted = {target: variable for target, variable in wanted.items() if self._environ.get(variable)}

    def _follow(self, pool: ThreadPoolExecutor) -> None:
        """Begin and end loops; another loop of a target begins when the one before has ended."""
        for target, one in list(self._running.items()):
            if self._wanted.get(target) != one.variable and not one.stopped.is_set():
                say(f"Source '{target.source}' is no longer sent on to {target.address} as before.")
                one.stopped.set()
            if one.loop.done():
                one.loop.result()
                del self._running[target]
        busy = {target.work for target in self._running}
        for target, variable in self._wanted.items():
            if target.work not in busy:
                stopped = threading.Event()
                loop = pool.submit(_loop, self._places, target, self._environ[variable], stopped, self._since)
                self._running[target] = _Running(variable=variable, loop=loop, stopped=stopped)


def _loop(places: Places, target: Target, key: str, stopped: threading.Event, since: datetime | None) -> None:
    """Send on until stopped; one target's trouble is its own."""
    from activation_dagster.destinations.tracking_api import TrackingApi
    from activation_dagster.pipeline.forward import Pace
    from activation_dagster.pipeline.forward import forward as send_on

    receiver = TrackingApi(target.address, key)
    looks = 0
    try:
        while not stopped.is_set():
            pause = PAUSE_SECONDS
            try:
                is_full = looks % LOOKS_A_FULL_ONE == 0
                report = send_on(places, target, receiver, Pace(wait=stopped.wait), since=since, is_full=is_full)
                looks += 1
                if report.segments:
                    say(told(target, report))
            except ActivationError as error:
                warn(f"{target.source}: {error}")
                pause = TROUBLE_SECONDS
            stopped.wait(pause)
    finally:
        receiver.close()


def told(target: Target, report: ForwardReport) -> str:
    """What one pass did, in a sentence."""
    why = ", ".join(f"{events:,} {reason}" for reason, events in sorted(report.withheld_by_reason.items()))
    return (
        f"Source '{target.source}' to {target.address}: {counted(report.segments, 'segment')}, "
        f"{counted(report.sent, 'event')} sent, "
        f"{report.withheld:,} withheld{f' ({why})' if why else ''}, {report.refused:,} refused for good."
    )
