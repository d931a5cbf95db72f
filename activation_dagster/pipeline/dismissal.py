"""Dismissal: what nobody can mend, or needs, comes off the list of what waits, for a reason and in a person's name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from activation_dagster.domain.repairs import Selection
from activation_dagster.errors import WrongUse
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.quarantine import QuarantinedEvent, shown, waiting
from activation_dagster.pipeline.reentry import act_id_of, selection_text
from activation_dagster.state.purges import hold_off_purges
from activation_dagster.state.quarantine import DISMISSAL, Act, close


@dataclass(frozen=True, slots=True, kw_only=True)
class DismissalReport:
    """What a dismissal would take off the list, or with an `act_id` took; `samples` are the newest, masked."""

    selected: int
    by_group: Mapping[str, int]
    samples: tuple[QuarantinedEvent, ...]
    act_id: str = ""


def preview_dismissal(places: Places, select: Selection, *, samples: int = 3, reveal: bool = False) -> DismissalReport:
    """What a dismissal of this selection would take off the list. Raises WrongUse where nothing is selected by."""
    _refuse_everything(select)
    by_group: Counter[str] = Counter()
    for chunk in waiting(places, select):
        by_group.update(f"{event.reason} {event.event}".strip() for event in chunk)
    return DismissalReport(
        selected=by_group.total(),
        by_group=dict(by_group.most_common()),
        samples=shown(places, select, limit=samples, reveal=reveal) if samples else (),
    )


def dismiss(places: Places, select: Selection, *, by: str, why: str) -> DismissalReport:
    """Take events off the list of what waits, for a reason and in a person's name. They stay in the lake."""
    if not why.strip() or not by.strip():
        raise WrongUse("Events were to be dismissed without a reason or a name, in --why and --by. Give both.")
    _refuse_everything(select)
    act: Act | None = None
    by_group: Counter[str] = Counter()
    for chunk in waiting(places, select):
        if act is None:
            act = Act(
                act_id=act_id_of(DISMISSAL, "", chunk[0].event_id),
                kind=DISMISSAL,
                name="",
                fingerprint="",
                done_at=places.clock(),
                done_by=by,
                reason=why,
                content=selection_text(select),
            )
        with places.state.write() as connection:
            hold_off_purges(connection, {(event.batch_id, event.reason) for event in chunk})
            close(connection, act, {event.event_id: "" for event in chunk}, now=places.clock())
        by_group.update(f"{event.reason} {event.event}".strip() for event in chunk)
    return DismissalReport(
        selected=by_group.total(),
        by_group=dict(by_group.most_common()),
        samples=(),
        act_id="" if act is None else act.act_id,
    )


def _refuse_everything(select: Selection) -> None:
    if select == Selection():
        raise WrongUse(
            "Everything that waits was to be dismissed, by no selection. Name an event, a reason, a field or an id."
        )
