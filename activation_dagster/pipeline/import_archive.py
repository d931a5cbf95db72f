"""Importing an archive: its files become sealed segments, each line once, wherever the program dies.

A part of a file is written down in state, then sealed, then confirmed. What was written down and never sealed is
planned anew, because a segment's hour is the hour it lands in; what was sealed and not confirmed is found in landing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

from activation_dagster.domain.batches import Provenance
from activation_dagster.domain.landing import segment_from_path, segment_path
from activation_dagster.errors import MendTheEnvironment, RetryLater, WrongUse
from activation_dagster.pipeline.places import Places
from activation_dagster.sources.archives import Archive, ArchiveObject, Listing, Opened
from activation_dagster.sources.land import chunks
from activation_dagster.state import archives
from activation_dagster.state.archives import Imported, Part

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

SEGMENT_BYTES = 8 * 1024 * 1024
"""Lines of a segment, in bytes; another number in another version changes no file that was begun before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A file that was not imported to its end, and a sentence that says why and what to do."""

    place: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportProgress:
    """How far an import is: `bytes_read` of `bytes_listed` (as stored), and the lines landed by it."""

    place: str
    bytes_read: int
    bytes_listed: int
    lines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did. `files = imported + known + len(troubles)`; `lines` and `segments` landed this time.

    `known` files had been imported before; `passed_over` ones have no name of events.
    """

    source: str
    provenance: Provenance
    files: int
    imported: int
    known: int
    passed_over: int
    lines: int
    segments: int
    bytes_read: int
    troubles: tuple[Trouble, ...]


def _silent(_: ImportProgress) -> None:
    """What happens after each segment where nobody asked to be told: nothing."""


def import_archive(
    places: Places,
    archive: Archive,
    *,
    source: str,
    provenance: Provenance,
    segment_bytes: int = SEGMENT_BYTES,
    progress: Callable[[ImportProgress], None] = _silent,
) -> ImportReport:
    """Land every line of every file of an archive that has not landed yet, under the hour of now.

    A file is known by the source and its identity, so importing it again lands nothing, and after a crash only what is
    missing. Batches of its segments get `provenance`. A file that cannot be read to its end is in `troubles`; all
    others are imported. Raises LeaseHeld while another import into this source is under way, WrongUse where there is
    nothing to import or `source` is no name, and MendTheEnvironment where the disk or the store refuses.
    """
    example = segment_path(source=source, sealed_at=EPOCH, segment_id=_id(0, "a"), compressed=False)
    if segment_from_path(example, 0) is None:
        raise WrongUse(f"{source!r} is no name of a source, in --source. Write small letters, digits, _ and -.")
    with places.landing.held(f"import-{source}"):
        listing = archive.listing()
        if not listing.objects:
            raise WrongUse(
                f"No file of events is there ({listing.passed_over:,} others were passed over), in the archive. "
                "Name a folder or prefix with files that end in .gz, .ndjson, .jsonl or .json, or one file."
            )
        return _Importing(
            places=places,
            archive=archive,
            source=source,
            provenance=provenance,
            segment_bytes=segment_bytes,
            progress=progress,
            bytes_listed=sum(found.size_bytes for found in listing.objects),
        ).run(listing)


@dataclass(slots=True, kw_only=True)
class _Importing:
    places: Places
    archive: Archive
    source: str
    provenance: Provenance
    segment_bytes: int
    progress: Callable[[ImportProgress], None]
    bytes_listed: int
    bytes_before: int = 0
    lines: int = 0
    segments: int = 0
    sealed_at: datetime = EPOCH
    troubles: list[Trouble] = field(default_factory=list[Trouble])

    def run(self, listing: Listing) -> ImportReport:
        known = 0
        for found in listing.objects:
            try:
                known += self._import(found)
            except RetryLater as error:  # the others need not wait for this one
                self.troubles.append(Trouble(place=found.place, sentence=str(error)))
            self.bytes_before += found.size_bytes
            self._tell(found.place, 0)
        return ImportReport(
            source=self.source,
            provenance=self.provenance,
            files=len(listing.objects),
            imported=len(listing.objects) - known - len(self.troubles),
            known=known,
            passed_over=listing.passed_over,
            lines=self.lines,
            segments=self.segments,
            bytes_read=self.bytes_before,
            troubles=tuple(self.troubles),
        )

    def _import(self, found: ArchiveObject) -> bool:
        """Land what is missing of a file; whether it had been imported before."""
        opened = self.archive.open(found)
        try:
            object_id = hashlib.sha256(f"{self.source}\x1f{opened.identity}".encode()).hexdigest()[:32]
            with self.places.state.write() as connection:
                before = archives.begin(
                    connection,
                    object_id=object_id,
                    source=self.source,
                    place=found.place,
                    size_bytes=found.size_bytes,
                    now=self.places.clock(),
                )
            if before.has_ended:
                return self._known(found, before)
            self._land(found, opened, object_id)
        finally:
            opened.stream.close()
        return False

    def _known(self, found: ArchiveObject, before: Imported) -> bool:
        if before.damage:
            self.troubles.append(_damaged(found, before.damage))
        return not before.damage

    def _land(self, found: ArchiveObject, opened: Opened, object_id: str) -> None:
        lines = opened.lines()
        number = 0
        with self.places.state.read() as connection:
            parts = archives.parts_of(connection, object_id)
        for part in parts:
            if not self._stands(part):
                break
            skipped = sum(1 for _ in islice(lines, part.lines))
            if skipped < part.lines:  # the hash says that it is the same file, so this cannot be
                raise RetryLater(_changed(found))
            number = part.part + 1
        for chunk in chunks(lines, self.segment_bytes):
            self._seal(object_id, number, chunk)
            number += 1
            self._tell(found.place, opened.bytes_read)
        if not opened.damage and not self.archive.is_unchanged(found, opened):
            raise RetryLater(_changed(found))
        with self.places.state.write() as connection:
            archives.finish(connection, object_id, damage=opened.damage, now=self.places.clock())
        self.places.at("import.finished")
        if opened.damage:
            self.troubles.append(_damaged(found, opened.damage))

    def _stands(self, part: Part) -> bool:
        """Whether a part that was written down has landed; where it has and nobody said so, now somebody does."""
        if part.has_landed:
            return True
        with self.places.state.read() as connection:
            taken = archives.was_taken(connection, part)
        if not taken and not self.places.landing.settle(self.source, part.segment_id):
            return False
        self._confirm(part)
        return True

    def _seal(self, object_id: str, number: int, lines: list[bytes]) -> None:
        self.sealed_at = max(self.places.clock(), self.sealed_at + MILLISECOND)
        suffix = f"{object_id}{number:06d}"
        part = Part(
            object_id=object_id,
            part=number,
            segment_id=_id((self.sealed_at - EPOCH) // MILLISECOND, suffix),
            source=self.source,
            lines=len(lines),
            provenance=self.provenance,
        )
        with self.places.state.write() as connection:
            archives.plan_part(connection, part)
        self.places.at("import.recorded")
        try:
            self.places.landing.seal(self.source, lines, sealed_at=self.sealed_at, suffix=suffix)
        except OSError as error:
            raise MendTheEnvironment(
                f"The disk takes no more ({error.strerror}), at {self.places.landing.root}. "
                "Mend that and import again: what has landed is not landed twice."
            ) from error
        self.places.at("import.sealed")
        self._confirm(part)
        self.places.at("import.confirmed")
        self.lines += len(lines)
        self.segments += 1

    def _confirm(self, part: Part) -> None:
        with self.places.state.write() as connection:
            archives.confirm_part(connection, part, now=self.places.clock())

    def _tell(self, place: str, bytes_read: int) -> None:
        done = self.bytes_before + bytes_read
        self.progress(ImportProgress(place=place, bytes_read=done, bytes_listed=self.bytes_listed, lines=self.lines))


def _id(milliseconds: int, suffix: str) -> str:
    return f"{milliseconds:013d}-{suffix}"


def _damaged(found: ArchiveObject, damage: str) -> Trouble:
    return Trouble(
        place=found.place,
        sentence=f"A file of the archive {damage}, at {found.place}. What could be read of it has landed, its last "
        "line as far as it came; bring a whole copy and import that: what both hold is found to be duplicate.",
    )


def _changed(found: ArchiveObject) -> str:
    return (
        f"A file changed while it was read, at {found.place}. Import again when nobody writes to it: "
        "it is another file then, and what both hold is found to be duplicate."
    )
