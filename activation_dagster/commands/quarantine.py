"""`activation quarantine`: what waits, why, whose it is, and how it is mended, judged again or dismissed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from activation_dagster.commands.installation import opened
from activation_dagster.commands.printing import AsJson, Limit, Reveal, counted, plain, print_json, print_table, say
from activation_dagster.commands.quarantine_words import (
    print_dismissal,
    print_events,
    print_purge,
    print_report,
)
from activation_dagster.errors import WrongUse

if TYPE_CHECKING:
    from activation_dagster.domain.repairs import Selection


app = typer.Typer(help="Events that wait for repair.", no_args_is_help=True)

Reason = Annotated[str | None, typer.Option(help="Only with this reason code.")]
Event = Annotated[str | None, typer.Option(help="Only of this event, as `quarantine list` names it.")]
Field = Annotated[str | None, typer.Option(help="Only those that break this field (`properties.price`).")]
Ids = Annotated[list[str] | None, typer.Option("--id", help="Only this event; may be given several times.")]
Apply = Annotated[bool, typer.Option("--apply", help="Do it; without, it is only tried.")]
Name = Annotated[str, typer.Option("--by", help="Who does this; it is kept. Needed with --apply.")]
Samples = Annotated[int, typer.Option(min=0, max=100, help="So many samples that pass, and that do not.")]


Since = Annotated[str | None, typer.Option(help="Only what came in at or after this time (2025-09-18T10:00:00Z).")]
Until = Annotated[str | None, typer.Option(help="Only what came in before this time.")]
Batches = Annotated[list[str] | None, typer.Option("--batch", help="Only of this batch; may be given several times.")]


def _selection(
    event: str | None = None,
    reason: str | None = None,
    field: str | None = None,
    ids: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    batches: list[str] | None = None,
) -> Selection:
    from activation_dagster.domain.reasons import QuarantineReason
    from activation_dagster.domain.repairs import Selection
    from activation_dagster.registry.files import suggestion

    known = [code.value for code in QuarantineReason]
    if reason is not None and reason not in known:
        raise WrongUse(
            f"'{reason}' is no reason to wait, in --reason. Take one as `activation quarantine list` names it."
            + suggestion(reason, known)
        )
    return Selection(
        event=event,
        reason=reason,
        field=field,
        seen_from=_instant("--since", since),
        seen_before=_instant("--until", until),
        batches=tuple(batches or ()),
        event_ids=tuple(ids or ()),
    )


def _instant(option: str, text: str | None) -> datetime | None:
    """A time with a zone, or a day, which begins at midnight UTC."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or (found.tzinfo is None and len(text) > len("2025-09-18")):
        raise WrongUse(
            f"'{text[:60]}' is no time with a zone, in {option}. Write it as 2025-09-18T10:00:00Z, or a day in UTC as "
            "2025-09-18."
        )
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


@app.command(name="list")
def list_them(
    *,
    reason: Reason = None,
    event: Event = None,
    field: Field = None,
    since: Since = None,
    until: Until = None,
    batches: Batches = None,
    by_value: Annotated[
        bool, typer.Option("--by-value", help="Also by what stands in the field, where 20 or more say the same.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Count what waits by event, reason and field, the largest group first."""
    from activation_dagster.pipeline.quarantine import listed
    from activation_dagster.state.purges import purged_events

    select = _selection(event, reason, field, since=since, until=until, batches=batches)
    with opened() as places:
        found = listed(places, select, by_value=by_value)
        with places.state.read() as connection:
            purged = purged_events(connection)
    if as_json:
        print_json(found)
        return
    print_table(
        [
            "event", "reason", "field", *(["value"] if by_value else []), "events", "24 h", "24 h before",
            "owner", "first seen", "last seen", "removed from",
        ],
        [
            (
                g.event, g.reason, g.field, *([g.value] if by_value else []), g.events, g.last_day, g.day_before,
                g.owner, g.first_seen_at, g.last_seen_at, g.removed_from,
            )
            for g in found
        ],
        empty="Nothing waits." if select == _selection() else "Nothing waits that fits.",
        may_go=("removed from", "first seen", "last seen", "owner", "24 h before", "24 h"),
    )  # fmt: skip
    if purged:
        say(f"Retention has removed {counted(purged, 'event')} until now; `quarantine log` says when.")


@app.command()
def show(
    *,
    reason: Reason = None,
    event: Event = None,
    field: Field = None,
    ids: Ids = None,
    since: Since = None,
    until: Until = None,
    batches: Batches = None,
    closed: Annotated[bool, typer.Option("--closed", help="Those that were repaired, replayed or dismissed.")] = False,
    limit: Limit = 5,
    reveal: Reveal = False,
    as_json: AsJson = False,
) -> None:
    """Show the newest events that wait; what they say of a person is masked."""
    from activation_dagster.pipeline.quarantine import shown as samples

    with opened() as places:
        select = _selection(event, reason, field, ids, since, until, batches)
        found = samples(places, select, limit=limit, reveal=reveal, closed=closed)
    if as_json:
        print_json(found)
        return
    if not found:
        say("Nothing was closed that fits." if closed else "Nothing waits that fits.")
    print_events(found, reveal=reveal)


@app.command()
def repair(
    file: Annotated[Path, typer.Argument(help="The repair: a reviewed YAML file.")],
    *,
    ids: Ids = None,
    since: Since = None,
    until: Until = None,
    batches: Batches = None,
    applies: Apply = False,
    by: Name = "",
    samples: Samples = 3,
    reveal: Reveal = False,
    as_json: AsJson = False,
) -> None:
    """Try a repair on all that it selects; with --apply what passes then enters again."""
    from activation_dagster.pipeline.contracts_in_force import contracts_today
    from activation_dagster.pipeline.reentry import repair as run
    from activation_dagster.registry.repairs import read_repair

    name = _name(applies=applies, by=by)
    only = _selection(ids=ids, since=since, until=until, batches=batches)
    with opened() as places:
        read = read_repair(file, owners=contracts_today(places).owners)
        report = run(places, read, only=only, by=name, samples=samples, reveal=reveal)
    print_report(report, reveal=reveal, applied=applies, as_json=as_json)


@app.command()
def replay(
    *,
    reason: Reason = None,
    event: Event = None,
    field: Field = None,
    ids: Ids = None,
    since: Since = None,
    until: Until = None,
    batches: Batches = None,
    applies: Apply = False,
    by: Name = "",
    samples: Samples = 3,
    reveal: Reveal = False,
    as_json: AsJson = False,
) -> None:
    """Judge what waits again under today's contracts; with --apply what passes enters again."""
    from activation_dagster.pipeline.reentry import replay as run

    name = _name(applies=applies, by=by)
    select = _selection(event, reason, field, ids, since, until, batches)
    with opened() as places:
        report = run(places, select, by=name, samples=samples, reveal=reveal)
    print_report(report, reveal=reveal, applied=applies, as_json=as_json)


@app.command()
def dismiss(
    *,
    reason: Reason = None,
    event: Event = None,
    field: Field = None,
    ids: Ids = None,
    since: Since = None,
    until: Until = None,
    batches: Batches = None,
    why: Annotated[
        str, typer.Option(help="Why nobody needs them, in a sentence; it is kept. Needed with --apply.")
    ] = "",
    applies: Apply = False,
    by: Name = "",
    samples: Samples = 3,
    reveal: Reveal = False,
    as_json: AsJson = False,
) -> None:
    """Show what would come off the list of what waits; with --apply it does, for a reason. It stays in the lake."""
    from activation_dagster.pipeline.dismissal import dismiss as run
    from activation_dagster.pipeline.dismissal import preview_dismissal

    select = _selection(event, reason, field, ids, since, until, batches)
    with opened() as places:
        if applies:
            report = run(places, select, by=by, why=why)
        else:
            report = preview_dismissal(places, select, samples=samples, reveal=reveal)
    if as_json:
        print_json({**plain(report), "applied": applies})
        return
    print_dismissal(report, reveal=reveal, applied=applies)


@app.command()
def purge(*, applies: Apply = False, by: Name = "", as_json: AsJson = False) -> None:
    """Show what is kept longer than its reason asks for (keep_days); with --apply it is removed for good."""
    from activation_dagster.pipeline.purge import purge as run

    name = _name(applies=applies, by=by)
    with opened() as places:
        report = run(places, by=name)
    if as_json:
        print_json({**plain(report), "applied": applies})
        return
    print_purge(report, applied=applies)


@app.command()
def log(*, limit: Limit = 100, as_json: AsJson = False) -> None:
    """Show who repaired, replayed, dismissed or purged what, when and why, the newest first."""
    from activation_dagster.state.quarantine import list_acts

    with opened() as places, places.state.read() as connection:
        found = list_acts(connection, limit=limit)
    if as_json:
        print_json(found)
        return
    print_table(
        ["when", "what", "name", "events", "by", "why", "act"],
        [(a.done_at, a.kind, a.name, a.events, a.done_by, a.reason, a.act_id) for a in found],
        empty="Nothing was repaired, replayed or dismissed yet.",
        may_go=("act",),
    )
    unsealed = sum(act.unsealed for act in found)
    if unsealed:
        say(
            f"{unsealed:,} segment{'s' if unsealed != 1 else ''} of these never came to be sealed: "
            "`activation work` finishes that."
        )


def _name(*, applies: bool, by: str) -> str | None:
    if applies and not by.strip():
        raise WrongUse("This was to be done in nobody's name, with --apply. Say who does it: --by NAME.")
    return by if applies else None
