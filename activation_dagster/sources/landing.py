"""The place where events land: append-only segments that are either sealed and durable, or not there at all."""

from __future__ import annotations

import fcntl
import filecmp
import gzip
import os
import tempfile
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from activation_dagster.domain.landing import Segment, segment_from_path, segment_path
from activation_dagster.errors import LeaseHeld, MendTheEnvironment, WrongUse

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OPEN_FOLDER = ".open"
LOCK = "placing.lock"
# Below a source: year, month, day, hour. A folder that is no number of that width is foreign and is not entered.
FOLDER_WIDTHS = (4, 2, 2, 2)


class SealPoint(StrEnum):
    """Where sealing may die. Before `PLACED` there is no segment; from `PLACED` on there is a whole one."""

    OPENED = "opened"
    WRITTEN = "written"
    PLACED = "placed"
    SEALED = "sealed"


def _pass_by(point: SealPoint) -> None:
    """What happens at a seal point outside tests: nothing."""


class Landing:
    """All sealed segments of one environment, below `root` (`<home>/landing/<environment>`).

    `at` is called at each `SealPoint`; tests die there.
    """

    def __init__(self, root: Path, *, at: Callable[[SealPoint], None] = _pass_by) -> None:
        self.root = root
        self._at = at
        # The newest hour folder of each source whose whole chain of parents this process has fsynced.
        self._durable: dict[str, Path] = {}

    def seal(
        self, source: str, events: Iterable[bytes], *, sealed_at: datetime, suffix: str, compressed: bool = False
    ) -> Segment:
        """Make `events` (one line each, without its newline) one durable segment in the hour of `sealed_at`.

        When it returns, file and folders are on disk. Sealing the same name with the same events again changes
        nothing. Raises WrongUse where the name is taken by other events, `sealed_at` has no zone, `source` or
        `suffix` is no name, an event holds a newline, or there is no event at all.
        """
        segment = _named(source=source, sealed_at=sealed_at, suffix=suffix, compressed=compressed)
        opened = self.root / OPEN_FOLDER
        opened.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f"{segment.segment_id}-", dir=opened)
        written = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                self._at(SealPoint.OPENED)
                _write(file.write, events, compressed=compressed)
                file.flush()
                os.fchmod(file.fileno(), 0o644)  # mkstemp's 0600 would hide the segment from other services
                os.fsync(file.fileno())
            self._at(SealPoint.WRITTEN)
            return self._place(segment, written)
        finally:
            written.unlink(missing_ok=True)

    def place(self, source: str, written: Path, *, sealed_at: datetime, suffix: str) -> Segment:
        """Make a file of whole lines, which is on disk already, the sealed segment of the hour of `sealed_at`.

        The file must lie under `root`; afterwards its old name is gone. Raises WrongUse as `seal` does.
        """
        segment = _named(source=source, sealed_at=sealed_at, suffix=suffix, compressed=False)
        return self._place(segment, written)

    def _place(self, segment: Segment, written: Path) -> Segment:
        final = self.root / segment.path
        self._make_durable(segment.source, final.parent)
        with self._alone():
            self._refuse_the_same_id_elsewhere(segment)
            if not final.exists():
                written.rename(final)
            elif not _same(written, final):
                raise WrongUse(
                    f"A segment of this name holds other events, at {final}. Seal with another suffix or instant."
                )
        self._at(SealPoint.PLACED)
        fsync_folder(final.parent)
        self._at(SealPoint.SEALED)
        return replace(segment, size_bytes=final.stat().st_size)

    def pass_by(self, point: SealPoint) -> None:
        """Say that a seal point was reached."""
        self._at(point)

    def make_durable(self, folder: Path) -> None:
        """Create a folder under `root`, so that a power cut cannot take its name away."""
        self._make_durable(folder.as_posix(), folder)

    def segments(self, *, since: datetime | None = None) -> list[Segment]:
        """Sealed segments whose hour is at or after `since`, in arrival order.

        No folder of an earlier hour, day, month or year is opened, so the cost does not grow with the history.
        Open, temporary and foreign files are passed over. Raises WrongUse where `since` has no zone.
        """
        earliest = None if since is None else _utc(since, "since")
        found = (
            segment
            for source in _entries(self.root)
            if source.is_dir() and source.name != OPEN_FOLDER
            for folder in _hours(Path(source.path), earliest=earliest, above=())
            for segment in self._segments_in(folder)
        )
        return sorted(found)

    def settle(self, source: str, segment_id: str) -> bool:
        """Whether a segment of this name stands, as a plain file; then it is on disk, whoever died while sealing it."""
        sealed_at = EPOCH + timedelta(milliseconds=int(segment_id.partition("-")[0]))
        path = self.root / segment_path(source=source, sealed_at=sealed_at, segment_id=segment_id, compressed=False)
        if not path.exists():
            return False
        self._make_durable(source, path.parent)
        fsync_folder(path.parent)
        return True

    @contextmanager
    def held(self, work: str) -> Generator[None]:
        """Keep others from the same work on this landing; whoever dies, or is killed, lets go.

        A lock, not a lease: a process that was paused for an hour still holds it. Raises LeaseHeld while it is held.
        """
        opened = self.root / OPEN_FOLDER
        opened.mkdir(parents=True, exist_ok=True)
        with (opened / f"{work}.lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LeaseHeld(
                    f"Another process does the work '{work}', in {self.root}. Try again when it has ended."
                ) from None
            yield

    def note(self, work: str, at: datetime) -> None:
        """Write down that somebody looks after a work now; only the newest time is kept, and not beyond a power cut."""
        opened = self.root / OPEN_FOLDER
        opened.mkdir(parents=True, exist_ok=True)
        path = opened / f"{work}.seen"
        path.touch()
        os.utime(path, (at.timestamp(), at.timestamp()))

    def noted(self, work: str) -> datetime | None:
        """When somebody last looked after a work (UTC), or None."""
        try:
            return datetime.fromtimestamp((self.root / OPEN_FOLDER / f"{work}.seen").stat().st_mtime, UTC)
        except FileNotFoundError:
            return None

    def path_of(self, segment: Segment) -> Path:
        """The file of a segment, as stored."""
        return self.root / segment.path

    def read(self, segment: Segment) -> bytes:
        """The lines of a segment, decompressed. Raises MendTheEnvironment where the file is gone or damaged."""
        path = self.path_of(segment)
        try:
            stored = path.read_bytes()
            return gzip.decompress(stored) if path.suffix == ".gz" else stored
        except FileNotFoundError as error:
            raise MendTheEnvironment(
                f"A sealed segment is gone, at {path}. Bring it back from the landing folder's copy."
            ) from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise MendTheEnvironment(
                f"A sealed segment cannot be decompressed, at {path}. Bring it back from the landing folder's copy."
            ) from error

    def _segments_in(self, folder: Path) -> Iterator[Segment]:
        for entry in _entries(folder):
            if entry.is_file():
                path = Path(entry.path).relative_to(self.root).as_posix()
                segment = segment_from_path(path, entry.stat().st_size)
                if segment is not None:
                    yield segment

    def _refuse_the_same_id_elsewhere(self, segment: Segment) -> None:
        """An event's id is its segment's id and line: two files of one id would give two events one id."""
        for source in _entries(self.root):
            for compressed in (False, True):
                path = segment_path(
                    source=source.name,
                    sealed_at=segment.sealed_at,
                    segment_id=segment.segment_id,
                    compressed=compressed,
                )
                if path != segment.path and (self.root / path).exists():
                    raise WrongUse(
                        f"The segment id {segment.segment_id} is taken, by {path} under {self.root}. "
                        "Seal with another suffix: ids are shared by all sources and by .ndjson and .ndjson.gz."
                    )

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Between looking for a name and taking it nobody else may take it; the lock goes when its process dies."""
        with (self.root / OPEN_FOLDER / LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make_durable(self, source: str, folder: Path) -> None:
        """Create an hour folder and its parents, so that a power cut cannot take a name out of any of them.

        A folder that already exists may have been made a moment ago by another process that died before it fsynced:
        hence this process fsyncs the whole chain once for each source and hour, not only what was missing.
        """
        if self._durable.get(source) == folder and folder.is_dir():
            return
        folder.mkdir(parents=True, exist_ok=True)
        for parent in folder.parents:
            if parent.is_relative_to(self.root.parent):
                fsync_folder(parent)
            else:
                with suppress(OSError):  # a folder that we may not open, or of another kind, is not one that we made
                    fsync_folder(parent)
        self._durable[source] = folder


def _utc(instant: datetime, what: str) -> datetime:
    if instant.tzinfo is None:
        raise WrongUse(f"An instant without a zone was given, as {what}. Give it in UTC: arrival hours are UTC.")
    return instant.astimezone(UTC)


def _named(*, source: str, sealed_at: datetime, suffix: str, compressed: bool) -> Segment:
    """The segment that these words name (its size not known yet)."""
    instant = _utc(sealed_at, "sealed_at")
    # Whole numbers: a float of seconds would round some milliseconds down.
    segment_id = f"{(instant - EPOCH) // timedelta(milliseconds=1):013d}-{suffix}"
    path = segment_path(source=source, sealed_at=instant, segment_id=segment_id, compressed=compressed)
    segment = segment_from_path(path, 0)
    if segment is None:
        raise WrongUse(
            f"{path!r} does not name a segment. Give a source of [a-z0-9_-], a suffix of 1 to 40 of [a-z0-9], "
            "and an instant between 1970 and 2286."
        )
    return segment


def _write(write: Callable[[bytes], object], events: Iterable[bytes], *, compressed: bool) -> None:
    count = 0
    # Nothing of the moment goes into the file (mtime=0): the same events give the same bytes.
    deflate = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS | 16) if compressed else None
    for event in events:
        if b"\n" in event:
            raise WrongUse("An event with a newline in it was to be sealed. Split it first: a line is one event.")
        line = event + b"\n"
        write(line if deflate is None else deflate.compress(line))
        count += 1
    if deflate is not None:
        write(deflate.flush())
    if count == 0:
        raise WrongUse("A segment without any event was to be sealed. Seal only what has arrived.")


def _same(written: Path, final: Path) -> bool:
    if filecmp.cmp(written, final, shallow=False):
        return True
    # Another version of zlib may pack the same lines differently.
    return final.suffix == ".gz" and gzip.decompress(written.read_bytes()) == gzip.decompress(final.read_bytes())


def fsync_folder(folder: Path) -> None:
    """Put the names in a folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder; nothing where it is gone (retention may remove it while we look)."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _hours(folder: Path, *, earliest: datetime | None, above: tuple[int, ...]) -> Iterator[Path]:
    """The hour folders at or after `earliest`, going only into years, months and days that can hold one."""
    if len(above) == len(FOLDER_WIDTHS):
        yield folder
        return
    width = FOLDER_WIDTHS[len(above)]
    for entry in _entries(folder):
        if not (entry.name.isascii() and entry.name.isdigit() and len(entry.name) == width and entry.is_dir()):
            continue
        numbers = (*above, int(entry.name))
        if earliest is None or _may_reach(numbers, earliest):
            yield from _hours(Path(entry.path), earliest=earliest, above=numbers)


def _may_reach(numbers: tuple[int, ...], earliest: datetime) -> bool:
    """Whether a folder holds, or is, an hour at or after `earliest`. A last hour that began before it is not."""
    bound = (earliest.year, earliest.month, earliest.day, earliest.hour)[: len(numbers)]
    whole_hour = (earliest.minute, earliest.second, earliest.microsecond) == (0, 0, 0)
    return numbers > bound or (numbers == bound and (len(numbers) < len(FOLDER_WIDTHS) or whole_hour))
