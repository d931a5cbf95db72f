"""`activation demo` and `activation ui`: the main job end to end, and Dagster's own pages on what it left."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from activation_dagster.commands.installation import read_settings


class StateKind(StrEnum):
    """Where the demonstration keeps its state."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"


def demo(
    *,
    data: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="A folder of real data; else the built-in simulator."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of the data instead of a part.")] = False,
    state: Annotated[StateKind, typer.Option(help="The database that state lives in.")] = StateKind.SQLITE,
    short: Annotated[bool, typer.Option("--short", help="Fewer events.")] = False,
) -> None:
    """Run the main job end to end: land events, work them under Dagster, send to a stand-in, print the sums."""
    from activation_dagster.demo import run_demo

    settings = read_settings()
    raise typer.Exit(run_demo(settings, data=data, everything=everything, state=state.value, short=short))


def ui() -> None:
    """Open Dagster's web interface on what the demo left."""
    from activation_dagster.demo import run_ui

    raise typer.Exit(run_ui(read_settings()))
