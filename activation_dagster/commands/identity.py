"""`activation identity`: trying rules on a file, and what tied a person together."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from activation_dagster.commands.printing import print_table, say

app = typer.Typer(help="Who is who: rules tried on a file, and the graph of a person.", no_args_is_help=True)


@app.command()
def resolve(
    *,
    rules: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="An identity contract, such as contracts/identity.yaml.")
    ],
    events: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Events as NDJSON, also gzipped.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line an event instead of a table.")] = False,
) -> None:
    """Resolve the events of a file by the rules of a file; nothing is read from state or written to it.

    Profiles are those at the end of the file. A line without a profile says its reason.
    """
    from activation_dagster.commands.printing import plain
    from activation_dagster.pipeline.identity_trial import try_rules

    profiles: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    conflicts: Counter[tuple[str, str, str]] = Counter()
    for tried in try_rules(rules, _lines(events)):
        if as_json:
            line = {"messageId": tried.message_id, "profile_id": tried.profile_id, "conflicts": plain(tried.conflicts)}
            typer.echo(json.dumps(line | ({"reason": tried.reason} if tried.reason else {}), ensure_ascii=True))
            continue
        if tried.profile_id is None:
            reasons[tried.reason] += 1
        else:
            profiles[tried.profile_id] += 1
        conflicts.update((one.kind, one.decision.value, one.reason) for one in tried.conflicts)
    if as_json:
        return
    say(f"{profiles.total() + reasons.total():,} events of {len(profiles):,} profiles.")
    if reasons:
        print_table(["without a profile because of", "events"], sorted(reasons.items()))
    print_table(
        ["kind", "decision", "reason", "events"],
        [(*told, count) for told, count in sorted(conflicts.items())],
        empty="No conflict.",
    )


def _lines(file: Path) -> Iterator[bytes]:
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as lines:
        for line in lines:
            yield line.rstrip(b"\r\n")
