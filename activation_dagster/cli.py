"""The one door for people: `activation <noun> <verb>`; what a command does stands in commands/."""

from __future__ import annotations

import sys

import typer

from activation_dagster.commands import (
    adjudication,
    consent,
    contracts,
    exchange,
    identity,
    incidents,
    lake,
    landing,
    proposals,
    quarantine,
    sends,
    sources,
)
from activation_dagster.commands.collector import collector
from activation_dagster.commands.demonstration import demo, ui
from activation_dagster.commands.explain import explain
from activation_dagster.commands.forward import forward
from activation_dagster.commands.status import status
from activation_dagster.commands.work import work
from activation_dagster.errors import ActivationError, ContractsInvalid

app = typer.Typer(
    name="activation",
    help="Customer events in, governed decisions, one send out. "
    "Exit codes: 0 fine, 1 found something, 2 wrong use or something to mend.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (status, explain, work, collector, forward, landing.simulate, demo, ui):
    app.command()(verb)
contracts.app.command()(proposals.infer)
contracts.app.command(name="import")(proposals.import_)
contracts.app.command()(exchange.export)
contracts.app.command()(exchange.docs)
for verb in (adjudication.plan, adjudication.apply, adjudication.unmerge):
    identity.app.command()(verb)
for noun, verbs in {
    "contracts": contracts.app,
    "events": landing.app,
    "sources": sources.app,
    "quarantine": quarantine.app,
    "identity": identity.app,
    "consent": consent.app,
    "sends": sends.app,
    "incidents": incidents.app,
    "lake": lake.app,
}.items():
    app.add_typer(verbs, name=noun)


def main() -> None:
    """Run a command; what a person must mend is one sentence on stderr, never a traceback."""
    try:
        app()
    except ContractsInvalid as invalid:
        sys.stderr.write(f"{invalid}\n")
        sys.exit(1)
    except ActivationError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
