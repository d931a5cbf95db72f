"""`activation contracts`: whether what people wrote under contracts/ can be kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from activation_dagster.commands.installation import places_of, read_settings
from activation_dagster.commands.printing import AsJson, counted, end, plain, print_json, print_table, say
from activation_dagster.domain.compatibility.changes import Change, Mode, Verdict

if TYPE_CHECKING:
    from activation_dagster.registry.published import PublishedReport

app = typer.Typer(help="What is promised: events, identity, consent, audiences, workflows.", no_args_is_help=True)


Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="REF",
        help="Also hold the versions to those at a git ref, or to those of the newest batch (`state`): none edited or "
        "deleted, new ones compatible or declared.",
    ),
]


@app.command()
def check(*, against: Against = None, as_json: AsJson = False) -> None:
    """Read all contracts and report every mistake with its file and path. Exit 1 when there is one."""
    from activation_dagster.errors import ContractsInvalid, Fault
    from activation_dagster.pipeline.contracts_in_force import IN_STATE, check_against_state
    from activation_dagster.registry.contract_set import readers_of_all
    from activation_dagster.registry.loading import load_contracts
    from activation_dagster.registry.published import check_against

    settings = read_settings()
    faults: tuple[Fault, ...] = ()
    promised: dict[str, int] = {}
    fingerprint = None
    consumers: dict[str, tuple[str, ...]] = {}
    owners: tuple[str, ...] | None = None
    try:
        found = load_contracts(settings.contracts, environment=settings.environment)
        fingerprint = found.fingerprint
        consumers = readers_of_all(found)
        owners = tuple(found.owners)
        promised = {
            "events": len(found.events),
            "audiences": len(found.audiences),
            "workflows": len(found.workflows),
            "destinations": len(found.destinations),
            "owners": len(found.owners),
            "envelope_versions": 0 if found.envelope is None else len(found.envelope.versions),
            "kept_unknown_sources": len({name for one in found.kept_unknown for name in one.sources}),
        }
    except ContractsInvalid as invalid:
        faults = invalid.faults
    published: PublishedReport | None = None
    if against is not None:
        if against == IN_STATE:
            with places_of(settings) as places:
                published = check_against_state(places, consumers=consumers, owners=owners)
        else:
            published = check_against(settings.contracts, against, consumers=consumers, owners=owners)
        faults = tuple(sorted({*faults, *published.faults}))
    if as_json:
        answer: dict[str, Any] = {"folder": str(settings.contracts), "environment": settings.environment}
        if published is not None:
            answer["against"] = {"ref": published.ref, "published": published.published, "new": published.new}
        print_json({**answer, "fingerprint": fingerprint, "promised": promised, "faults": plain(faults)})
    elif faults:
        say(f"{len(faults):,} mistake{'s' if len(faults) != 1 else ''} under {settings.contracts}:")
        print_table(["file", "path", "mistake"], [(fault.file, fault.path, fault.sentence) for fault in faults])
    else:
        told = ", ".join(counted(count, what.replace("_", " ").removesuffix("s")) for what, count in promised.items())
        say(f"The contracts are sound: {told} (set {fingerprint}).")
        if published is not None:
            new = f"new: {', '.join(published.new)}" if published.new else "none is new"
            where = "to the newest batch" if published.ref == IN_STATE else f"at {published.ref}"
            say(f"All {published.published} versions published {where} stand as they were; {new}.")
    end(found=bool(faults))


@app.command()
def diff(
    old: Annotated[
        list[Path],
        typer.Argument(
            help="The earlier version: a file, several (oldest first), or a folder of v1, v2, …", show_default=False
        ),
    ],
    new: Annotated[Path, typer.Argument(help="The version that is to come after it.", show_default=False)],
    *,
    mode: Annotated[
        Mode,
        typer.Option(
            case_sensitive=False,
            help="What must not break: backward, the new version reads old data; forward, the old one reads new data.",
        ),
    ] = Mode.FULL,
    as_json: AsJson = False,
) -> None:
    """Compare two versions of an event, or two JSON Schemas. Exit 1 when NEW does not fit OLD."""
    from activation_dagster.domain.compatibility.engine import compare_all
    from activation_dagster.registry.versions import comparables

    earlier, later = comparables(old, new)
    verdict = compare_all([(one.name, one.document) for one in earlier], later.document, mode=mode, policy=later.policy)
    compared = [one.name for one in (earlier if mode.is_transitive else earlier[-1:])]
    if as_json:
        print_json(
            {
                "compatible": verdict.is_compatible,
                "mode": mode,
                "changes": [_change_as_json(change, of_several=len(compared) > 1) for change in verdict.changes],
            }
        )
    else:
        _print_verdict(verdict, compared, later.name)
    end(found=not verdict.is_compatible)


def _change_as_json(change: Change, *, of_several: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "rule": change.rule,
        "path": change.path,
        "breaking": change.is_breaking,
        "message": change.message,
        "breaks": sorted(change.breaks),
    }
    if change.example is not None:
        found |= {"example": change.example.instance, "example_refused_by": change.example.refused_by}
    if of_several:
        found["against"] = change.against
    return found


def _print_verdict(verdict: Verdict, compared: list[str], new: str) -> None:
    breaking = sum(change.is_breaking for change in verdict.changes)
    count = len(verdict.changes)
    fits = "is compatible" if verdict.is_compatible else "is NOT compatible"
    say(
        f"{new} {fits} with {', '.join(compared)} in mode {verdict.mode}: "
        f"{count:,} change{'s' if count != 1 else ''}, {breaking:,} breaking."
    )
    if not verdict.changes:
        return
    ordered = sorted(verdict.changes, key=lambda change: not change.is_breaking)
    print_table(
        ["breaks", "path", "what changed", "rule", "example"],
        [
            (
                " and ".join(sorted(change.breaks)) or "–",
                change.path,
                f"{change.message} (against {change.against})" if len(compared) > 1 else change.message,
                change.rule,
                "–" if change.example is None else _shortened(json.dumps(change.example.instance, ensure_ascii=False)),
            )
            for change in ordered
        ],
        may_go=("example", "rule"),
    )


def _shortened(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}… (whole with --json)"
