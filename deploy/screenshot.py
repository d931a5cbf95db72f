"""Takes pictures of Dagster's web interface on the demo's data, and fails where they would show something missing.

`make screenshot` runs it after `make demo`. It starts a web server of its own, or looks at the one that --url names;
asks its API whether every asset was materialised and every blocking check passed; opens the asset graph and one asset
in a headless Chromium; and writes the pictures to <home>/screenshots.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from websockets.sync.client import ClientConnection, connect

REPOSITORY = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens addresses of this machine, whatever proxy the environment names."""

START_SECONDS = 90.0
PAGE_SECONDS = 60.0

CHROMIUM = [
    "chromium",
    "--headless",
    "--no-sandbox",  # as root, in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
]


LOOKS = {"communityNux": '"1"', "dagster-nav-collapsed": "true"}
"""What the pages keep in the browser: no invitation, and a narrow menu."""

GROUPS = ("ingestion", "governance", "execution", "feedback")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One picture: its name, the path under the web server, the texts that show when all is drawn, and its size.

    `of` is a CSS selector of what the picture is cut to; without it the whole page is taken.
    """

    name: str
    path: str
    shows: tuple[str, ...]
    width: int
    height: int
    of: str = ""


PAGES = (
    Page(
        name="asset-graph",
        path="/asset-groups?" + urlencode({"expanded": ",".join(f"global@global:{group}" for group in GROUPS)}),
        shows=("segment_events", "ingested_events", "send_decisions", "sends", "iterable", "Asset checks"),
        width=3000,  # wide enough for the graph to be drawn with its details
        height=1150,
        of="svg foreignObject",
    ),
    Page(
        name="asset",
        path="/assets/validated_events?view=overview",
        shows=("batch_id", "contract_versions", "quarantined"),
        width=1600,
        height=1900,
    ),
    Page(
        name="checks",
        path="/assets/validated_events?view=checks",
        shows=("batch_accounting", "quarantine_rate", "Passed"),
        width=1600,
        height=1100,
    ),
)

QUESTION = """
query {
  assetNodes {
    assetKey { path }
    assetMaterializations(limit: 1) { timestamp metadataEntries { label } }
    assetChecksOrError(limit: 100) {
      ... on AssetChecks {
        checks {
          name
          blocking
          executionForLatestMaterialization { status evaluation { success severity } }
        }
      }
    }
  }
}
"""


class NotAsExpected(Exception):
    """The pictures would show something missing, or could not be taken; the sentence says what to do."""


# -- what the API says ------------------------------------------------------------------------------------------------


def ask(url: str, query: str) -> dict[str, Any]:
    """The data of a GraphQL answer. Raises NotAsExpected where the server refuses the question."""
    request = urllib.request.Request(
        f"{url}/graphql", json.dumps({"query": query}).encode(), {"content-type": "application/json"}
    )
    with DIRECTLY.open(request, timeout=PAGE_SECONDS) as answer:
        said = json.load(answer)
    if said.get("errors"):
        raise NotAsExpected(f"Dagster refused a question, at {url}/graphql: {said['errors'][0]['message']}")
    return said["data"]


def shortcomings(nodes: list[dict[str, Any]]) -> Iterator[str]:
    """A sentence for every asset or blocking check that does not stand as after a good run; warnings are none."""
    for node in nodes:
        asset = "/".join(node["assetKey"]["path"])
        if not node["assetMaterializations"]:
            yield f"The asset '{asset}' was never materialised."
            continue
        if len(node["assetMaterializations"][0]["metadataEntries"]) < 1:
            yield f"The last materialisation of '{asset}' has no metadata."
        for check in node["assetChecksOrError"].get("checks", ()):
            execution = check["executionForLatestMaterialization"]
            if not check["blocking"]:
                continue
            if execution is None or execution["evaluation"] is None:
                yield f"The check '{check['name']}' of '{asset}' was not evaluated for its last materialisation."
            elif not execution["evaluation"]["success"]:
                yield f"The check '{check['name']}' of '{asset}' failed."


def examine(url: str) -> str:
    """What stands in Dagster, in one line. Raises NotAsExpected with every shortcoming."""
    nodes = ask(url, QUESTION)["assetNodes"]
    if not nodes:
        raise NotAsExpected(f"Dagster shows no asset, at {url}. Look at its deployment page: the code did not load.")
    found = sorted(shortcomings(nodes))
    if found:
        raise NotAsExpected("\n".join([*found, "Run `make demo` first, and read the runs in Dagster if it fails."]))
    checks = [check for node in nodes for check in node["assetChecksOrError"].get("checks", ())]
    warned = [
        check["name"]
        for check in checks
        if (execution := check["executionForLatestMaterialization"]) is not None
        and execution["evaluation"] is not None
        and not execution["evaluation"]["success"]
    ]
    told = f", of which {', '.join(warned)} warned" if warned else ", all passed"
    return f"{len(nodes)} assets are materialised; {len(checks)} checks{told}."


# -- the web server ---------------------------------------------------------------------------------------------------


@contextmanager
def web_server(home: Path) -> Generator[str]:
    """A web server on the demo's history, without a daemon: nothing runs while it is looked at; its address."""
    dagster_home = home / "demo" / "dagster"
    if not (dagster_home / "dagster.yaml").is_file():
        raise NotAsExpected(f"There is no demo to look at, under {home}. Run `make demo` first.")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"DAGSTER_HOME": str(dagster_home), "ACTIVATION_HOME": str(home)}
    arguments = ["-h", HOST, "-p", str(port), "-w", str(REPOSITORY / "workspace.yaml")]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "dagster_webserver", *arguments],
            cwd=REPOSITORY,
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            url = f"http://{HOST}:{port}"
            _wait_for(url, server)
            yield url
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up_at:
        if server.poll() is not None:
            raise NotAsExpected(f"The web server ended with code {server.returncode}. Run `make ui` to see why.")
        try:
            if ask(url, "query { assetNodes { id } }")["assetNodes"]:
                return
        except (urllib.error.URLError, TimeoutError, NotAsExpected):
            pass
        time.sleep(0.5)
    raise NotAsExpected(f"The web server showed no asset within {START_SECONDS:.0f} s. Run `make ui` to see why.")


# -- the browser ------------------------------------------------------------------------------------------------------


class Browser:
    """A headless Chromium spoken to over its debugging protocol."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        keep = "".join(f"localStorage.setItem({json.dumps(name)}, {json.dumps(kept)});" for name, kept in LOOKS.items())
        self.call("Page.addScriptToEvaluateOnNewDocument", source=keep)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One call to the page."""
        return self._call(method, session=self._session, **parameters)

    def _call(self, method: str, *, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._connection.send(json.dumps(message | ({"sessionId": session} if session else {})))
        while True:
            answer = json.loads(self._connection.recv(timeout=PAGE_SECONDS))
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise NotAsExpected(f"Chromium refused {method}: {answer['error']['message']}.")
                return answer["result"]

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def text(self) -> str:
        """The text that the page shows."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def take(self, url: str, page: Page) -> bytes:
        """A picture of a page once it shows what it must, as PNG. Raises NotAsExpected where it never does."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=page.width,
            height=page.height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.call("Page.navigate", url=f"{url}{page.path}")
        give_up_at = time.monotonic() + PAGE_SECONDS
        while not all(text in self.text() for text in page.shows):
            if time.monotonic() > give_up_at:
                missing = [text for text in page.shows if text not in self.text()]
                raise NotAsExpected(f"The page {page.path} never showed {', '.join(missing)}. Open it in a browser.")
            time.sleep(0.5)
        time.sleep(3.0)  # the graph glides into its place
        clip = {"clip": self._box(page.of)} if page.of else {}
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", **clip)["data"])

    def _box(self, selector: str, *, margin: int = 40) -> dict[str, float]:
        """What holds all elements of a selector, with a margin."""
        edges = self.evaluate(
            f"(boxes => [Math.min(...boxes.map(b => b.left)), Math.min(...boxes.map(b => b.top)), "
            f"Math.max(...boxes.map(b => b.right)), Math.max(...boxes.map(b => b.bottom))])"
            f"([...document.querySelectorAll({json.dumps(selector)})].map(e => e.getBoundingClientRect()))"
        )
        left, top, right, bottom = edges
        return {
            "x": left - margin,
            "y": top - margin,
            "width": right - left + 2 * margin,
            "height": bottom - top + 2 * margin,
            "scale": 1,
        }


@contextmanager
def chromium() -> Generator[Browser]:
    """A browser with an empty profile, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [*CHROMIUM, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with connect(_debugging_address(Path(profile), process), max_size=None, proxy=None) as connection:
                yield Browser(connection)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _debugging_address(profile: Path, process: subprocess.Popen[bytes]) -> str:
    """Where Chromium listens: it writes port and path into its profile when it does."""
    file = profile / "DevToolsActivePort"
    give_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up_at and process.poll() is None:
        if file.is_file() and len(lines := file.read_text().split()) == 2:
            return f"ws://{HOST}:{lines[0]}{lines[1]}"
        time.sleep(0.1)
    raise NotAsExpected("Chromium did not start. Run it by hand: chromium --headless --no-sandbox about:blank.")


def main() -> int:
    """Examine, take every picture, and say where they are; 1 with sentences where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a web server that runs already; default: one is started on the demo's data")
    home = Path(os.environ.get("ACTIVATION_HOME") or REPOSITORY / ".activation").absolute()
    parser.add_argument("--home", type=Path, default=home, help="the installation's home (default: %(default)s)")
    chosen = parser.parse_args()
    pictures: Path = chosen.home / "screenshots"
    try:
        with web_server(chosen.home) if chosen.url is None else nullcontext(chosen.url) as url:
            print(examine(url))
            pictures.mkdir(parents=True, exist_ok=True)
            with chromium() as browser:
                for page in PAGES:
                    file = pictures / f"{page.name}.png"
                    file.write_bytes(browser.take(url, page))
                    print(file)
    except NotAsExpected as missing:
        print(missing, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
