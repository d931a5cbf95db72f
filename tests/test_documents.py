"""What the documents tell people to type works as it stands there: files are written, commands are run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (contracts/\S+)\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """One block of a document: its language and what stands in it."""

    language: str
    text: str


def fences(document: str, section: str) -> Iterator[Fence]:
    """The blocks of one section, in their order."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    (inside,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    for _, language, block in FENCE.findall(inside):
        yield Fence(language=language, text=textwrap.dedent(block))


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository of contracts with one commit, as a new person has it before the first change."""
    root = tmp_path / "clone"
    shutil.copytree(REPOSITORY / "contracts", root / "contracts")
    (root / ".venv").symlink_to(REPOSITORY / ".venv")
    (root / ".gitignore").write_text(".venv\n")
    for words in (("init", "--quiet", "--initial-branch", "main"), ("add", "."), ("commit", "--quiet", "-m", "before")):
        shell(root, " ".join(["git", *words]))
    return root


def shell(root: Path, command: str) -> subprocess.CompletedProcess[str]:
    """One line as people type it, in the clone and with this program."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ACTIVATION_")}
    person = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.com"}
    person |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in person.items()}
    places = {
        "ACTIVATION_CONTRACTS": str(root / "contracts"),
        "ACTIVATION_HOME": str(root.parent / "home"),
        "PYTHONPATH": str(REPOSITORY),
    }
    return subprocess.run(
        ["bash", "-c", command], cwd=root, env=kept | person | places, capture_output=True, text=True, check=False
    )


def follow(root: Path, blocks: Iterator[Fence]) -> dict[str, str]:
    """Write every file and run every command of some blocks; what each command wrote, all of which must end well."""
    told: dict[str, str] = {}
    for fence in blocks:
        named = FILE.match(fence.text)
        if fence.language == "yaml" and named is not None:
            file = root / named[1]
            file.parent.mkdir(exist_ok=True)
            file.write_text(fence.text, encoding="utf-8")
        elif fence.language == "sh":
            for command in fence.text.splitlines():
                ended = shell(root, command)
                assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
                told[command] = ended.stdout
    return told


def test_a_new_event_is_added_broken_and_refused_as_the_recipes_say(clone: Path) -> None:
    told = follow(clone, fences("CONTRIBUTING.md", "A new event"))
    assert any("The contracts are sound: 10 events" in " ".join(said.split()) for said in told.values())
    published = clone / "contracts" / "events" / "order_completed" / "v1.yaml"
    kept = published.read_text(encoding="utf-8")
    published.write_text(kept.replace("max_length: 40", "max_length: 4"), encoding="utf-8")
    refused = shell(clone, ".venv/bin/activation contracts check --against HEAD")
    assert refused.returncode == 1
    assert "was published at HEAD and is edited" in " ".join(refused.stdout.split())
    published.write_text(kept, encoding="utf-8")
    told = follow(clone, fences("CONTRIBUTING.md", "Change an event"))
    assert any("is NOT compatible with" in " ".join(said.split()) for said in told.values())
    assert any("new: events/order_completed/v2.yaml" in " ".join(said.split()) for said in told.values())
    version = clone / "contracts" / "events" / "order_completed" / "v2.yaml"
    version.write_text(re.sub("breaking:.*\n", "", version.read_text(encoding="utf-8")), encoding="utf-8")
    refused = shell(clone, ".venv/bin/activation contracts check --against HEAD")
    assert refused.returncode == 1
    assert "ENUM_ARRAY_NARROWED" in refused.stdout
