"""`activation contracts`: whether what people wrote under contracts/ can be kept."""

from __future__ import annotations

import typer

from activation_dagster.commands.installation import read_settings
from activation_dagster.commands.printing import AsJson, end, plain, print_json, print_table, say

app = typer.Typer(help="What is promised: events, identity, consent, audiences, workflows.", no_args_is_help=True)


@app.command()
def check(*, as_json: AsJson = False) -> None:
    """Read all contracts and report every mistake with its file and path. Exit 1 when there is one."""
    from activation_dagster.errors import ContractsInvalid, Fault
    from activation_dagster.registry.loading import load_contracts

    settings = read_settings()
    faults: tuple[Fault, ...] = ()
    promised: dict[str, int] = {}
    fingerprint = None
    try:
        found = load_contracts(settings.contracts, environment=settings.environment)
        fingerprint = found.fingerprint
        promised = {
            "events": len(found.events),
            "audiences": len(found.audiences),
            "workflows": len(found.workflows),
            "destinations": len(found.destinations),
            "owners": len(found.owners),
        }
    except ContractsInvalid as invalid:
        faults = invalid.faults
    if as_json:
        answer = {"folder": str(settings.contracts), "environment": settings.environment}
        print_json({**answer, "fingerprint": fingerprint, "promised": promised, "faults": plain(faults)})
    elif faults:
        say(f"{len(faults):,} mistake{'s' if len(faults) != 1 else ''} under {settings.contracts}:")
        print_table(["file", "path", "mistake"], [(fault.file, fault.path, fault.sentence) for fault in faults])
    else:
        counted = ", ".join(f"{count} {what}" for what, count in promised.items())
        say(f"The contracts are sound: {counted} (set {fingerprint}).")
    end(found=bool(faults))
