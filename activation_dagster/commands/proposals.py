"""`activation contracts infer` and `import`: contracts proposed from traffic or from another tool's file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from activation_dagster.commands.installation import opened, read_settings
from activation_dagster.commands.printing import AsJson, end, plain, print_json, say, shown, warn

if TYPE_CHECKING:
    from activation_dagster.domain.proposals import Loss, Proposal
    from activation_dagster.pipeline.infer import Traffic
    from activation_dagster.registry.contract_set import ContractSet
    from activation_dagster.registry.proposal_files import ProposalFiles
    from activation_dagster.settings import Settings


class Form(StrEnum):
    """What `contracts import` reads."""

    SEGMENT = "segment"
    JSON_SCHEMA = "json-schema"


LANDING, QUARANTINE = "landing", "quarantine"

Write = Annotated[bool, typer.Option("--write", help="Write the files under contracts/; nothing is overwritten.")]
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
            proposals.append(_told_from(propose(evidence), contracts))
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


def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="JSON (or YAML) to read.")],
    *,
    as_: Annotated[Form, typer.Option("--as", help="What the file is.")],
    event: Annotated[
        str,
        typer.Option(
            help="Only this event of a plan; the event of a JSON Schema without a title. 'envelope': the envelope."
        ),
    ] = "",
    owner: Owner = "",
    write: Write = False,
    as_json: AsJson = False,
) -> None:
    """Propose contracts from a tracking plan or a JSON Schema; what is lost is told (exit 1).

    A plan's common schema, or a schema of the title `envelope`, becomes the contract of every event's envelope.
    """
    from activation_dagster.errors import WrongUse
    from activation_dagster.registry.call_schemas import read_json_schema
    from activation_dagster.registry.files import suggestion
    from activation_dagster.registry.proposal_files import read_document
    from activation_dagster.registry.segment_plan import read_tracking_plan

    settings = read_settings()
    document = read_document(file)
    if as_ is Form.SEGMENT:
        proposals, losses = read_tracking_plan(document)
    else:
        one, losses = read_json_schema(document, event=event)
        proposals = (one,)
    if event and as_ is Form.SEGMENT:
        named = tuple(proposal for proposal in proposals if proposal.name == event)
        if not named:
            raise WrongUse(
                f"No rule is for '{event}', in {file}."
                f"{suggestion(event, [one.name for one in proposals]) or ' Leave --event out to see all.'}"
            )
        proposals = named
    contracts = _contracts(settings)
    if write and not event and contracts.envelope is not None:
        proposals, lost = _without_the_envelope(proposals)
        losses = [*losses, *lost]
    hand_over(
        proposals,
        contracts=contracts,
        root=settings.contracts,
        owner=owner,
        write=write,
        as_json=as_json,
        losses=losses,
    )


def _without_the_envelope(proposals: Sequence[Proposal]) -> tuple[tuple[Proposal, ...], list[Loss]]:
    """What can be written beside an envelope that is promised already: one there must not bar a plan's events."""
    from activation_dagster.domain.proposals import Loss

    sentence = "is promised already, so that of the file was not written; see it with --event envelope."
    return tuple(one for one in proposals if one.call is not None), [
        Loss(path=one.slug, sentence=sentence) for one in proposals if one.call is None
    ]


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


def _told_from(proposal: Proposal, contracts: ContractSet) -> Proposal:
    """A new event whose name differs from a promised one only in its spelling is told so: it may be a mistake."""
    from dataclasses import replace

    near = contracts.events.get(proposal.slug)
    if near is None:
        return proposal
    note = f"A contract promises '{near.name}', which differs only in its spelling: is this a mistake of its sender?"
    return replace(proposal, slug=f"{proposal.slug}_respelt", notes=(note, *proposal.notes))


def _contracts(settings: Settings) -> ContractSet:
    from activation_dagster.registry.loading import load_contracts

    return load_contracts(settings.contracts, environment=settings.environment, needs_examples=False)


def hand_over(
    proposals: Iterable[Proposal],
    *,
    contracts: ContractSet,
    root: Path,
    owner: str,
    write: bool,
    as_json: bool,
    losses: Sequence[Loss] = (),
) -> None:
    """Print proposals, or write those of new events; then what they cannot say. Exit 1 where that is anything.

    Raises WrongUse, before anything is written, where an owner is missing or a contract is there already.
    """
    from activation_dagster.registry.proposal_files import files_of, write_contract

    files = files_of(list(proposals), owners=list(contracts.owners), owner=owner)
    written: list[str] = []
    if write:
        _refuse_to_write(files, contracts=contracts, root=root)
        written = [str(write_contract(root, texts)) for texts in files.values()]
    if as_json:
        printed = {slug: texts.files for slug, texts in files.items()}
        print_json({"proposals": printed, "written": written, "losses": plain(losses)})
    else:
        for texts in () if write else files.values():
            for name, text in texts.files.items():
                typer.echo(f"# --- {texts.folder}/{name}\n{text}")
        for folder in written:
            say(f"Wrote {folder}. Read it, correct it, add examples beside it, and run `activation contracts check`.")
        for loss in losses:
            warn(shown(str(loss)))
        if losses:
            warn(f"{len(losses):,} things could not be said; each is named above.")
    end(found=bool(losses))


def _refuse_to_write(files: Mapping[str, ProposalFiles], *, contracts: ContractSet, root: Path) -> None:
    from activation_dagster.errors import WrongUse

    unowned = sorted(slug for slug, texts in files.items() if texts.owner not in contracts.owners)
    if unowned:
        raise WrongUse(
            f"Nobody of owners.yaml answers for {', '.join(unowned)}, so nothing was written. "
            f"Name one with --owner: {', '.join(sorted(contracts.owners))}."
        )
    known = sorted(slug for slug, texts in files.items() if (root / texts.folder).exists())
    if known:
        raise WrongUse(
            f"There is a contract already for {', '.join(known)}, under {root}. Nothing was written: "
            "take what you want from the printed proposal into a new version file, or take others with --event."
        )
