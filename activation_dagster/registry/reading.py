"""One reading of contracts/: what those who read its files share, which is their faults, owners and what is unread."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from activation_dagster.domain.envelope import ENVELOPE
from activation_dagster.errors import Fault
from activation_dagster.registry import shapes
from activation_dagster.registry.contract_set import REPAIRS, Owner
from activation_dagster.registry.files import Names, S, read_partly, suggestion

NAME = re.compile(shapes.NAME)
SINGLE = ("owners", "identity", "consent", "failure_modes", "sources", "unknown_events")
FOLDERS = ("audiences", "consent_mappings", "destinations", "workflows")
PLACE = re.compile(
    rf"({'|'.join(SINGLE)})\.yaml|(({'|'.join([*FOLDERS, REPAIRS])})|events/[^/]+|{ENVELOPE})/[^/]+\.(yaml|json)"
)
"""Where a contract file stands; a file elsewhere would be a promise that nobody reads."""

NOBODY = ""
"""What stands for a name that a file does not give; nobody is told that it leads nowhere."""

_GIVES = {
    "owners": ("owner",),
    "identity": ("identifier kind",),
    "events": ("event", "property"),
    "consent": ("purpose", "channel", "region"),
    "audiences": ("audience",),
    "destinations": ("destination", "endpoint"),
}
"""What other files name of each file or folder."""


class Reading:
    """The folder, the faults found in it so far, and what its files may have given in parts that cannot be read."""

    def __init__(self, root: Path, environment: str, *, needs_examples: bool) -> None:
        self.root = root
        self.environment = environment
        self.needs_examples = needs_examples
        self.faults: list[Fault] = []
        self.owners: dict[str, Owner] = {}
        self.partly: set[str] = set()
        self.unread: dict[str, str] = {}

    def name(self, path: Path) -> str:
        """How a fault names a file: its place below contracts/."""
        return path.relative_to(self.root).as_posix()

    def read(self, path: Path, shape: type[S]) -> S | None:
        """A file in its shape, or what is left of it without its mistakes, so that all else is told at once.

        What other files name may stand in the part that is not there, so its text is kept: nobody is told that a name
        does not exist because the file that gives it has a mistake.
        """
        name = self.name(path)
        found, is_whole = read_partly(path, self.root, shape, self.faults, stand_ins=_stand_ins(path, shape))
        if not is_whole:
            self.partly.add(name)
            for what in _GIVES.get(name.split("/")[0].removesuffix(".yaml"), ()):
                self.unread[what] = self.unread.get(what, "") + _text_of(path)
        return found

    def names(self, what: str, known: Iterable[str]) -> Names:
        """Names to look references up in."""
        return Names(tuple(known), self.unread.get(what, ""))

    def owner_names(self) -> Names:
        """The names of owners, which every kind of file refers to."""
        return self.names("owner", self.owners)

    def fault(self, file: str, path: str, sentence: str) -> None:
        """Add a mistake."""
        self.faults.append(Fault(file=file, path=path, sentence=sentence))

    def known(self, file: str, path: str, what: str, name: str, among: Iterable[str], where: str) -> bool:
        """Whether a reference leads somewhere; a fault with a suggestion when it does not."""
        candidates = list(among)
        if name in candidates:
            return True
        if name in self.names(what, ()):
            return False
        self.fault(file, path, f"names {what} '{name}', which is not {where}.{suggestion(name, candidates)}")
        return False

    def owner(self, file: str, name: str, path: str = "owner") -> None:
        """Look a file's owner up."""
        if name != NOBODY:
            self.known(file, path, "owner", name, self.owners, "in owners.yaml")

    def files(self, folder: str) -> list[Path]:
        """The files of a folder, sorted; each should have a name that a table could have."""
        found = sorted(path for path in (self.root / folder).glob("*") if path.suffix in (".yaml", ".json"))
        for path in found:
            if not NAME.match(path.stem):
                self.fault(self.name(path), "", "is not named in lower case with underscores; rename it.")
        return found

    def strays(self) -> None:
        """A file that looks like a contract and stands where none is read: a misspelt folder, a .yml."""
        for path in sorted(self.root.rglob("*.*")):
            name = self.name(path)
            if path.suffix not in (".yaml", ".yml", ".json") or not path.is_file() or PLACE.fullmatch(name):
                continue
            known, first = [*SINGLE, *FOLDERS, "events", ENVELOPE], name.split("/")[0].partition(".")[0]
            near = "" if first in known else suggestion(first, known)
            advice = " Name it .yaml." if path.suffix == ".yml" else near or " Move it, or remove it."
            self.fault(name, "", f"is read by nobody, because no contract stands there.{advice}")


def _stand_ins(path: Path, shape: type[Any]) -> Mapping[str, Any]:
    """What stands where an event's file says nothing that can be read, so that the rest of it can be looked at."""
    if shape is shapes.EventFile:
        return {"owner": NOBODY, "criticality": "standard", "description": ""}
    if shape is shapes.VersionFile:
        return {"event_name": NOBODY, "version": path.stem, "properties": {}}
    return {}


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
