"""Taking a request's body off the wire: unpacked, and bounded in bytes, in memory and in time, whatever is sent."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from typing import Protocol

from starlette.types import Message, Receive, Scope

_STEP = 64 * 1024


class _Inflating(Protocol):
    """What `zlib.decompressobj` returns; its own type has no public name."""

    @property
    def eof(self) -> bool: ...

    @property
    def unconsumed_tail(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Refused(Exception):
    """The request is answered with an error: `status`, `code`, a sentence; `retry_after` in seconds."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


class Gone(Exception):
    """The client went away before its body was whole: nothing is landed and nobody is answered."""


class Intake:
    """Bodies that are being read, of all requests of a worker together.

    `max_bytes` bounds one body, unpacked; `memory_bytes` all of them at once; `seconds` how long one may take.
    """

    def __init__(self, *, max_bytes: int, memory_bytes: int, seconds: float) -> None:
        self.max_bytes = max_bytes
        self.held = 0
        self._memory_bytes = memory_bytes
        self._seconds = seconds

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """The unpacked body. Raises Refused or Gone. What it holds is given back by `release`."""
        encoding = header(scope, b"content-encoding").strip().lower()
        if encoding not in (b"", b"identity", b"gzip", b"x-gzip"):
            raise Refused(400, "unsupported_encoding", "The body's Content-Encoding is unknown. Send gzip, or none.")
        length = header(scope, b"content-length")
        if length.isdigit() and int(length) > self.max_bytes:
            await self._drain(receive)
            raise self._too_large()
        is_whole = False

        async def listen() -> Message:
            nonlocal is_whole
            message = await receive()
            is_whole = not message.get("more_body", False)
            return message

        try:
            async with asyncio.timeout(self._seconds):
                return await self._whole(listen, unpacked=bool(encoding) and encoding != b"identity")
        except TimeoutError:
            raise Refused(408, "timeout", "The body did not come in time. Send it again.", retry_after=1) from None
        except Refused:
            if not is_whole:  # the rest would be taken for another request's head, and the connection closed over it
                await self._drain(receive)
            raise

    def release(self, size: int) -> None:
        """Give back what a body held."""
        self.held -= size

    def _too_large(self) -> Refused:
        return Refused(
            400, "payload_too_large", f"The body is larger than {self.max_bytes} bytes. Send smaller batches."
        )

    async def _whole(self, receive: Receive, *, unpacked: bool) -> bytes:
        inflate = zlib.decompressobj(zlib.MAX_WBITS | 16) if unpacked else None
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                chunk = _chunk(message)
                for part in (chunk,) if inflate is None else _inflated(inflate, chunk):
                    size += len(part)
                    self.held += len(part)
                    parts.append(part)
                    if size > self.max_bytes:
                        raise self._too_large()
                    if self.held > self._memory_bytes:
                        raise Refused(429, "too_many_requests", "Too much is being sent at once.", retry_after=1)
                if not message.get("more_body", False):
                    break
            if inflate is not None and not inflate.eof:
                raise Refused(400, "invalid_gzip", "The gzip body breaks off. Send it whole.")
            return b"".join(parts)
        except BaseException:
            self.held -= size
            raise

    async def _drain(self, receive: Receive) -> None:
        """Read away what is announced, up to some bodies' worth: a client that still writes does not hear us."""
        drained = 0
        try:
            async with asyncio.timeout(min(self._seconds, 5.0)):
                while drained < 4 * self.max_bytes:
                    message = await receive()
                    drained += len(_chunk(message))
                    if not message.get("more_body", False):
                        return
        except TimeoutError:
            return


def _chunk(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise Gone
    found: bytes = message.get("body", b"")
    return found


def _inflated(inflate: _Inflating, chunk: bytes) -> Iterator[bytes]:
    try:
        while chunk and not inflate.eof:
            yield inflate.decompress(chunk, _STEP)
            chunk = inflate.unconsumed_tail
    except zlib.error:
        raise Refused(400, "invalid_gzip", "The body says that it is gzip, and is not. Send it again.") from None


def header(scope: Scope, name: bytes) -> bytes:
    """The first header of a name (lower case), or nothing."""
    for key, value in scope["headers"]:
        if key == name:
            return value
    return b""
