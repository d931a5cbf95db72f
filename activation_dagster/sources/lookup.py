"""Looking for one event in landing by its messageId: in open files and in segments, parsing only what may be it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activation_dagster.domain.events import shed_on_arrival
from activation_dagster.domain.landing import Segment
from activation_dagster.domain.lexical import read_event
from activation_dagster.domain.reasons import ShedReason
from activation_dagster.sources.landing import OPEN_FOLDER, Landing


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """An event stands in landing; `shed` says why no more than its name does, or is None."""

    shed: ShedReason | None


def in_open_files(landing: Landing, source: str, message_id: str) -> Landed | None:
    """An event with this messageId in some worker's open file of a source, on disk or about to be."""
    return _best(_contents(landing.root / OPEN_FOLDER / source), message_id)


def in_segments(landing: Landing, segments: Iterable[Segment], message_id: str) -> Landed | None:
    """An event with this messageId in some segments; one that is gone holds nothing."""
    return _best(_stored(landing, segments), message_id)


def _best(contents: Iterable[bytes], message_id: str) -> Landed | None:
    """What is found first and is whole, or else the newest line that says that it was shed."""
    shed: Landed | None = None
    for content in contents:
        for event in _events(content, message_id):
            reason = shed_on_arrival(event)
            if reason is None:
                return Landed(shed=None)
            shed = shed or Landed(shed=reason)
    return shed


def _stored(landing: Landing, segments: Iterable[Segment]) -> Iterator[bytes]:
    for segment in segments:
        path = landing.path_of(segment)
        with suppress(FileNotFoundError):
            stored = path.read_bytes()
            yield gzip.decompress(stored) if path.suffix == ".gz" else stored


def _contents(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.glob("*.ndjson")):
        with suppress(FileNotFoundError):  # sealed a moment ago
            yield path.read_bytes()


def _events(content: bytes, message_id: str) -> Iterator[dict[str, Any]]:
    for spelled in {json.dumps(message_id).encode(), json.dumps(message_id, ensure_ascii=False).encode()}:
        at = content.find(spelled)
        while at >= 0:
            start = content.rfind(b"\n", 0, at) + 1
            end = content.find(b"\n", at)
            event = read_event(content[start : len(content) if end < 0 else end])
            if isinstance(event, dict) and event.get("messageId") == message_id:
                yield event
            at = content.find(spelled, at + 1)
