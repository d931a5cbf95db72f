"""Runs the stand-in: in the foreground for a person, or in a thread for a test or the demo."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from activation_dagster.destinations.standin.app import TRANSPORT, StandinApp, StandinSettings

HOST = "127.0.0.1"


class CuttableProtocol(H11Protocol):
    """HTTP/1.1 whose connection the application can reach, so that a fault can cut it."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Puts the transport into the scope of every request on this connection."""
        super().connection_made(transport)
        app: ASGIApp = self.app

        async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            scope[TRANSPORT] = transport
            await app(scope, receive, send)

        self.app = with_transport


class StandinServer(uvicorn.Server):
    """A server that says when it listens: an event for threads, the port file for processes."""

    def __init__(self, config: uvicorn.Config, *, port: int, port_file: Path | None) -> None:
        super().__init__(config)
        self.listening = threading.Event()
        self._port = port
        self._port_file = port_file

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts, then announces; the port file appears whole or not at all."""
        await super().startup(sockets)
        if self._port_file is not None:
            unfinished = self._port_file.with_name(f"{self._port_file.name}.{os.getpid()}")
            unfinished.write_text(f"{self._port}\n")
            unfinished.replace(self._port_file)
        self.listening.set()


@contextmanager
def _prepared(settings: StandinSettings) -> Generator[tuple[StandinServer, socket.socket, int]]:
    app = StandinApp(settings, clock=time.monotonic, clock_ms=lambda: time.time_ns() // 1_000_000)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, settings.port))
            port: int = listener.getsockname()[1]
            config = uvicorn.Config(
                app.asgi,
                http=CuttableProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,  # a request line names people
                log_level="warning",
                timeout_graceful_shutdown=1,
            )
            yield StandinServer(config, port=port, port_file=settings.port_file), listener, port
    finally:
        app.close()


def serve(settings: StandinSettings) -> None:
    """Serves until SIGINT or SIGTERM."""
    with _prepared(settings) as (server, listener, _):
        server.run(sockets=[listener])


@contextmanager
def running_standin(settings: StandinSettings) -> Generator[str]:
    """Serves in a thread of this process; gives the base address, such as http://127.0.0.1:41234."""
    with _prepared(settings) as (server, listener, port):
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="standin")
        thread.start()
        try:
            if not server.listening.wait(timeout=30):
                raise TimeoutError("The stand-in did not listen within 30 s; see its warnings above.")
            yield f"http://{HOST}:{port}"
        finally:
            server.should_exit = True
            thread.join()
