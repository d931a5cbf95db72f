"""`activation contracts export`: our contracts in the words of other tools."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from activation_dagster.commands.installation import read_settings
from activation_dagster.commands.printing import end, say, shown, warn

if TYPE_CHECKING:
    from activation_dagster.domain.contracts import EventContract
    from activation_dagster.domain.proposals import Loss
    from activation_dagster.registry.contract_set import ContractSet


class Form(StrEnum):
    """What `contracts export` writes."""

    SEGMENT = "segment"
    ODCS = "odcs"


def export(
    event: Annotated[str, typer.Argument(help="A folder of events/, or an event's name; none: all events.")] = "",
    *,
    as_: Annotated[Form, typer.Option("--as", help="segment: tracking plan rules. odcs: Open Data Contract Standard.")],
    to: Annotated[Path | None, typer.Option(help="Write into this folder instead of printing.")] = None,
) -> None:
    """Write contracts as a Segment tracking plan (all versions) or as ODCS (the newest). Exit 1 if anything is lost."""
    from activation_dagster.registry.loading import load_contracts

    settings = read_settings()
    contracts = load_contracts(settings.contracts, environment=settings.environment)
    texts, losses = _texts(_chosen(contracts, event), contracts, as_)
    if to is None:
        typer.echo("---\n".join(texts.values()), nl=False)
    else:
        to.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (to / name).write_text(text, encoding="utf-8")
        say(f"Wrote {len(texts):,} file{'s' if len(texts) != 1 else ''} to {to}.")
    for loss in losses:
        warn(shown(str(loss)))
    end(found=bool(losses))


def _chosen(contracts: ContractSet, event: str) -> list[EventContract]:
    from activation_dagster.errors import WrongUse
    from activation_dagster.registry.files import suggestion

    chosen = [found for found in contracts.events.values() if event in ("", found.slug, found.name)]
    if not chosen:
        near = suggestion(event, [*contracts.events, *(found.name for found in contracts.events.values())])
        raise WrongUse(f"No contract is named '{event}', under events/ of the contracts.{near or ' Name one of them.'}")
    return chosen


def _texts(chosen: list[EventContract], contracts: ContractSet, form: Form) -> tuple[dict[str, str], list[Loss]]:
    """File names and what they hold; what could not be said."""
    import json

    import yaml

    from activation_dagster.registry.data_contracts import data_contract
    from activation_dagster.registry.segment_plan import tracking_plan

    if form is Form.SEGMENT:
        plan, losses = tracking_plan(chosen)
        return {"tracking_plan.json": json.dumps(plan, indent=2, ensure_ascii=False) + "\n"}, losses
    texts: dict[str, str] = {}
    lost: list[Loss] = []
    for contract in chosen:
        document, losses = data_contract(contract, contracts.owners[contract.owner])
        lost += losses
        said: Any = document
        texts[f"{contract.slug}.odcs.yaml"] = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=110)
    return texts, lost
