"""The typed extraction: SQL that reads every value the rules look at out of an event's JSON once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from activation_dagster.domain.contracts import PropertyRule, PropertyType
from activation_dagster.lake.rule_sql import extractions, name, structure


class Leaves:
    """SQL for every value that is looked at, each extracted once: an object's members from the object's own text.

    `levels` are the extractions, those of a level from what the level before has extracted. Rules of several versions
    may be given together: a name is extracted once for all of them.
    """

    def __init__(self, section: str, names: Sequence[str], rules: Sequence[PropertyRule]) -> None:
        self.levels: list[list[str]] = []
        self._inside: dict[str, dict[str, str]] = {}
        self.top = self._extract(0, f"e.{section}", names)
        self._descend(1, self.top, rules)

    def _extract(self, level: int, text: str, names: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        if len(self.levels) == level:
            self.levels.append([])
        for part in extractions(names):
            column = f"leaves_{level}_{len(self.levels[level])}"
            self.levels[level].append(f"json_transform({text}, {structure(part)}) as {column}")
            found |= {one: f"{column}.{name(one)}::varchar" for one in part}
        return found

    def _descend(self, level: int, leaves: Mapping[str, str], rules: Sequence[PropertyRule]) -> None:
        members: dict[str, list[PropertyRule]] = {}
        for rule in rules:
            if rule.type is PropertyType.OBJECT and rule.properties:
                members.setdefault(leaves[rule.name], []).extend(rule.properties)
        for leaf, inner in members.items():
            found = self._extract(level, leaf, list(dict.fromkeys(member.name for member in inner)))
            self._inside[leaf] = found
            self._descend(level + 1, found, inner)

    def inside(self, leaf: str) -> dict[str, str] | None:
        """The leaves of the members of the object whose own leaf is given."""
        return self._inside.get(leaf)

    def source(self, events: str) -> str:
        """A relation of `events` (SQL in brackets) with all that is extracted beside their own columns."""
        found = events
        for level in self.levels:
            extracted = "".join(f", {column}" for column in level)
            found = f"(select e.*{extracted} from {found} as e)"
        return found
