"""A Tracking API on the loopback that misbehaves as it is told to, and remembers what it took."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OK = "200"
CUT_BEFORE = "cut before it was taken"
CUT_AFTER = "cut after it was taken"
SLOW = "slow"


@dataclass(kw_only=True)
class Far:
    """What to do with the next calls, and what came. A call beyond `orders` is taken."""

    orders: list[str] = field(default_factory=list)
    retry_after: str = "7"
    guilty: frozenset[str] = frozenset()
    most_events: int = 2_500
    key: str = "key"
    calls: list[str] = field(default_factory=list)
    batches: list[list[dict[str, Any]]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    sent_at: list[str] = field(default_factory=list)
    address: str = ""
    gate: threading.Event = field(default_factory=threading.Event)

    @property
    def ids(self) -> list[str]:
        """The messageIds that were taken, as often as they were."""
        return [event["messageId"] for batch in self.batches for event in batch]


def _handler(far: Far) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: ARG002 (the base class writes to stderr)
            return

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            assert self.headers["content-encoding"] == "gzip"
            text = gzip.decompress(raw)
            body = json.loads(text)
            order = far.orders.pop(0) if far.orders else OK
            far.calls.append(f"{self.path} {self.headers['authorization']} {order}")
            if order == CUT_BEFORE:
                self.close_connection = True
                return
            if order == SLOW:
                far.gate.wait(60)
                self.close_connection = True
                return
            if order == OK and len(body["batch"]) > far.most_events:
                order = "413"
            if order == OK and any(event["messageId"] in far.guilty for event in body["batch"]):
                order = "400"
            if order in (OK, CUT_AFTER):
                far.batches.append(body["batch"])
                far.sizes.append(len(text))
                far.sent_at.append(body["sentAt"])
            if order == CUT_AFTER:
                self.close_connection = True
                return
            reply = b'{"success": true}'
            self.send_response(int(order))
            if order == "429":
                self.send_header("Retry-After", far.retry_after)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

    return Handler


@contextmanager
def far_collector() -> Generator[Far]:
    """A server on a free port, until the block ends."""
    far = Far()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(far)) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        far.address = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield far
        finally:
            far.gate.set()
            server.shutdown()
            thread.join()
