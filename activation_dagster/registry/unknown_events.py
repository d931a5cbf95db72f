"""Reading contracts/unknown_events.yaml: whose unknown events are kept, and of nobody where there is no such file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from activation_dagster.domain.unknown_events import KeptUnknown
from activation_dagster.errors import Fault
from activation_dagster.registry import shapes
from activation_dagster.registry.event_terms import FOLDER_NAME
from activation_dagster.registry.files import read_shape, suggestion

FILE = "unknown_events.yaml"


def read_unknown_events(root: Path, faults: list[Fault], *, owners: Collection[str]) -> tuple[KeptUnknown, ...]:
    """What is declared to be kept; `faults` get every mistake."""
    if not (root / FILE).exists():
        return ()
    shape = read_shape(root / FILE, root, shapes.UnknownEventsFile, faults)
    if shape is None:
        return ()
    if shape.owner not in owners:
        hint = suggestion(shape.owner, sorted(owners))
        faults.append(
            Fault(file=FILE, path="owner", sentence=f"names '{shape.owner}', which is not in owners.yaml.{hint}")
        )
    for number, line in enumerate(shape.keep):
        for key, names in (("sources", line.sources), ("environments", line.environments)):
            for name in names:
                if not FOLDER_NAME.fullmatch(name):
                    sentence = f"names '{name}', which no folder of landing could be called."
                    faults.append(Fault(file=FILE, path=f"keep.{number}.{key}", sentence=sentence))
    return tuple(
        KeptUnknown(
            sources=tuple(line.sources),
            why=line.why,
            calls=tuple(line.calls),
            environments=tuple(line.environments),
        )
        for line in shape.keep
    )
