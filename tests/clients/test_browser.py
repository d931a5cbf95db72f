"""analytics.js, unmodified and in a headless browser on another origin: each call arrives exactly once."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.clients.test_clients import CALLS, CLIENTS, PROGRAMS, all_sealed, ingested
from tests.sources.collector.running import KEY, in_a_process, settings_under

pytestmark = pytest.mark.clients
UMD = CLIENTS / "node_modules" / "@segment" / "analytics-next" / "dist" / "umd"
CHROMIUM = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-component-update"]


class Shop(ThreadingHTTPServer):
    """Serves the page and the library from an origin of its own, and hears what the page has sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.said: queue.Queue[list[str]] = queue.Queue()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """The page, or one of the library's files."""
        name = self.path.partition("?")[0].rsplit("/", 1)[-1]
        file = UMD / name if self.path.startswith("/umd/") else PROGRAMS / "segment_browser.html"
        content = file.read_bytes() if file.is_file() else b""
        self.send_response(200 if content else 404)
        self.send_header("content-type", "text/javascript" if name.endswith(".js") else "text/html")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        """The page has sent everything."""
        assert isinstance(self.server, Shop)
        self.server.said.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def shop() -> Generator[Shop]:
    with Shop() as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        try:
            yield found
        finally:
            found.shutdown()


@pytest.mark.parametrize("batching", ["0", "1"], ids=["one by one", "batching"])
def test_each_call_of_analytics_js_arrives_exactly_once(tmp_path: Path, batching: str) -> None:
    assert shutil.which("chromium"), "Chromium is missing: apt-get install chromium."
    with in_a_process(settings_under(tmp_path)) as running, shop() as page:
        address = f"http://127.0.0.1:{page.server_port}/?url=127.0.0.1:{running.port}&key={KEY}&batching={batching}"
        browser = subprocess.Popen(
            [*CHROMIUM, f"--user-data-dir={tmp_path / 'browser'}", "--remote-debugging-port=0", address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            messages = page.said.get(timeout=120)
            all_sealed(running, set(messages))
        finally:
            browser.terminate()
            browser.wait(timeout=60)
        rows = ingested(running)
        assert len(messages) == len(CALLS)
        assert Counter(row["message_id"] for row in rows) == Counter(messages)
        assert {row["type"] for row in rows} == CALLS
        assert {row["ads"] for row in rows} == {"false"}
        assert {row["library"] for row in rows} == {"analytics.js"}
