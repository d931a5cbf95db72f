"""Running the demo: events land, Dagster's sensor fires micro-batches until all is drained, a table tells."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from activation_dagster.demo.outcome import compare, rows_of
from activation_dagster.demo.stage import Stage, clear, home_of, postgres, staged
from activation_dagster.errors import MendTheEnvironment, WrongUse
from activation_dagster.pipeline.contracts_in_force import contracts_today
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.watch import Totals, totals
from activation_dagster.settings import Settings
from activation_dagster.sources.land import Landed, land_in_segments, numbered_suffixes
from activation_dagster.wiring import open_places, utc_now

SEED = 7
PATIENCE_SECONDS = 170.0
"""How long without any progress before the demo gives up."""

UI_PORT = 3000


def run_demo(settings: Settings, *, data: Path | None, everything: bool, state: str, short: bool) -> int:
    """The main job on simulated events, or the real data in `data`; 0 when both sums hold and the stand-in agrees."""
    console = Console(soft_wrap=True)
    if everything and data is None:
        raise WrongUse("All events of the real data were asked for, without a folder of real data. Give --data too.")
    if state not in ("sqlite", "postgres"):
        raise WrongUse(f"State was to be kept in '{state}', which is no choice of the demo. Say sqlite or postgres.")
    began = time.monotonic()
    clear(settings)
    with ExitStack() as stack:
        url = settings.state_url
        if state == "postgres" and url is None:
            url = stack.enter_context(postgres(settings))
        settings = settings.model_copy(update={"state_url": url})
        places = stack.enter_context(open_places(settings))
        if totals(places).batches:
            raise WrongUse(
                "The state database that ACTIVATION_STATE_URL names is in use, and the demo needs an empty one. "
                "Name an empty database, or unset the variable."
            )
        console.print("Starting the stand-in for Iterable and Dagster (code server, daemon) ...")
        stage = stack.enter_context(staged(settings, contracts_today(places), state_url=url))
        stage.processes.start("daemon", ["-m", "dagster._daemon", "run", "-w", str(stage.workspace)])
        lines, segment_bytes, pause = _input(data, everything=everything, short=short)
        final = _land_and_drain(console, places, stage, lines, segment_bytes, pause)
        outcome = compare(places, stage.standin_url)
        table = Table(title="What happened", show_header=False, title_justify="left")
        for name, value in rows_of(final, outcome):
            table.add_row(name, value)
        console.print(table)
        console.print(f"{time.monotonic() - began:.0f} s in all; everything is kept under {home_of(settings).parent}")
    console.print("Look at it: `make ui` opens Dagster on this data; `.venv/bin/activation status` counts again;")
    console.print("`.venv/bin/activation sends list` names sends, and `.venv/bin/activation explain KEY` explains one.")
    return 0 if final.conserved and outcome.agrees and final.waiting_segments == 0 else 1


def _input(data: Path | None, *, everything: bool, short: bool) -> tuple[Iterator[bytes], int, float]:
    """The lines to land, the size of a segment in bytes, and the pause between two segments in seconds."""
    now = utc_now()
    if data is not None:
        from activation_dagster.sources.real_data import convert

        if short:
            return convert(data, now=now, everything=everything, at_least=20_000), 2 << 20, 1.0
        return convert(data, now=now, everything=everything), 8 << 20, 0.5 if everything else 2.0
    from activation_dagster.sources.simulator import simulate

    events, people = (4_000, 400) if short else (20_000, 1_800)
    return iter(simulate(seed=SEED, people=people, events=events, now=now).lines), 1 << 20, 1.5


def _land_and_drain(
    console: Console, places: Places, stage: Stage, lines: Iterator[bytes], segment_bytes: int, pause: float
) -> Totals:
    """Land in one thread, and watch until nothing waits anywhere."""
    landed: list[Landed] = []
    failed: list[BaseException] = []

    def land() -> None:
        try:
            land_in_segments(
                places.landing,
                "shop",
                lines,
                segment_bytes=segment_bytes,
                clock=utc_now,
                suffixes=numbered_suffixes("demo"),
                seconds_between=pause,
                progress=landed.append,
            )
        except BaseException as error:  # noqa: BLE001 - handed to the watching thread, which raises it
            failed.append(error)

    lander = threading.Thread(target=land, name="landing", daemon=True)
    lander.start()
    began = time.monotonic()
    said, moved_at, before = "", began, None
    while True:
        stage.processes.check()
        if failed:
            raise failed[0]
        now = totals(places)
        events = landed[-1].events if landed else 0
        line = (
            f"landed {events:>9,} | received {now.received:>9,} | accepted {now.accepted:>9,} | quarantined "
            f"{now.quarantined:>6,} | decisions {now.decisions:>7,} | sent {now.sent:>6,} | batches {now.batches:>3}"
        )
        if line != said:
            console.print(f"{time.monotonic() - began:5.0f} s  {line}", highlight=False)
            said = line
        if now != before or lander.is_alive():
            moved_at, before = time.monotonic(), now
        if not lander.is_alive() and events and now.received >= events and _nothing_waits(now):
            return now
        if time.monotonic() - moved_at > PATIENCE_SECONDS:
            raise MendTheEnvironment(
                f"Nothing has moved for {PATIENCE_SECONDS:.0f} s, with {now.waiting_segments} segments waiting and "
                f"{now.unfinished_batches} batches unfinished. Read the logs under {stage.processes.logs}."
            )
        time.sleep(1.0)


def _nothing_waits(now: Totals) -> bool:
    return now.waiting_segments == 0 and now.unfinished_batches == 0 and now.pending == now.unknown + now.held


def run_ui(settings: Settings) -> int:
    """Dagster's web interface on the demo's data, with the daemon at work, until Ctrl-C."""
    console = Console(soft_wrap=True)
    if not (home_of(settings) / "dagster").is_dir():
        raise WrongUse(f"There is no demo to look at under {home_of(settings)}. Run `make demo` first.")
    with ExitStack() as stack:
        url = settings.state_url
        if url is None and (home_of(settings) / "postgres").is_dir():
            url = stack.enter_context(postgres(settings))
        settings = settings.model_copy(update={"state_url": url})
        places = stack.enter_context(open_places(settings))
        stage = stack.enter_context(staged(settings, contracts_today(places), state_url=url))
        stage.processes.start("daemon", ["-m", "dagster._daemon", "run", "-w", str(stage.workspace)])
        port = int(os.environ.get("PORT", UI_PORT))
        stage.processes.start(
            "web-server",
            ["-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port), "-w", str(stage.workspace)],
        )
        stage.processes.wait_for_port("web-server", port)
        console.print(f"Dagster is at http://127.0.0.1:{port}/asset-groups (Ctrl-C ends it) ...")
        try:
            while True:
                stage.processes.check()
                time.sleep(1.0)
        except KeyboardInterrupt:
            console.print("Stopping ...")
    return 0
