"""`activation consent`: what a person allowed, a choice made at a desk, and a hard no."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from datetime import datetime
from typing import Annotated

import typer

from activation_dagster.commands.installation import opened
from activation_dagster.commands.printing import AsJson, By, print_json, print_table, say
from activation_dagster.domain.consent import ConsentStatus

app = typer.Typer(help="What people allowed.", no_args_is_help=True)

Person = Annotated[str, typer.Argument(help="A profile id, or an identifier such as user_id:VALUE.")]


@app.command()
def show(profile: Person, *, as_json: AsJson = False) -> None:
    """Show every choice and suppression of a person, and what counts today."""
    from activation_dagster.pipeline.people import consent_of, person_named

    with opened() as places:
        found = consent_of(places, person_named(places, profile), at=places.clock())
    if as_json:
        print_json(found)
        return
    say(f"Profile {found.profile_id}, region {found.region}.")
    print_table(
        ["purpose", "channel", "may be messaged", "why not"],
        [(v.purpose, v.channel, v.is_allowed, v.reason) for v in found.verdicts],
    )
    print_table(
        ["choice", "purpose", "channel", "decided", "seq", "source", "counts"],
        [(r.status, r.purpose, r.channel, r.decided_at, r.seq, r.source, r.counts) for r in found.records],
        empty="No choice is known; unknown means no.",
    )
    if found.suppressions:
        print_table(
            ["suppressed on", "reason", "since", "source"],
            [(s.channel, s.reason, s.suppressed_at, s.source) for s in found.suppressions],
        )


@app.command()
def record(
    profile: Person,
    status: Annotated[ConsentStatus, typer.Argument(help="What the person chose.")],
    *,
    purpose: Annotated[str, typer.Option(help="A purpose of consent.yaml.")],
    channel: Annotated[str, typer.Option(help="A channel of that purpose.")],
    by: By,
    proof: Annotated[str, typer.Option(help="Where the choice can be found again: a ticket, a letter's number.")],
    decided: Annotated[datetime | None, typer.Option(help="When the person chose, UTC; else now.")] = None,
) -> None:
    """Record what a person chose elsewhere, at a desk or by telephone. It stands when this returns."""
    from datetime import UTC

    from activation_dagster.pipeline.contracts_in_force import contracts_today
    from activation_dagster.pipeline.people import person_named
    from activation_dagster.state.consent import record_choice

    with opened() as places:
        purposes = contracts_today(places).consent.purposes
        _require(purpose, purposes, "purpose", "consent.yaml")
        _require(channel, purposes[purpose].channels, "channel", f"the purpose '{purpose}' of consent.yaml")
        now = places.clock()
        made = record_choice(
            places.state,
            profile_id=person_named(places, profile).canonical,
            purpose=purpose,
            channel=channel,
            status=status,
            decided_at=now if decided is None else min(decided.replace(tzinfo=decided.tzinfo or UTC), now),
            source=f"person:{by}",
            proof={"wording": proof},
            now=now,
            actor=by,
        )
    say(f"Recorded: {made.status.value} for {purpose} over {channel}, as {made.record_id}.")


def _require(name: str, among: Collection[str], what: str, where: str) -> None:
    from activation_dagster.errors import WrongUse

    if name not in among:
        near = difflib.get_close_matches(name, among, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Take one of: {', '.join(sorted(among))}."
        raise WrongUse(f"No {what} is called '{name}', in {where}. {hint}")


@app.command()
def suppress(
    profile: Person,
    *,
    reason: Annotated[str, typer.Option(help="Why: complaint, bounce, request.")],
    by: By,
    channel: Annotated[str, typer.Option(help="A channel; '*' is every channel.")] = "*",
) -> None:
    """Write a hard no, which no consent outweighs and nobody can lift. It stands when this returns."""
    from activation_dagster.pipeline.contracts_in_force import contracts_today
    from activation_dagster.pipeline.people import person_named
    from activation_dagster.state import suppressions

    with opened() as places:
        channels = {"*"}.union(*(found.channels for found in contracts_today(places).consent.purposes.values()))
        _require(channel, channels, "channel", "consent.yaml")
        suppressions.suppress(
            places.state,
            profile_id=person_named(places, profile).canonical,
            channel=channel,
            reason=reason,
            source=f"person:{by}",
            now=places.clock(),
            actor=by,
        )
    say(f"Suppressed on {'every channel' if channel == '*' else channel}.")
