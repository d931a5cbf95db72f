"""Running the application: uvicorn, with an end to heads that never come, and logs that programs can read."""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import socket
import sys
from datetime import UTC, datetime
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_SECONDS = 20.0
"""How long a connection may be open without a whole request's head: a slow sender holds no more than a socket."""
MAX_HEAD_BYTES = 64 * 1024
"""A head that is longer is nobody's; the parser itself would keep reading."""
GRACE_SECONDS = 20
BACKLOG = 4096
OPEN_FILES = 65_536

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class PatientProtocol(HttpToolsProtocol):
    """HTTP/1.1 that closes a connection whose head does not come in time; uvicorn's own waits for ever."""

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """A head that has begun has the same time to end."""
        if self._head_timer is None and self._is_between_requests():
            self._await_head()
        super().data_received(data)
        if self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._give_up()

    def on_headers_complete(self) -> None:
        """The head is here: from now on the body's own time counts."""
        self._forget_head()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._forget_head()
        super().connection_lost(exc)

    def _is_between_requests(self) -> bool:
        # Typed as always there, but no cycle is before the first request.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
            self._head_bytes = 0

    def _give_up(self) -> None:
        self._forget_head()
        if not self.transport.is_closing():
            self.transport.close()


def bound(host: str, port: int) -> socket.socket:
    """A socket of an address that other processes may listen on too: the kernel spreads connections over them."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    found = socket.socket(family, kind, protocol)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.bind(address)
    except OSError:
        found.close()
        raise
    return found


class SharedPort(socket.socket):
    """What uvicorn hands to its workers in place of a socket: each makes one of its own from it.

    With one socket for all, the worker that wakes first takes every connection that waits, and the others idle.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self._address = (host, port)

    def __reduce__(self) -> tuple[Any, ...]:
        """Unpickled in a worker, it is a socket bound there."""
        return (bound, self._address)


class JsonLines(logging.Formatter):
    """One JSON object a line: when, how bad, what, and what was said beside it. Nobody passes personal data to it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        said: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        said |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info and record.exc_info[0] is not None:
            # The trace without its last line: an exception's text may hold what a person sent.
            said["raised"] = record.exc_info[0].__name__
            trace = record.exc_info[2]
            places: list[str] = []
            while trace is not None:
                places.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
                trace = trace.tb_next
            said["trace"] = places[-8:]
        return json.dumps(said, default=str)


def log_as_json(level: int = logging.INFO) -> None:
    """Send our own log and uvicorn's to standard error as JSON lines; requests are counted, not logged."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("activation", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler] if name != "uvicorn.error" else []
        logger.propagate = name == "uvicorn.error"
        logger.setLevel(level)


def allow_open_files() -> None:
    """As many open connections as the system lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def configuration(app: Any, *, host: str, port: int, workers: int, factory: bool) -> uvicorn.Config:
    """How uvicorn runs the collector."""
    return uvicorn.Config(
        app,
        factory=factory,
        host=host,
        port=port,
        workers=workers,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
