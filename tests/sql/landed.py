"""Bytes landed as one segment and taken by a real batch, for tests that hold the bulk path against the plain rules."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from activation_dagster.domain.batches import Batch, Provenance
from activation_dagster.domain.landing import segment_from_path, segment_path
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.contracts_in_force import contracts_today
from activation_dagster.pipeline.places import Places
from activation_dagster.settings import Settings
from activation_dagster.wiring import open_places

NOW = datetime(2026, 3, 1, 10, 15, 30, 123_000, tzinfo=UTC)
ORDINAL = 1 << 32
"""What a segment's number is multiplied with in an ordinal."""


class Batches:
    """Makes batches over segments of any bytes; state knows nothing of them, and reading them changes nothing."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._numbers = itertools.count()

    @contextmanager
    def of(self, *contents: bytes) -> Generator[BatchRun]:
        """A batch that takes one segment for each content, in their order."""
        number = next(self._numbers)
        segments = []
        for place, content in enumerate(contents):
            name = f"{int(NOW.timestamp() * 1000) + place:013d}-t{number}"
            path = segment_path(source="shop", sealed_at=NOW, segment_id=name, compressed=False)
            file = self.places.landing.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            segment = segment_from_path(path, len(content))
            assert segment is not None
            segments.append(segment)
        batch = Batch(
            batch_id=f"b{number}",
            batch_no=1,
            environment=self.places.environment,
            arrival_hour=NOW.replace(minute=0, second=0, microsecond=0),
            provenance=Provenance.LIVE,
            as_of=NOW,
            contract_set=contracts_today(self.places).fingerprint,
            segments=tuple(segments),
        )
        with BatchRun(self.places, batch) as run:
            yield run


@contextmanager
def batches_under(folder: Path) -> Generator[Batches]:
    """An installation under a folder that makes batches."""
    with open_places(Settings(home=folder / "home"), clock=lambda: NOW) as places:
        yield Batches(places)
