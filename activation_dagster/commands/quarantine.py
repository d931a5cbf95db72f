"""`activation quarantine`: what waits, why, and whose it is."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from activation_dagster.commands.installation import opened
from activation_dagster.commands.printing import AsJson, Limit, Reveal, print_json, print_table, say, shown

app = typer.Typer(help="Events that wait for repair.", no_args_is_help=True)


@app.command(name="list")
def list_them(*, as_json: AsJson = False) -> None:
    """Count what waits by event, reason and field, the largest group first."""
    from activation_dagster.pipeline.quarantine import listed

    with opened() as places:
        found = listed(places)
    if as_json:
        print_json(found)
        return
    print_table(
        ["event", "reason", "field", "events", "owner", "first seen", "last seen"],
        [(g.event, g.reason, g.field, g.events, g.owner, g.first_seen_at, g.last_seen_at) for g in found],
        empty="Nothing waits.",
        may_go=("first seen", "last seen", "owner"),
    )


@app.command()
def show(
    *,
    reason: Annotated[str | None, typer.Option(help="Only with this reason code.")] = None,
    event: Annotated[str | None, typer.Option(help="Only of this event, as `quarantine list` names it.")] = None,
    limit: Limit = 5,
    reveal: Reveal = False,
    as_json: AsJson = False,
) -> None:
    """Show the newest events that wait; what they say of a person is masked."""
    from activation_dagster.pipeline.quarantine import shown as samples

    with opened() as places:
        found = samples(places, reason=reason, event=event, limit=limit, reveal=reveal)
    if as_json:
        print_json(found)
        return
    if not found:
        say("Nothing waits that fits.")
    for sample in found:
        say(f"{sample.event_id}  {sample.reason}  {sample.event or '(no event)'}  owner {sample.owner}")
        for violation in sample.violations:
            say(f"  breaks {violation}")
        payload = sample.payload
        text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
        say(f"  {shown(text)}")
    if found and not reveal:
        say("Values are masked; --reveal shows them.")
