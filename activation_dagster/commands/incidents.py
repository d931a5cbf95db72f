"""`activation incidents`: what went wrong, who owns it, and how it ended."""

from __future__ import annotations

from typing import Annotated

import typer

from activation_dagster.commands.installation import opened
from activation_dagster.commands.printing import AsJson, By, Limit, print_json, say, shown

app = typer.Typer(help="What went wrong, and how it ended.", no_args_is_help=True)


@app.command(name="list")
def list_them(
    *,
    with_resolved: Annotated[bool, typer.Option("--all", help="Those that are resolved too.")] = False,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List open incidents, the newest first."""
    from activation_dagster.state.incidents import list_incidents

    with opened() as places, places.state.read() as connection:
        found = list_incidents(connection, is_open=None if with_resolved else True, limit=limit)
    if as_json:
        print_json(found)
        return
    if not found:
        say("No incident is open." if not with_resolved else "There never was an incident.")
    for incident in found:
        say(f"{incident.incident_id}  {incident.kind}  owner {incident.owner}  opened {shown(incident.opened_at)}")
        say(incident.sentence, indent=4)
        if incident.resolved_at is not None:
            say(f"resolved {shown(incident.resolved_at)} by {incident.resolved_by}: {incident.resolution}", indent=4)


@app.command()
def resolve(
    incident: Annotated[str, typer.Argument(help="The incident's id.")],
    *,
    by: By,
    resolution: Annotated[str, typer.Option(help="How it ended, in a sentence.")],
) -> None:
    """Close an open incident."""
    from activation_dagster.errors import WrongUse
    from activation_dagster.state import incidents

    with opened() as places, places.state.write() as connection:
        closed = incidents.resolve(connection, incident, by=by, resolution=resolution, now=places.clock())
    if not closed:
        raise WrongUse(f"No incident '{incident}' is open, in the incidents of state. See `activation incidents list`.")
    say(f"Incident {incident} is resolved.")
