"""`activation identity`: trying rules on a file, and what tied a person together."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from activation_dagster.commands.installation import opened
from activation_dagster.commands.printing import AsJson, Reveal, plain, print_json, print_table, say, write_file

app = typer.Typer(
    help="Who is who: rules tried on a file, a person's graph, and history adjudicated again.", no_args_is_help=True
)


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
    from activation_dagster.pipeline.identity.trial import try_rules

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


@app.command()
def show(
    profile: Annotated[str, typer.Argument(help="A profile id, or an identifier such as user_id:VALUE.")],
    *,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw it, as a page with the ledger.")] = None,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw it, as a picture.")] = None,
    reveal: Reveal = False,
    as_json: AsJson = False,
) -> None:
    """Show a person's graph: each identifier, each profile they were, and why each link is there or is not."""
    from activation_dagster.pipeline.identity.graph import graph_of
    from activation_dagster.pipeline.identity.picture import as_html, as_svg

    with opened() as places:
        found = graph_of(places, profile, reveal=reveal)
    for file, drawn in ((html, as_html), (svg, as_svg)):
        if file is not None:
            write_file(file, drawn(found), what="picture")
    if as_json:
        print_json(found)
        return
    was = len(found.profiles) - 1
    before = f", which {was:,} other profiles became" if was > 1 else ", which another profile became" if was else ""
    say(f"Profile {found.profile_id}{before}; {len(found.identifiers):,} identifiers, {found.link_count:,} links.")
    print_table(
        ["kind", "identifier", "attached", "by event", "shared since"],
        [(one.kind, one.identifier, one.attached_at, one.event_id, one.shared_since) for one in found.identifiers],
        may_go=("shared since",),
    )
    if found.traits:
        print_table(["trait", "value", "policy"], [(one.trait, one.value, one.policy) for one in found.traits])
    for moved in found.redirects:
        say(f"{moved.from_profile} became {moved.to_profile} by {moved.event_id}.")
    for link in found.links:
        say(f"\n{link.decision.value}: {link.kind} {link.identifier} by {link.event_id}, rules {link.rules_version}")
        offered = f"offered to {link.profile_id or 'no profile'}"
        other = f", stands on {link.other_profile_id}" if link.other_profile_id else ""
        say(f"{offered}{other}. {link.reason + ': ' if link.reason else ''}{link.why}", indent=4)
        if link.adjudicated:
            say(f"Adjudicated again: {link.adjudicated}", indent=4)
        if link.ended:
            say(f"Holds no more: {link.ended}", indent=4)
    if found.link_count > len(found.links):
        say(f"\n{found.link_count - len(found.links):,} more links are not shown.")
