"""`activation contracts docs`: a folder of pages with what was seen, which writes over no page but its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from activation_dagster.cli import app
from activation_dagster.errors import WrongUse


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of its own."""
    monkeypatch.setenv("ACTIVATION_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*words: str) -> BaseException | None:
    """`activation …`; what a person must mend."""
    ended = CliRunner().invoke(app, list(words))
    return ended.exception if ended.exit_code else None


def test_without_events_there_are_no_counts_and_nothing_is_made_in_the_home(home: Path, tmp_path: Path) -> None:
    assert run("contracts", "docs", "--to", str(tmp_path / "docs")) is None
    assert "In quarantine" not in (tmp_path / "docs" / "index.html").read_text(encoding="utf-8")
    assert not home.exists()


def test_with_events_every_version_says_how_many_wait(home: Path, tmp_path: Path) -> None:
    assert run("simulate", "--people", "30", "--events", "400") is None
    run("work", "--no-deliver")
    assert run("contracts", "docs", "--to", str(tmp_path / "docs")) is None
    assert "In quarantine" in (tmp_path / "docs" / "index.html").read_text(encoding="utf-8")
    page = (tmp_path / "docs" / "events" / "product_purchased.html").read_text(encoding="utf-8")
    assert "It has judged" in page
    assert "Day by day" in page
    index = (tmp_path / "docs" / "index.html").read_text(encoding="utf-8")
    assert "14 days to " in index


def test_a_page_of_an_event_that_is_gone_goes_and_a_foreign_page_is_never_written_over(
    home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "docs"
    assert run("contracts", "docs", "--to", str(folder)) is None
    gone = folder / "events" / "gone.html"
    gone.write_text((folder / "events" / "page.html").read_text(encoding="utf-8"), encoding="utf-8")
    assert run("contracts", "docs", "--to", str(folder)) is None
    assert not gone.exists()
    (folder / "index.html").write_text("<h1>Ours</h1>", encoding="utf-8")
    assert isinstance(run("contracts", "docs", "--to", str(folder)), WrongUse)
    assert (folder / "index.html").read_text(encoding="utf-8") == "<h1>Ours</h1>"
