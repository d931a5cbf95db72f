"""The segment that is still written to: lines are on disk when `append` returns, and a crash cuts at a whole line.

An open file lies under `<landing>/.open/<source>/` and belongs to whoever holds its lock. The lock goes when its
process dies; then anybody may cut the file at its last whole line and seal it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from activation_dagster.domain.landing import Segment
from activation_dagster.errors import LandingUnwritable
from activation_dagster.sources.landing import OPEN_FOLDER, Landing, SealPoint, fsync_folder

ENDING = ".ndjson"
_STEP = 1 << 16
_WORDS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EIO: "the disk fails",
    errno.EFBIG: "the file may not grow",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open",
    errno.EACCES: "the folder may not be written",
}


def unwritable(error: OSError, root: Path) -> LandingUnwritable:
    """What an error of the operating system means for whoever wanted to land something."""
    why = _WORDS.get(error.errno or 0, f"error {errno.errorcode.get(error.errno or 0, error.errno)}")
    return LandingUnwritable(f"Landing takes no event ({why}), under {root}. Make room or mend the disk; send again.")


class OpenSegment:
    """One open file of one source. Not for two threads at once.

    `size` is what is on disk and may be acknowledged; `is_spent` says that nothing more may be written to it.
    """

    def __init__(self, landing: Landing, source: str, path: Path, descriptor: int, size: int) -> None:
        self.source = source
        self.path = path
        self.size = size
        self.is_spent = False
        self._landing = landing
        self._descriptor = descriptor

    @classmethod
    def create(cls, landing: Landing, source: str, suffix: str) -> OpenSegment:
        """Open a new file; `suffix` becomes its segment's. Raises LandingUnwritable, and then leaves nothing behind."""
        folder = landing.root / OPEN_FOLDER / source
        path = folder / f"{suffix}{ENDING}"
        try:
            landing.make_durable(folder)
            while True:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
                try:
                    # Between the two somebody may have taken the file for a dead worker's, and have removed it.
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                    if _is_at(descriptor, path):
                        landing.pass_by(SealPoint.OPENED)
                        fsync_folder(folder)
                        return cls(landing, source, path, descriptor, 0)
                except OSError:
                    _remove(path)
                    os.close(descriptor)
                    raise
                os.close(descriptor)
        except OSError as error:
            raise unwritable(error, landing.root) from error

    def append(self, lines: bytes) -> None:
        """Write whole lines, each with its end; they are on disk when this returns.

        Raises LandingUnwritable; then none of them counts, what was acknowledged before stands, and the next call (or,
        where `is_spent`, the next segment) may go well again.
        """
        try:
            written = memoryview(lines)
            while written:
                written = written[os.write(self._descriptor, written) :]
        except OSError as error:
            self._take_back()
            raise unwritable(error, self._landing.root) from error
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            # The kernel may have dropped the pages that it could not write: this file is trusted up to `size` only.
            self._take_back()
            self.is_spent = True
            raise unwritable(error, self._landing.root) from error
        self.size += len(lines)

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._descriptor, self.size)
        except OSError:
            self.is_spent = True  # sealing cuts it, or whoever comes after us does

    def seal(self, sealed_at: datetime) -> Segment | None:
        """Make it a sealed segment, or remove it where it is empty; it is closed then.

        Raises LandingUnwritable where the disk does not let it; call again later.
        """
        self.is_spent = True
        try:
            if os.fstat(self._descriptor).st_size != self.size:
                os.ftruncate(self._descriptor, self.size)
                os.fsync(self._descriptor)
            if self.size == 0:
                _remove(self.path)
                segment = None
            else:
                suffix = self.path.name.removesuffix(ENDING)
                segment = self._landing.place(self.source, self.path, sealed_at=sealed_at, suffix=suffix)
        except OSError as error:
            raise unwritable(error, self._landing.root) from error
        os.close(self._descriptor)
        return segment

    def discard(self) -> None:
        """Remove it with all that is in it."""
        self.is_spent = True
        _remove(self.path)
        os.close(self._descriptor)


def recover(landing: Landing, clock: Callable[[], datetime]) -> list[Segment]:
    """Seal what dead workers left open, cut at the last whole line; files of living workers are left alone.

    Everything that was acknowledged is in whole lines. Raises LandingUnwritable.
    """
    sealed: list[Segment] = []
    for path in sorted((landing.root / OPEN_FOLDER).glob(f"*/*{ENDING}")):
        with suppress(FileNotFoundError):  # its owner sealed it meanwhile
            try:
                segment = _recovered(landing, path, clock)
            except FileNotFoundError:
                raise
            except OSError as error:
                raise unwritable(error, landing.root) from error
            if segment is not None:
                sealed.append(segment)
    return sealed


def _recovered(landing: Landing, path: Path, clock: Callable[[], datetime]) -> Segment | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    if not _is_at(descriptor, path):
        os.close(descriptor)
        return None
    try:
        size = whole_lines(descriptor)
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
        left = OpenSegment(landing, path.parent.name, path, descriptor, size)
        return left.seal(clock())
    except (OSError, LandingUnwritable):
        os.close(descriptor)
        raise


def whole_lines(descriptor: int) -> int:
    """How many bytes of an open file are whole lines: up to and with the last line's end."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - _STEP)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one of this name."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
