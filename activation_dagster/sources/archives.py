"""Archives of events: trees of files of newline-delimited JSON, plain or gzip, and how one is read."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from activation_dagster.errors import RetryLater

READ_BYTES = 1 << 20
"""Read, and decompressed, at a time."""

LONGEST_LINE = 16 << 20
"""A longer line is no event of anybody's; memory stays bounded."""

GZIP_MAGIC = b"\x1f\x8b"
NAMES = (".gz", ".ndjson", ".jsonl", ".json")
"""What a file of events may end in. Others, and hidden ones, are passed over and counted."""


class ReadStream(Protocol):
    """A file that is read from its beginning."""

    def read(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ArchiveObject:
    """One file: where it is (an absolute path, or `s3://bucket/key`) and its size in bytes as stored."""

    place: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The files of events in the order of their names, and how many others were passed over."""

    objects: tuple[ArchiveObject, ...]
    passed_over: int


@dataclass(slots=True, kw_only=True)
class Opened:
    """A file that is being read. `identity` names its content: another content has another identity.

    `bytes_read` counts bytes as stored. `damage` says, once `lines()` has ended, why that was not the file's end.
    """

    identity: str
    stream: ReadStream
    bytes_read: int = 0
    damage: str = ""
    _hash: Any = field(default_factory=hashlib.sha256)

    def lines(self) -> Iterator[bytes]:
        """Every line without its newline, as it is; also a last one without an end. An empty file has none.

        Where gzip breaks, what could be unpacked is given, the last line as far as it came.
        """
        rest: list[bytes] = []
        length = 0
        for piece in self._content():
            *whole, last = piece.split(b"\n")
            if whole:
                yield b"".join([*rest, whole[0]])
                yield from whole[1:]
                rest, length = [], 0
            rest.append(last)
            length += len(last)
            if length > LONGEST_LINE:
                self.damage = f"has a line of over {LONGEST_LINE:,} bytes"
                return
        if length:
            yield b"".join(rest)

    def digest(self) -> str:
        """The SHA-256 of what has been read so far, as stored."""
        return str(self._hash.hexdigest())

    def _content(self) -> Iterator[bytes]:
        """The content in pieces, decompressed where it begins like gzip, whatever its name says."""
        first = self._read()
        if not first.startswith(GZIP_MAGIC):
            while first:
                yield first
                first = self._read()
            return
        waiting = first
        while waiting:  # members follow one another
            unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
            while not unpacking.eof:
                before = unpacking.copy()
                try:
                    piece = unpacking.decompress(waiting, READ_BYTES)
                except zlib.error:
                    self.damage = "is broken gzip"
                    yield _until_broken(before, waiting)
                    return
                if piece:
                    yield piece
                waiting = unpacking.unconsumed_tail
                if not unpacking.eof and not waiting:
                    waiting = self._read()
                    if not waiting:
                        self.damage = "is gzip that ends too early"
                        return
            waiting = (unpacking.unused_data or self._read()).lstrip(b"\0")  # some tapes and tools pad with zeros
            if waiting and len(waiting) < len(GZIP_MAGIC):
                waiting += self._read()
            if waiting and not waiting.startswith(GZIP_MAGIC):
                self.damage = "is gzip with something else behind it"
                return

    def _read(self) -> bytes:
        found = self.stream.read(READ_BYTES)
        self.bytes_read += len(found)
        self._hash.update(found)
        return found


def _until_broken(unpacking: Any, waiting: bytes) -> bytes:
    """What comes out before the byte that breaks it: zlib gives nothing of a call that fails."""
    pieces: list[bytes] = []
    try:
        for place in range(len(waiting)):
            pieces.append(unpacking.decompress(waiting[place : place + 1]))  # noqa: PERF401 (kept when it raises)
    except zlib.error:
        pass
    return b"".join(pieces)


class Archive(Protocol):
    """A tree of files of events."""

    def listing(self) -> Listing:
        """What is there to read."""
        ...

    def open(self, found: ArchiveObject) -> Opened:
        """Begin to read a file. Raises RetryLater where it cannot be read now."""
        ...

    def is_unchanged(self, found: ArchiveObject, opened: Opened) -> bool:
        """Whether the file that was read to its end still has the identity that it had when it was opened."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderArchive:
    """A folder, or one file. Two files of equal bytes are one: their identity is the hash of what they hold."""

    root: Path

    def listing(self) -> Listing:
        """Every file below the folder, whose name is that of events; or the one file, whatever its name."""
        if self.root.is_file():
            return Listing(objects=(_local(self.root),), passed_over=0)
        files = [file for file in sorted(self.root.rglob("*")) if file.is_file()]
        taken = [file for file in files if is_of_events(file.relative_to(self.root).as_posix())]
        return Listing(objects=tuple(map(_local, taken)), passed_over=len(files) - len(taken))

    def open(self, found: ArchiveObject) -> Opened:
        """Hash the file, then begin to read it."""
        path = Path(found.place)
        try:
            with path.open("rb") as file:
                identity = hashlib.file_digest(file, "sha256").hexdigest()
            return Opened(identity=identity, stream=path.open("rb"))
        except OSError as error:
            raise RetryLater(
                f"A file cannot be read ({error.strerror}), at {path}. Give it back, or the right to read it, and "
                "import again: what has landed is not landed twice."
            ) from error

    def is_unchanged(self, found: ArchiveObject, opened: Opened) -> bool:  # noqa: ARG002 (a bucket asks for it again)
        """Whether the bytes that were read are those that were hashed."""
        return opened.digest() == opened.identity


def is_of_events(name: str) -> bool:
    """Whether a file of this name, relative to its archive, is read."""
    return name.endswith(NAMES) and not any(part.startswith(".") for part in name.split("/"))


def _local(path: Path) -> ArchiveObject:
    return ArchiveObject(place=str(path), size_bytes=path.stat().st_size)
