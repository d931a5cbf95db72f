"""Reading what is compared: one version file of ours, one plain JSON Schema, or the versions in a folder."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError

from activation_dagster.domain.compatibility.changes import Policy
from activation_dagster.domain.compatibility.documents import Document
from activation_dagster.domain.contracts import EventVersion
from activation_dagster.errors import WrongUse
from activation_dagster.registry import shapes
from activation_dagster.registry.event_versions import version_of
from activation_dagster.registry.files import parsed, sentences_of
from activation_dagster.registry.json_schema import FORMATS, comparable_schema, says_null

BREAKING = "breaking"
"""The key by which a version file declares that it breaks with the one before."""
_VERSION_NAME = re.compile(r"^v?([0-9]+(?:[._-][0-9]+)*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparable:
    """One version, ready to be compared. `policy` is DECLARED for our own format, STRICT for plain JSON Schema."""

    name: str
    document: Document
    policy: Policy
    event_name: str = ""
    version: EventVersion | None = None


def is_our_format(content: Any) -> bool:
    """Whether a parsed file is meant as a version file of ours, and not as a JSON Schema."""
    return isinstance(content, dict) and "event_name" in content and "$schema" not in content


def comparable(content: Any, name: str) -> Comparable:
    """A parsed file as something to compare. Raises WrongUse with every fault of a version file of ours."""
    if not is_our_format(content):
        # YAML has keys that are no text and dates; a JSON Schema has neither.
        plain = json.loads(json.dumps(content, default=str))
        return Comparable(name=name, document=Document(plain, name=name), policy=Policy.STRICT)
    try:
        # What a version declares of its own break is no promise about events (registry/published.py reads it).
        shape = shapes.VersionFile.model_validate({key: value for key, value in content.items() if key != BREAKING})
    except ValidationError as error:
        faults = "\n".join(f"  {path}: {sentence}" for path, sentence in sentences_of(error, shapes.VersionFile))
        raise WrongUse(f"The version file {name} cannot be compared. Mend it first:\n{faults}") from None
    version = version_of(shape)
    unknown = [key for key in shape.required if key not in shape.properties]
    if unknown:
        raise WrongUse(
            f"The version file {name} cannot be compared: it requires {', '.join(unknown)}, which its properties do "
            "not declare. Declare them, or require them no more."
        )
    document = Document(comparable_schema(version), name=name, formats=FORMATS)
    return Comparable(
        name=name, document=document, policy=Policy.DECLARED, event_name=shape.event_name, version=version
    )


def alike(versions: Sequence[Comparable]) -> list[Comparable]:
    """Versions of one event compiled alike: with null wherever one of them says what null means."""
    if not any(one.version is not None and says_null(one.version.properties) for one in versions):
        return list(versions)
    return [
        one
        if one.version is None
        else replace(
            one,
            document=Document(comparable_schema(one.version, with_null=True), name=one.name, formats=FORMATS),
        )
        for one in versions
    ]


def read_version(path: Path) -> Comparable:
    """A file (JSON or YAML) as something to compare. Raises WrongUse in three parts where it is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise WrongUse(f"The file {path} does not exist. Name a version file or a JSON Schema.") from None
    except (OSError, UnicodeDecodeError):
        raise WrongUse(f"The file {path} cannot be read as UTF-8 text. Name a readable one.") from None
    return comparable(parsed_text(text, path.name, str(path)), str(path))


def parsed_text(text: str, file_name: str, name: str) -> Any:
    """What a JSON or YAML text says. Raises WrongUse where it is not sound."""
    try:
        return parsed(text, is_json=file_name.endswith(".json"))
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        kind = "JSON" if file_name.endswith(".json") else "YAML"
        raise WrongUse(f"The file {name} is no sound {kind} ({' '.join(str(error).split())}). Mend it there.") from None


def numbers_of(stem: str) -> tuple[int, ...] | None:
    """`v12` → (12,), `1-0-2` → (1, 0, 2): by what versions are ordered; None for another name."""
    found = _VERSION_NAME.match(stem)
    return tuple(int(number) for number in re.split(r"[._-]", found[1])) if found else None


def version_files(folder: Path) -> list[Path]:
    """The version files of a folder (`v1.json`, `v2.yaml`, `1-0-0.json`), oldest first."""
    found = [
        (numbers, path)
        for path in folder.iterdir()
        if path.suffix in (".json", ".yaml", ".yml") and (numbers := numbers_of(path.stem)) is not None
    ]
    return [path for _, path in sorted(found)]


def earlier_versions(olds: list[Path], new: Path) -> list[Path]:
    """The files that NEW is compared with, oldest first: those named, and those of a folder that come before NEW.

    Raises WrongUse where there is none.
    """
    found: list[Path] = []
    for old in olds:
        if not old.is_dir():
            found.append(old)
            continue
        mine = numbers_of(new.stem) if _is_inside(new, old) else None
        found += [
            path
            for path in version_files(old)
            if not _is_same(path, new) and (mine is None or cast("tuple[int, ...]", numbers_of(path.stem)) < mine)
        ]
    if not found:
        raise WrongUse(
            f"There is nothing to compare {new} with: {', '.join(map(str, olds))} holds no earlier version. "
            "Name a file, or a folder of files such as v1.yaml."
        )
    return found


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().parent == folder.resolve()


def _is_same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def comparables(olds: list[Path], new: Path) -> tuple[list[Comparable], Comparable]:
    """The earlier versions and the new one, read. Raises WrongUse where they cannot be compared with each other."""
    if new.is_dir():
        raise WrongUse(f"NEW names the folder {new}, and one version is compared. Name a file.")
    later = read_version(new)
    earlier = [read_version(path) for path in earlier_versions(olds, new)]
    for one in earlier:
        if one.policy is not later.policy:
            raise WrongUse(
                f"{one.name} and {later.name} are not of one kind: one is a version of an event, the other a JSON "
                "Schema. Name two of a kind."
            )
        if one.event_name != later.event_name:
            raise WrongUse(
                f"{one.name} promises '{one.event_name}', {later.name} promises '{later.event_name}'. Name "
                "two versions of one event."
            )
    *earlier, later = alike([*earlier, later])
    return earlier, later
