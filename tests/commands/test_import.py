"""`activation events import`: what it prints, how it ends, and that it never shows what the events hold."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from activation_dagster.cli import app


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one file, beside an installation of its own."""
    monkeypatch.setenv("ACTIVATION_HOME", str(tmp_path / "home"))
    file = tmp_path / "archive" / "1700000000000" / "a.gz"
    file.parent.mkdir(parents=True)
    file.write_bytes(gzip.compress(b'{"email": "ann@shop.example"}\n' * 3))
    return tmp_path / "archive"


def run(archive: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["events", "import", str(archive), "--source", "web", *more])


def test_it_says_what_landed_and_the_second_time_that_nothing_did(archive: Path) -> None:
    first = run(archive)
    assert first.exit_code == 0, first.exception
    assert "Landed 3 lines of source 'web' in 1 sealed segment, from 1 of 1 files" in " ".join(first.stdout.split())
    again = json.loads(run(archive, "--json").stdout)
    assert (again["known"], again["lines"], again["troubles"]) == (1, 0, [])


def test_a_damaged_file_ends_it_with_1_and_a_sentence_without_personal_data(archive: Path) -> None:
    file = archive / "1700000000000" / "a.gz"
    file.write_bytes(file.read_bytes()[:-4])
    ended = run(archive)
    assert ended.exit_code == 1
    assert f"ends too early, at {file}. " in ended.stderr
    assert "ann@" not in ended.output
