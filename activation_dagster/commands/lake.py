"""`activation lake`: whether the lake holds what state says, and writing again what is missing."""

from __future__ import annotations

from typing import Annotated

import typer

from activation_dagster.commands.installation import opened
from activation_dagster.commands.printing import AsJson, end, plain, print_json, print_table, say

app = typer.Typer(help="The lake: a copy of what state says.", no_args_is_help=True)


@app.command()
def verify(
    *,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Write again what is missing or different.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare the lake with state, and rebuild what is damaged. Exit 1 when damage is left."""
    from activation_dagster.pipeline.verify import verify as compare

    with opened() as places:
        report = compare(places, rebuild=rebuild, now=places.clock())
    if as_json:
        print_json({**plain(report), "is_sound": report.is_sound})
        end(found=not report.is_sound)
    if report.mended_logs:
        say(f"Empty log entries were moved away: {', '.join(report.mended_logs)}.")
    if report.orphan_rows:
        say(f"{report.orphan_rows:,} rows belong to phases or copies that are not closed yet.")
    print_table(
        ["table", "hour", "batch", "phase", "expected", "found", "rebuilt", "why not"],
        [
            (d.table, d.arrival_hour, d.batch_id, d.phase, d.expected_rows, d.found_rows, d.is_rebuilt, d.obstacle)
            for d in report.damaged
        ],
        may_go=("hour", "phase"),
        empty=f"All {report.copies:,} copies are in the lake as state says.",
    )
    if not report.is_sound:
        say("Damage is left." if rebuild else "Run `activation lake verify --rebuild` to write it again.")
    end(found=not report.is_sound)
