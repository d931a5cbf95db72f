"""Reading contracts/unknown_events.yaml: whose unknown events are kept, and of nobody where there is no such file."""

from __future__ import annotations

from activation_dagster.domain.unknown_events import KeptUnknown
from activation_dagster.registry import shapes
from activation_dagster.registry.event_terms import FOLDER_NAME
from activation_dagster.registry.reading import Reading

FILE = "unknown_events.yaml"


def read_unknown_events(reading: Reading) -> tuple[KeptUnknown, ...]:
    """What is declared to be kept."""
    if not (reading.root / FILE).exists():
        return ()
    shape = reading.read(reading.root / FILE, shapes.UnknownEventsFile)
    if shape is None:
        return ()
    reading.owner(FILE, shape.owner)
    for number, line in enumerate(shape.keep):
        for key, names in (("sources", line.sources), ("environments", line.environments)):
            for name in names:
                if not FOLDER_NAME.fullmatch(name):
                    sentence = (
                        f"names '{name}', which no folder of landing could be called; use lower case, digits, _ and -."
                    )
                    reading.fault(FILE, f"keep.{number}.{key}", sentence)
    return tuple(
        KeptUnknown(
            sources=tuple(line.sources),
            why=line.why,
            calls=tuple(line.calls),
            environments=tuple(line.environments),
        )
        for line in shape.keep
    )
