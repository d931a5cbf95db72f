"""`activation identity plan`, `apply` and `unmerge`: history adjudicated again, looked at first and then done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from activation_dagster.commands.installation import opened
from activation_dagster.commands.printing import (
    AsJson,
    By,
    Reveal,
    counted,
    plain,
    print_json,
    print_table,
    say,
    write_file,
)

if TYPE_CHECKING:
    from activation_dagster.pipeline.identity.apply import Applied
    from activation_dagster.pipeline.identity.plan import IdentityPlan

Why = Annotated[str, typer.Option(help="Why; it is written to the control log.")]
BEGINNING = 13


def plan(
    *,
    rules: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="An identity contract; without, today's.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write it, for `identity apply`.")] = None,
    reveal: Reveal = False,
    as_json: AsJson = False,
) -> None:
    """Say what an identity contract would make of history: people, audiences, consents, sends.

    Nothing is written. Of a long history, what exceeds 2 GB of memory waits in the folder for temporary files (TMPDIR).
    """
    from activation_dagster.pipeline.identity.apply import plan_apply
    from activation_dagster.registry.identity_rules import load_rules

    chosen = None if rules is None else load_rules(rules)
    with opened() as places:
        found = plan_apply(places, chosen, reveal=reveal)
    if out is not None:
        write_file(out, json.dumps(plain(found), indent=2) + "\n", what="plan")
    if as_json:
        print_json(found)
        return
    _tell(found)
    if out is not None and not found.is_empty:
        say(f"\nWritten to {out}. To do it: activation identity apply {out} --by NAME --why TEXT")


def apply(
    plan_file: Annotated[
        Path, typer.Argument(metavar="PLAN", exists=True, dir_okay=False, help="What `identity plan --out` wrote.")
    ],
    *,
    by: By,
    why: Why,
    as_json: AsJson = False,
) -> None:
    """Do what a plan says, if it is still what would be done. Begun and broken off, the same command goes on."""
    from activation_dagster.pipeline.identity.apply import apply_plan, read_plan

    said = read_plan(plan_file)
    with opened() as places:
        found = apply_plan(places, said, by=by, why=why)
    if as_json:
        print_json(found)
        return
    _tell_applied(found)


def unmerge(
    *,
    link: Annotated[str | None, typer.Option(metavar="EVENT_ID", help="Undo what this event joined.")] = None,
    profile: Annotated[
        str | None, typer.Option(metavar="PROFILE_ID", help="Undo that this profile became another.")
    ] = None,
    by: By = "",
    why: Why = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would change.")] = False,
    reveal: Reveal = False,
    as_json: AsJson = False,
) -> None:
    """Undo a link or a merge: the two are kept apart, and all that follows is as if they had never been one."""
    from activation_dagster.errors import WrongUse
    from activation_dagster.pipeline.identity.unmerge import unmerge as undo

    if (link is None) == (profile is None):
        raise WrongUse("It is not said what to undo, in the command. Give --link EVENT_ID or --profile PROFILE_ID.")
    if not dry_run and not (by and why):
        raise WrongUse("It is not said who does this and why, in the command. Give --by and --why, or --dry-run.")
    with opened() as places:
        found = undo(places, link=link, profile=profile, by=by, why=why, dry_run=dry_run, reveal=reveal)
    if as_json:
        print_json(found)
        return
    for first, second, event_id in found.pairs:
        say(f"{'Would be kept' if dry_run else 'Kept'} apart: {first} and {second}, shown together by {event_id}.")
    if found.is_still_one:
        say("Other identifiers still make them one person; undo those links too, or name the profile.")
    _tell(found.plan)
    if found.applied is not None:
        _tell_applied(found.applied)


def _one_of(samples: tuple[str, ...]) -> str:
    return samples[0] if samples else ""


def _tell(found: IdentityPlan) -> None:
    if found.is_empty:
        say("Nothing would change.")
        return
    counts = found.profiles
    say(f"{counted(counts.before, 'person', 'people')} looked at would be {counts.after:,}.")
    say(
        f"{counts.merged:,} merged, {counts.split:,} split, {counts.changed:,} changed, {counts.new:,} new, "
        f"{counts.gone:,} gone, {counts.unchanged:,} unchanged; conflicts: {found.conflicts_before:,} before, "
        f"{found.conflicts_after:,} after."
    )
    print_table(
        ["audience", "would enter", "such as", "would exit", "such as"],
        [
            (one.audience_id, one.entered, _one_of(one.entered_samples), one.exited, _one_of(one.exited_samples))
            for one in found.audiences
        ],
        empty="Nobody would enter or leave an audience.",
    )
    print_table(
        ["purpose", "channel", "now", "would be", "profiles", "such as"],
        [
            (one.purpose, one.channel, one.before, one.after, one.profiles, _one_of(one.samples))
            for one in found.consents
        ],
        empty="Nobody's consent would be otherwise.",
    )
    print_table(
        ["workflow", "sends that", "reason", "sends", "such as"],
        [(one.workflow_id, SENDS[one.what], one.reason, one.sends, _one_of(one.samples)) for one in found.sends],
        empty="No send would have been otherwise.",
    )
    print_table(
        ["", "before", "after", "identifiers"],
        [
            (
                one.what,
                " ".join(profile[:BEGINNING] for profile in one.before),
                " ".join(profile[:BEGINNING] for profile in one.after),
                " ".join(one.identifiers),
            )
            for one in found.samples
        ],
        empty="No person would be another.",
    )
    differing = counts.merged + counts.split + counts.changed + counts.new + counts.gone
    if len(found.samples) < differing:
        say(f"These are {len(found.samples):,} of {differing:,} people who would be another, some of each kind.")


SENDS = {
    "anothers": "would be another's",
    "not_made": "would not have been made",
    "missed": "would have been made",
}
"""What `SendDifference.what` says, in words."""


def _tell_applied(found: Applied) -> None:
    ended = sum(rows[0] for rows in found.rows.values())
    added = sum(rows[1] for rows in found.rows.values())
    resumed = " It had been begun before, and is finished now." if found.is_resumed else ""
    say(f"Done, as act {found.seq} of the control log: {ended:,} rows ended, {added:,} rows added.{resumed}")
