"""`activation contracts infer` and `import`: contracts proposed from traffic or from another tool's file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from activation_dagster.commands.installation import opened, read_settings
from activation_dagster.commands.printing import AsJson, print_json, say, warn

if TYPE_CHECKING:
    from activation_dagster.domain.proposals import Proposal
    from activation_dagster.pipeline.infer import Traffic
    from activation_dagster.registry.contract_set import ContractSet
    from activation_dagster.settings import Settings

LANDING, QUARANTINE = "landing", "quarantine"

Write = Annotated[
    bool, typer.Option("--write", help="Write the files under contracts/events/; nothing is overwritten.")
]
Owner = Annotated[str, typer.Option(help="The team of owners.yaml that will answer for it; --write needs it.")]


def infer(
    *,
    from_: Annotated[
        str,
        typer.Option("--from", help="'landing', 'quarantine' (events that nobody promised), or an NDJSON file."),
    ] = LANDING,
    source: Annotated[str | None, typer.Option(help="Only what this source sent.")] = None,
    event: Annotated[str | None, typer.Option(help="Only this event; otherwise every one without a contract.")] = None,
    sample: Annotated[int, typer.Option(min=1, help="Look at so many of each event at most.")] = 200_000,
    owner: Owner = "",
    write: Write = False,
    as_json: AsJson = False,
) -> None:
    """Propose contracts from traffic, with the evidence as comments. Nothing that tells of a person is printed."""
    from activation_dagster.domain.inference import propose
    from activation_dagster.errors import WrongUse

    settings = read_settings()
    found = _traffic(settings, from_, source=source, event=event, sample=sample)
    contracts = _contracts(settings)
    proposals: list[Proposal] = []
    for evidence in found.events:
        known = contracts.contract_for(evidence.call, evidence.name)
        if known is None:
            proposals.append(propose(evidence))
        elif event is not None:
            proposals.append(propose(evidence, slug=known.slug, version=f"v{int(known.newest.version[1:]) + 1}"))
    if event is not None and not proposals:
        raise WrongUse(
            f"No event of the name given was found in {found.lines:,} lines, from {from_}. "
            "Names are compared letter by letter; without --event every event without a contract is proposed."
        )
    if found.unshown:
        warn(f"{found.unshown:,} event names look like data and are not shown; mend them where they are sent.")
    if not as_json and not proposals:
        say(f"Every event in {found.lines:,} lines has a contract, or its name is not shown.")
    hand_over(proposals, contracts=contracts, root=settings.contracts, owner=owner, write=write, as_json=as_json)


def _traffic(settings: Settings, from_: str, *, source: str | None, event: str | None, sample: int) -> Traffic:
    from activation_dagster.errors import WrongUse
    from activation_dagster.pipeline.infer import traffic_of_file, traffic_of_landing, traffic_of_quarantine

    if from_ in (LANDING, QUARANTINE):
        read = traffic_of_landing if from_ == LANDING else traffic_of_quarantine
        with opened() as places:
            return read(places, source=source, event=event, sample=sample)
    file = Path(from_)
    if not file.is_file():
        raise WrongUse(f"There is no file to infer from, at {file}. Name an NDJSON file, 'landing' or 'quarantine'.")
    if source is not None:
        raise WrongUse("A file does not say which source sent it, so --source cannot be asked. Leave it out.")
    return traffic_of_file(settings.sql, file, event=event, sample=sample)


def _contracts(settings: Settings) -> ContractSet:
    from activation_dagster.registry.loading import load_contracts

    return load_contracts(settings.contracts, environment=settings.environment)


def hand_over(
    proposals: Iterable[Proposal], *, contracts: ContractSet, root: Path, owner: str, write: bool, as_json: bool
) -> None:
    """Print proposals, or write those of new events. Raises WrongUse where the owner is missing or unknown."""
    from activation_dagster.errors import WrongUse
    from activation_dagster.registry.proposal_files import contract_text, version_text, write_contract

    made = list(proposals)
    files: dict[str, dict[str, str]] = {}
    for proposal in made:
        answers = proposal.owner if proposal.owner in contracts.owners and not owner else owner
        if write and answers not in contracts.owners:
            raise WrongUse(
                f"Nobody of owners.yaml answers for '{proposal.slug}', so nothing was written. "
                f"Name one with --owner: {', '.join(sorted(contracts.owners))}."
            )
        described = proposal.description or "Proposed; say what it means, when it is sent and by whom."
        about = contract_text(
            proposal,
            owner=answers or "name-one-of-owners.yaml",
            criticality=proposal.criticality or "best_effort",
            description=described,
        )
        version = f"{proposal.version}.yaml"
        is_known = proposal.slug in contracts.events
        kept = files.setdefault(proposal.slug, {} if is_known else {"contract.yaml": about})
        if version in kept:
            raise WrongUse(
                f"Two events would share the folder events/{proposal.slug}. Nothing was written; take one with --event."
            )
        kept[version] = version_text(proposal)
    written: list[str] = []
    if write:
        known = sorted(slug for slug in files if slug in contracts.events or (root / "events" / slug).exists())
        if known:
            raise WrongUse(
                f"There is a contract already for {', '.join(known)}, under {root / 'events'}. Nothing was written: "
                "take what you want from the printed proposal into a new version file."
            )
        written = [str(write_contract(root, slug, texts)) for slug, texts in files.items()]
    if as_json:
        print_json({"proposals": files, "written": written})
        return
    for slug, texts in () if write else files.items():
        for name, text in texts.items():
            typer.echo(f"# --- events/{slug}/{name}\n{text}")
    for folder in written:
        say(f"Wrote {folder}. Read it, correct it, and run `activation contracts check`.")
