"""Archives in a bucket, read from a real S3 server on the loopback; `make test-archives` runs these.

The server is moto's, in an environment of its own (`server.in`): it brings thirty packages that nothing else needs.
"""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner

from activation_dagster.cli import app
from activation_dagster.errors import WrongUse
from activation_dagster.sources.landing import Landing

pytestmark = pytest.mark.archives

SERVER = "ACTIVATION_TEST_S3_SERVER"
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def server() -> Generator[str]:
    """The address of an S3 server that this module started."""
    assert SERVER in os.environ, f"{SERVER} names no program. Run these tests with `make test-archives`."
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [os.environ[SERVER], "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        address = f"http://127.0.0.1:{port}"
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with urlopen(f"{address}/moto-api/"):
                    break
            except URLError:
                assert process.poll() is None, "The S3 server ended."
                assert time.monotonic() < give_up_at, "The S3 server does not answer."
                time.sleep(0.05)
        yield address
        process.terminate()


@pytest.fixture
def home(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of its own, whose S3 is the server."""
    for name in [name for name in os.environ if name.startswith(("ACTIVATION_", "AWS_")) and name != SERVER]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ACTIVATION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path / "home"


@pytest.fixture
def bucket(server: str, home: Path, tmp_path: Path) -> Any:
    """The file system of the server, with an empty bucket `logs-<test>` in it, and the bucket's name."""
    from pyarrow.fs import S3FileSystem

    files: Any = S3FileSystem(endpoint_override=server, allow_bucket_creation=True)
    name = f"logs-{tmp_path.name.replace('_', '-').lower()[:40].strip('-')}"
    files.create_dir(name)
    return files, name


def put(bucket: Any, key: str, lines: list[bytes]) -> None:
    """Write an object as Segment does: gzip, and said to be text."""
    files, name = bucket
    metadata = {"Content-Type": "text/plain", "Content-Encoding": "gzip"}
    with files.open_output_stream(f"{name}/{key}", compression=None, metadata=metadata) as stream:
        stream.write(gzip.compress(b"".join(line + b"\n" for line in lines)))


def imported(place: str, *more: str, code: int = 0) -> dict[str, Any]:
    """What `activation events import … --json` printed."""
    ended = CliRunner().invoke(app, ["events", "import", place, "--source", "web", "--json", *more])
    assert ended.exit_code == code, ended.exception
    return json.loads(ended.stdout)


def landed(home: Path) -> list[bytes]:
    landing = Landing(home / "landing" / "demo")
    return [line for segment in landing.segments() for line in landing.read(segment).splitlines()]


def test_segments_layout_lands_in_order_and_once(home: Path, bucket: Any) -> None:
    days = [f"segment-logs/kd8dj2/{1_700_000_000_000 + day * 86_400_000}" for day in range(3)]
    everything = [[json.dumps({"day": day, "line": line}).encode() for line in range(50)] for day in range(3)]
    for day, lines in zip(days, everything, strict=True):
        put(bucket, f"{day}/1a2b.gz", lines)
    put(bucket, "elsewhere/1.gz", [b"not asked for"])
    place = f"s3://{bucket[1]}/segment-logs/kd8dj2"
    report = imported(place)
    assert landed(home) == [line for lines in everything for line in lines]
    assert (report["files"], report["imported"], report["lines"]) == (3, 3, 150)
    again = imported(f"{place}/")
    assert (again["known"], again["lines"]) == (3, 0)
    put(bucket, f"{days[2]}/3c4d.gz", [b"one more"])
    assert imported(place)["lines"] == 1
    assert imported(f"{place}/{days[2].rpartition('/')[2]}/3c4d.gz")["known"] == 1


def test_an_object_that_was_written_anew_is_another_one(home: Path, bucket: Any) -> None:
    put(bucket, "day/1.gz", [b"one"])
    imported(f"s3://{bucket[1]}/day")
    put(bucket, "day/1.gz", [b"two"])
    assert imported(f"s3://{bucket[1]}/day")["lines"] == 1
    assert landed(home) == [b"one", b"two"]


def test_a_damaged_object_stops_no_other(home: Path, bucket: Any) -> None:
    files, name = bucket
    with files.open_output_stream(f"{name}/day/1.gz", compression=None) as stream:
        stream.write(gzip.compress(b'{"a": 1}\n' * 10)[:-9])
    put(bucket, "day/2.gz", [b'{"b": 1}'])
    report = imported(f"s3://{name}/day", code=1)
    assert report["imported"] == 1
    assert report["troubles"][0]["place"] == f"s3://{name}/day/1.gz"
    assert landed(home)[-1] == b'{"b": 1}'


def test_a_bucket_that_is_not_there_is_wrong_use(home: Path, server: str) -> None:
    ended = CliRunner().invoke(app, ["events", "import", "s3://no-such-bucket/x", "--source", "web"])
    assert isinstance(ended.exception, WrongUse)
    assert "s3://no-such-bucket" in str(ended.exception)
