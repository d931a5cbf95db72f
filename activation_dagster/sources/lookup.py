"""Looking for one event in landing by its messageId: in open files and in segments, parsing only what may be it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from activation_dagster.domain.landing import Segment
from activation_dagster.domain.lexical import read_event
from activation_dagster.sources.landing import OPEN_FOLDER, Landing


def open_holds(landing: Landing, source: str, message_id: str) -> bool:
    """Whether some worker's open file of a source holds an event with this messageId, on disk or about to be."""
    folder = landing.root / OPEN_FOLDER / source
    return any(_holds(content, message_id) for content in _contents(folder))


def segment_holds(landing: Landing, segments: Iterable[Segment], message_id: str) -> Segment | None:
    """The first of some segments that holds an event with this messageId; one that is gone holds nothing."""
    for segment in segments:
        path = landing.path_of(segment)
        try:
            stored = path.read_bytes()
        except FileNotFoundError:
            continue
        if _holds(gzip.decompress(stored) if path.suffix == ".gz" else stored, message_id):
            return segment
    return None


def _contents(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.glob("*.ndjson")):
        with suppress(FileNotFoundError):  # sealed a moment ago
            yield path.read_bytes()


def _holds(content: bytes, message_id: str) -> bool:
    for spelled in {json.dumps(message_id).encode(), json.dumps(message_id, ensure_ascii=False).encode()}:
        at = content.find(spelled)
        while at >= 0:
            start = content.rfind(b"\n", 0, at) + 1
            end = content.find(b"\n", at)
            event = read_event(content[start : len(content) if end < 0 else end])
            if isinstance(event, dict) and event.get("messageId") == message_id:
                return True
            at = content.find(spelled, at + 1)
    return False
