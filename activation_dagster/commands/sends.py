"""`activation sends`: the ledger, stops that take effect at once, and sends that wait for a named person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from activation_dagster.commands.installation import opened
from activation_dagster.commands.printing import (
    AsJson,
    By,
    Limit,
    Reveal,
    plain,
    print_json,
    print_table,
    say,
    warn,
)
from activation_dagster.domain.sends import SendStatus

if TYPE_CHECKING:
    from activation_dagster.pipeline.places import Places
    from activation_dagster.state.sends import Send

app = typer.Typer(help="The ledger, halts and holds.", no_args_is_help=True)

Scope = Annotated[str, typer.Argument(help="'*', workflow:ID, channel:NAME or destination:NAME.")]
BEGINNING = 13
"""So much of an id is printed in a table; `explain` takes the beginning for the whole, and --json prints the whole."""

PERSONAL = ("profile_key", "data_fields", "profile_fields")


@app.command(name="list")
def list_them(
    *,
    status: Annotated[SendStatus | None, typer.Option(help="Only those that stand there.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Only those of this workflow.")] = None,
    profile: Annotated[str | None, typer.Option(help="Only those of this person: a profile id or KIND:VALUE.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only those of this batch.")] = None,
    limit: Limit = 100,
    reveal: Reveal = False,
    as_json: AsJson = False,
) -> None:
    """List sends, the newest trigger first."""
    from activation_dagster.pipeline.people import person_named
    from activation_dagster.state.sends import list_sends

    with opened() as places:
        person = None if profile is None else person_named(places, profile).canonical
        with places.state.read() as connection:
            found = list_sends(
                connection, status=status, workflow=workflow, profile=person, batch_id=batch, limit=limit
            )
    if as_json:
        print_json([_as_object(send, reveal=reveal) for send in found])
        return
    print_table(
        ["send", "workflow", "profile", "status", "reason", "triggered"],
        [
            (s.send_key[:BEGINNING], s.workflow_id, s.profile_id[:BEGINNING], s.status, s.reason, s.triggered_at)
            for s in found
        ],
        empty="The ledger holds no such send.",
        may_go=("profile",),
    )
    if len(found) == limit:
        say(f"Only the newest {limit:,}; ask for more with --limit.")


def _as_object(send: Send, *, reveal: bool) -> dict[str, object]:
    from activation_dagster.domain.masking import masked

    found: dict[str, object] = plain(send)
    return found if reveal else found | {name: masked(found[name]) for name in PERSONAL}


@app.command()
def halt(scope: Scope, *, by: By, why: Annotated[str, typer.Option(help="Why, in a sentence.")]) -> None:
    """Stop every send inside a scope: when this returns, nothing of it is claimed any more."""
    from activation_dagster.state import halts

    with opened() as places:
        made = halts.halt(places.state, scope, by=by, why=why, now=places.clock())
        _doubt(places, scope)
    say(f"Halted {made.scope}. Lift it with `activation sends resume '{made.scope}' --by …`.")


def _doubt(places: Places, scope: str) -> None:
    """Say so where a halt covers nothing that is promised: it stands all the same, stopping is never refused."""
    from activation_dagster.errors import ContractsInvalid
    from activation_dagster.pipeline.contracts_in_force import contracts_today

    kind, _, name = scope.partition(":")
    try:
        contracts = contracts_today(places)
    except ContractsInvalid:
        return
    known = {
        "workflow": set(contracts.workflows),
        "destination": set(contracts.destinations),
        "channel": {workflow.channel for workflow in contracts.workflows.values()},
    }.get(kind, {name})
    if name not in known:
        warn(f"Mind: no {kind} is called '{name}' in today's contracts (known: {', '.join(sorted(known))}).")


@app.command()
def resume(scope: Scope, *, by: By) -> None:
    """Lift every halt that has exactly this scope."""
    from activation_dagster.errors import WrongUse
    from activation_dagster.state import halts

    with opened() as places:
        lifted = halts.lift(places.state, scope, by=by, now=places.clock())
        with places.state.read() as connection:
            left = [halt.scope for halt in halts.active(connection)]
    if not lifted:
        raise WrongUse(
            f"Nothing is halted under '{scope}', in the halts of state. "
            + (f"In force: {', '.join(left)}." if left else "No halt is in force.")
        )
    say(f"Lifted {len(lifted)} halt{'s' if len(lifted) != 1 else ''} of {scope}.")
    if left:
        say(f"Still halted: {', '.join(left)}.")


@app.command()
def release(
    *,
    by: By,
    batch: Annotated[str | None, typer.Option(help="Those of this batch.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Those of this workflow.")] = None,
    key: Annotated[list[str] | None, typer.Option(help="These sends; may be given several times.")] = None,
) -> None:
    """Let held sends go to the gate, which looks at consent once more. All filters given must fit."""
    from activation_dagster.state.sends import release as let_go

    with opened() as places:
        count = let_go(
            places.state,
            by=by,
            now=places.clock(),
            batch_id=batch,
            workflow=workflow,
            send_keys=key or None,
        )
    say(f"Released {count:,} held send{'s' if count != 1 else ''}; the gate decides when they are due.")
