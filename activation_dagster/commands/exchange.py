"""`activation contracts export` and `docs`: our contracts in the words of other tools, and for people to read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from activation_dagster.commands.installation import places_of, read_settings
from activation_dagster.commands.printing import end, say, shown, warn

if TYPE_CHECKING:
    from activation_dagster.domain.contracts import EventContract
    from activation_dagster.domain.envelope import EnvelopeContract
    from activation_dagster.domain.proposals import Loss
    from activation_dagster.pipeline.contract_counts import DayCount
    from activation_dagster.registry.catalogue_pages import Seen
    from activation_dagster.registry.catalogue_trend import SeenOn
    from activation_dagster.registry.contract_set import ContractSet
    from activation_dagster.settings import Settings


class Form(StrEnum):
    """What `contracts export` writes."""

    JSON_SCHEMA = "json-schema"
    SEGMENT = "segment"
    ODCS = "odcs"


def export(
    event: Annotated[
        str, typer.Argument(help="A folder of events/, an event's name, or 'envelope'; none: all of them.")
    ] = "",
    *,
    as_: Annotated[
        Form, typer.Option("--as", help="segment: rules of a tracking plan. odcs: Open Data Contract Standard.")
    ],
    version: Annotated[str, typer.Option(help="Only this version, v1 for example.")] = "",
    to: Annotated[Path | None, typer.Option(help="Write into this folder instead of printing.")] = None,
) -> None:
    """Write contracts as JSON Schema or a Segment tracking plan (all versions), or as ODCS (the current one).

    A JSON Schema judges the properties or traits of an event as the platform does; the envelope's judges whole events,
    and is a plan's common schema. Exit 1 if something is lost.
    """
    from activation_dagster.registry.loading import load_contracts

    settings = read_settings()
    contracts = load_contracts(settings.contracts, environment=settings.environment, needs_examples=False)
    chosen, envelope = _chosen(contracts, event, version)
    texts, losses = _texts(chosen, envelope, contracts, as_)
    if to is None:
        typer.echo(("---\n" if as_ is Form.ODCS else "").join(texts.values()), nl=False)
    else:
        to.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (to / name).write_text(text, encoding="utf-8")
        say(f"Wrote {len(texts):,} file{'s' if len(texts) != 1 else ''} to {to}.")
    for loss in losses:
        warn(shown(str(loss)))
    end(found=bool(losses))


def docs(*, to: Annotated[Path, typer.Option(help="The folder to write into; index.html is its first page.")]) -> None:
    """Write a searchable HTML catalogue of all events: no server, nothing loaded from elsewhere."""
    from activation_dagster.registry.catalogue_pages import Catalogue, pages
    from activation_dagster.registry.loading import load_contracts

    settings = read_settings()
    contracts = load_contracts(settings.contracts, environment=settings.environment, needs_examples=False)
    seen, trend = _seen(settings)
    made = pages(Catalogue(contracts=contracts, seen=seen, trend=trend, examples=_examples(settings, contracts)))
    _refuse_a_foreign_folder(to)
    (to / "events").mkdir(parents=True, exist_ok=True)
    for stale in (to / "events").glob("*.html"):
        stale.unlink()
    for name, text in made.items():
        (to / name).write_text(text, encoding="utf-8")
    say(f"Wrote {len(made):,} pages. Open {to / 'index.html'}.")


def _refuse_a_foreign_folder(folder: Path) -> None:
    """Only an earlier catalogue is written over. Raises WrongUse."""
    from activation_dagster.errors import WrongUse
    from activation_dagster.registry.catalogue_pages import GENERATOR

    for page in [folder / "index.html", *(folder / "events").glob("*.html")]:
        if page.exists() and GENERATOR not in page.read_text(encoding="utf-8", errors="replace"):
            raise WrongUse(
                f"A page that is no page of a catalogue stands at {page}. Nothing was written; name another --to."
            )


def _seen(settings: Settings) -> tuple[dict[tuple[str, str], Seen], dict[str, list[SeenOn]]]:
    """What each version has judged, and each contract day by day; nothing opened where no lake is there."""
    from activation_dagster.pipeline.contract_counts import counts_by_day, counts_by_version
    from activation_dagster.registry.catalogue_pages import Seen

    if not settings.lake_root.exists():
        return {}, {}
    with places_of(settings) as places:
        by_day = counts_by_day(places)
        seen = {
            (one.contract, one.version): Seen(
                accepted=one.accepted,
                waiting=one.waiting,
                last_on=f"{one.last_occurred_at:%Y-%m-%d}" if one.last_occurred_at else "",
            )
            for one in counts_by_version(places)
        }
    return seen, _trend(by_day)


def _trend(by_day: Sequence[DayCount]) -> dict[str, list[SeenOn]]:
    """By contract the same days for all, those without an event included."""
    from activation_dagster.pipeline.contract_counts import TREND_DAYS
    from activation_dagster.registry.catalogue_trend import SeenOn

    counted = {(one.contract, one.day): one for one in by_day}
    newest = max((one.day for one in by_day), default=None)
    found: dict[str, list[SeenOn]] = {}
    for contract in dict.fromkeys(one.contract for one in by_day):
        assert newest is not None
        for age in reversed(range(TREND_DAYS)):
            day = newest - timedelta(days=age)
            one = counted.get((contract, day))
            accepted, waiting = (0, 0) if one is None else (one.accepted, one.waiting)
            found.setdefault(contract, []).append(SeenOn(day=day.isoformat(), accepted=accepted, waiting=waiting))
    return found


def _examples(settings: Settings, contracts: ContractSet) -> dict[tuple[str, str], str]:
    """The files of examples as they were written, where there are any."""
    found: dict[tuple[str, str], str] = {}
    folders = [(contract, settings.contracts / "events" / contract.slug) for contract in contracts.events.values()]
    envelope = (
        [] if contracts.envelope is None else [(contracts.envelope, settings.contracts / contracts.envelope.slug)]
    )
    for contract, folder in [*folders, *envelope]:
        for version in contract.versions:
            file = folder / f"{version.version}.examples.yaml"
            if file.is_file():
                found[contract.slug, version.version] = file.read_text(encoding="utf-8")
    return found


def _chosen(contracts: ContractSet, event: str, version: str) -> tuple[list[EventContract], EnvelopeContract | None]:
    """The contracts asked for, with the versions asked for only. Raises WrongUse where there is none."""
    from dataclasses import replace

    from activation_dagster.domain.envelope import ENVELOPE
    from activation_dagster.errors import WrongUse
    from activation_dagster.registry.files import suggestion

    chosen = [found for found in contracts.events.values() if event in ("", found.slug, found.name)]
    envelope = contracts.envelope
    if envelope is not None and event not in ("", envelope.slug):
        envelope = None
    if not chosen and envelope is None:
        near = suggestion(event, [*contracts.events, *(found.name for found in contracts.events.values()), ENVELOPE])
        raise WrongUse(f"No contract is named '{event}', under events/ of the contracts.{near or ' Name one of them.'}")
    if version:
        chosen = [
            replace(found, versions=(named,)) for found in chosen if (named := found.version(version)) is not None
        ]
        named = [found for found in envelope.versions if found.version == version] if envelope else []
        envelope = replace(envelope, versions=tuple(named)) if envelope and named else None
    if not chosen and envelope is None:
        raise WrongUse(f"No version is named '{version}', in the contracts asked for. Leave --version out.")
    return chosen, envelope


def _texts(
    chosen: list[EventContract], envelope: EnvelopeContract | None, contracts: ContractSet, form: Form
) -> tuple[dict[str, str], list[Loss]]:
    """File names and what they hold; what could not be said."""
    import json

    import yaml

    from activation_dagster.registry.call_schemas import call_schema
    from activation_dagster.registry.data_contracts import data_contract, envelope_contract
    from activation_dagster.registry.property_schemas import unsaid
    from activation_dagster.registry.segment_plan import tracking_plan

    if form is Form.SEGMENT:
        plan, losses = tracking_plan(chosen, envelope=envelope)
        return {"tracking_plan.json": json.dumps(plan, indent=2, ensure_ascii=False) + "\n"}, losses
    everything = [*chosen, *([] if envelope is None else [envelope])]
    if form is Form.JSON_SCHEMA:
        schemas = {
            f"{contract.slug}.{version.version}.schema.json": call_schema(contract, version)
            for contract in everything
            for version in contract.versions
        }
        unwritten = [
            loss
            for contract in everything
            for version in contract.versions
            for rule in version.properties
            for loss in unsaid(rule, f"{contract.slug}.{version.version}.{rule.name}")
        ]
        return {
            name: json.dumps(said, indent=2, ensure_ascii=False) + "\n" for name, said in schemas.items()
        }, unwritten
    documents = {contract.slug: data_contract(contract, contracts.owners[contract.owner]) for contract in chosen}
    if envelope is not None:
        documents[envelope.slug] = envelope_contract(envelope, contracts.owners[envelope.owner])
    said: dict[str, Any] = {slug: document for slug, (document, _) in documents.items()}
    return {
        f"{slug}.odcs.yaml": yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
        for slug, document in said.items()
    }, [loss for _, losses in documents.values() for loss in losses]
