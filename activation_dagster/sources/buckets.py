"""Archives in S3: the objects under a prefix of a bucket, Amazon's or another's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from activation_dagster.errors import MendTheEnvironment, RetryLater, WrongUse
from activation_dagster.sources.archives import (
    READ_BYTES,
    Archive,
    ArchiveObject,
    FolderArchive,
    Listing,
    Opened,
    is_of_events,
)

S3 = "s3://"


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketArchive:
    """What stands below a prefix of an S3 bucket. An object's identity is its key, its size and its ETag."""

    bucket: str
    prefix: str
    files: Any  # pyarrow.fs.S3FileSystem

    def listing(self) -> Listing:
        """Every object whose key begins with the prefix and is that of events; or the one object of that key."""
        arrow = _arrow()
        path = f"{self.bucket}/{self.prefix}".rstrip("/")
        try:
            one, bucket = self.files.get_file_info([path, self.bucket])
            if bucket.type == arrow.FileType.NotFound:
                raise WrongUse(
                    f"There is no such bucket, at {S3}{self.bucket}. Name one that exists, or its --endpoint."
                )
            if one.type == arrow.FileType.File:
                return Listing(objects=(_remote(one),), passed_over=0)
            infos = self.files.get_file_info(arrow.FileSelector(path, recursive=True, allow_not_found=True))
        except OSError as error:
            raise _refused(f"{S3}{path}", error) from None
        files = sorted((info for info in infos if info.type == arrow.FileType.File), key=lambda info: str(info.path))
        taken = [info for info in files if is_of_events(str(info.path).removeprefix(f"{path}/"))]
        return Listing(objects=tuple(map(_remote, taken)), passed_over=len(files) - len(taken))

    def open(self, found: ArchiveObject) -> Opened:
        """Ask for the object's ETag and begin to read it."""
        try:
            file = self.files.open_input_stream(found.place.removeprefix(S3), compression=None, buffer_size=READ_BYTES)
            return Opened(identity=_tag(found, file), stream=_Remote(found.place, file))
        except OSError as error:
            raise _unreachable(found.place, error) from None

    def is_unchanged(self, found: ArchiveObject, opened: Opened) -> bool:
        """Whether the object still has the ETag that it had, and all its bytes were read."""
        try:
            with self.files.open_input_file(found.place.removeprefix(S3)) as file:
                return _tag(found, file) == opened.identity and opened.bytes_read == found.size_bytes
        except OSError as error:
            raise _unreachable(found.place, error) from None


@dataclass(frozen=True, slots=True)
class _Remote:
    """A stream whose failures are worth another try."""

    place: str
    file: Any

    def read(self, size: int, /) -> bytes:
        try:
            return bytes(self.file.read(size))
        except OSError as error:
            raise _unreachable(self.place, error) from None

    def close(self) -> None:
        self.file.close()


def open_archive(place: str, *, endpoint: str = "", has_region: bool = False) -> Archive:
    """The archive at a path or at `s3://bucket/prefix`.

    Credentials come as any AWS tool finds them (environment, profile, role). `endpoint` is the address of an S3 that is
    not Amazon's; without it and without a region in the environment, the bucket is asked for its region. Raises
    WrongUse where there is nothing of that name.
    """
    if not place.startswith(S3):
        root = Path(place).expanduser().absolute()
        if not root.exists():
            raise WrongUse(f"There is no file and no folder, at {root}. Name one that exists, or s3://bucket/prefix.")
        return FolderArchive(root=root)
    bucket, _, prefix = place.removeprefix(S3).partition("/")
    if not bucket:
        raise WrongUse(f"No bucket is named, in {place!r}. Write s3://bucket/prefix.")
    files = _arrow()
    options: dict[str, Any] = {"connect_timeout": 10, "request_timeout": 60}
    if endpoint:
        options["endpoint_override"] = endpoint
    elif not has_region:
        try:
            options["region"] = files.resolve_s3_region(bucket)
        except OSError as error:
            raise _refused(f"{S3}{bucket}", error) from None
    return BucketArchive(bucket=bucket, prefix=prefix, files=files.S3FileSystem(**options))


def _arrow() -> Any:
    """PyArrow's file systems, which have no types; imported when an archive is opened, because it is heavy."""
    from pyarrow import fs

    return cast("Any", fs)


def _remote(info: Any) -> ArchiveObject:
    return ArchiveObject(place=f"{S3}{info.path}", size_bytes=int(info.size))


def _tag(found: ArchiveObject, file: Any) -> str:
    tag = bytes(cast("dict[str, bytes]", file.metadata()).get("ETag", b"")).decode()
    return hashlib.sha256(f"{found.place}\x1f{found.size_bytes}\x1f{tag}".encode()).hexdigest()


def _refused(place: str, error: OSError) -> MendTheEnvironment:
    return MendTheEnvironment(
        f"The object store refuses or does not answer ({_word(error)}), at {place}. "
        "Check the name, the credentials and what they may list, and --endpoint."
    )


def _unreachable(place: str, error: OSError) -> RetryLater:
    return RetryLater(
        f"An object cannot be read ({_word(error)}), at {place}. Import again: what has landed is not landed twice."
    )


def _word(error: OSError) -> str:
    """The AWS SDK's own name of what went wrong; its sentence may quote requests."""
    return str(error).partition("AWS Error ")[2].split(" ", 1)[0].rstrip(":") or type(error).__name__
