"""What was published at a git ref is never edited, and what is new since then fits it, or says that it does not."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from activation_dagster.domain.compatibility.changes import BOTH, Change, Mode
from activation_dagster.domain.compatibility.engine import compare, compare_all
from activation_dagster.domain.envelope import ENVELOPE
from activation_dagster.errors import Fault, MendTheEnvironment, WrongUse
from activation_dagster.registry.files import suggestion
from activation_dagster.registry.versions import (
    BREAKING,
    Comparable,
    alike,
    comparable,
    numbers_of,
    parsed_text,
    version_files,
)

SHOWN_CHANGES = 3
"""So many breaking changes stand in one sentence; `contracts diff` shows all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedReport:
    """What was found against one ref: how many versions stood there, which are new, and every fault."""

    ref: str
    published: int
    new: tuple[str, ...]
    faults: tuple[Fault, ...]


def check_against(
    root: Path, ref: str, *, consumers: Mapping[str, Collection[str]], owners: Collection[str] | None
) -> PublishedReport:
    """Hold the versions under `root` (contracts/) to those at a git ref.

    `consumers` are the owners of what reads an event, by the event's folder; a version that breaks must name them.
    `owners` are all there are; None where the contracts could not be read, and so nobody knows.
    Raises WrongUse for a ref that does not exist or a folder outside a repository, MendTheEnvironment without git.
    """
    return report_against(root, _files_at(root, ref), ref, published=f"at {ref}", consumers=consumers, owners=owners)


def report_against(
    root: Path,
    files: Mapping[str, bytes],
    ref: str,
    *,
    published: str,
    consumers: Mapping[str, Collection[str]],
    owners: Collection[str] | None,
) -> PublishedReport:
    """How the versions under `root` stand beside contract files of before, by their path below it; others are left out.

    `published` says where those stood, as in "was published <published> and is gone". The rest is as for a ref.
    """
    there = {name: content for name, content in files.items() if _is_version(name)}
    here = {path.relative_to(root).as_posix(): path for path in _version_paths(root)}
    faults = [
        Fault(file=name, path="", sentence=f"was published {published} and is gone; restore it from there.")
        for name in there.keys() - here.keys()
    ]
    faults += [
        Fault(
            file=name,
            path="",
            sentence=f"was published {published} and is edited; restore it, and write the change as a new version.",
        )
        for name in there.keys() & here.keys()
        if _lines(here[name].read_bytes()) != _lines(there[name])
    ]
    for name in sorted(here.keys() - there.keys()):
        faults += _faults_of_new(root, here[name], there, consumers=consumers, owners=owners)
    new = tuple(sorted(here.keys() - there.keys()))
    return PublishedReport(ref=ref, published=len(there), new=new, faults=tuple(sorted(faults)))


def _version_paths(root: Path) -> list[Path]:
    folders = sorted(path for path in [*(root / "events").glob("*"), root / ENVELOPE] if path.is_dir())
    return [path for folder in folders for path in version_files(folder)]


def _is_version(name: str) -> bool:
    parts = name.split("/")
    path = Path(name)
    return (
        ((len(parts) == 3 and parts[0] == "events") or (len(parts) == 2 and parts[0] == ENVELOPE))
        and path.suffix in (".json", ".yaml", ".yml")
        and numbers_of(path.stem) is not None
    )


def _lines(content: bytes) -> bytes:
    """Without the line ends that git may turn on a checkout."""
    return content.replace(b"\r\n", b"\n")


# -- a version that is new --------------------------------------------------------------------------------------------


def _faults_of_new(
    root: Path,
    path: Path,
    there: Mapping[str, bytes],
    *,
    consumers: Mapping[str, Collection[str]],
    owners: Collection[str] | None,
) -> list[Fault]:
    name, folder = path.relative_to(root).as_posix(), path.parent
    mine, promised = numbers_of(path.stem), folder.relative_to(root).as_posix()
    assert mine is not None
    published = [Path(other).stem for other in there if other.startswith(f"{promised}/") and other != name]
    later = [stem for stem in published if (numbers := numbers_of(stem)) is not None and numbers > mine]
    if later:
        newest = max(later, key=lambda stem: numbers_of(stem) or ())
        return [Fault(file=name, path="", sentence=f"is new, but {newest} is published already; number it after that.")]
    before = [other for other in version_files(folder) if cast("tuple[int, ...]", numbers_of(other.stem)) < mine]
    if not before:
        return []
    try:
        content = _content(path)
        version = comparable(content, path.stem)
        *earlier, version = alike([*(comparable(_content(other), other.stem) for other in before), version])
    except WrongUse:
        return []  # reading the contracts tells these faults, with their place in the file
    mode, faults = _mode(root, folder)
    if any(one.policy is not version.policy for one in earlier):
        return [*faults, Fault(file=name, path="", sentence="is of another kind than the versions before it.")]
    verdict = compare_all(
        [(one.name, one.document) for one in earlier], version.document, mode=mode, policy=version.policy
    )
    breaking = [change for change in verdict.changes if change.is_breaking]
    if mode is not Mode.NONE and not mode.is_transitive:
        breaking += _reused(earlier, version)
    declared = cast("dict[str, Any]", content).get(BREAKING)
    if not breaking:
        return [*faults, *_unneeded(name, declared)]
    if declared is None:
        return [*faults, _undeclared(name, breaking, mode, folder)]
    return [*faults, *_declaration_faults(name, declared, consumers.get(folder.name, ()), owners)]


def _reused(earlier: list[Comparable], version: Comparable) -> list[Change]:
    """What a property breaks that was declared once, was gone, and comes back as another.

    The version before knows nothing of it, so the mode does not see it; destinations fix a field's type for ever.
    """
    before = earlier[-1].document.root.properties
    found: list[Change] = []
    for one in earlier[:-1]:
        back = [key for key in version.document.root.properties if key in one.document.root.properties]
        places = tuple(f"#/properties/{key}" for key in back if key not in before)
        verdict = compare(one.document, version.document, policy=version.policy, against=one.name)
        found += [change for change in verdict.changes if change.breaks == BOTH and change.path in places]
    return found


def _content(path: Path) -> Any:
    try:
        return parsed_text(path.read_text(encoding="utf-8"), path.name, path.name)
    except (OSError, UnicodeDecodeError):
        raise WrongUse(f"The file {path} cannot be read as UTF-8 text. Write it again.") from None


def _mode(root: Path, folder: Path) -> tuple[Mode, list[Fault]]:
    """The event's compatibility mode as its contract.yaml names it, full where it names none."""
    about = folder / "contract.yaml"
    try:
        content = _content(about)
    except WrongUse:
        return Mode.FULL, []
    named = cast("dict[str, Any]", content).get("compatibility") if isinstance(content, dict) else None
    if named is None:
        return Mode.FULL, []
    try:
        return Mode(str(named).lower()), []
    except ValueError:
        sentence = f"names '{named}', which is no mode of compatibility.{suggestion(str(named), list(Mode))}"
        return Mode.FULL, [Fault(file=about.relative_to(root).as_posix(), path="compatibility", sentence=sentence)]


def _undeclared(name: str, breaking: list[Change], mode: Mode, folder: Path) -> Fault:
    said = "; ".join(f"{change.rule} at {change.path}: {change.message}" for change in breaking[:SHOWN_CHANGES])
    more = f"; and {len(breaking) - SHOWN_CHANGES} more" if len(breaking) > SHOWN_CHANGES else ""
    against = breaking[0].against
    return Fault(
        file=name,
        path="",
        sentence=f"is not compatible with {against} in mode {mode} ({said}{more}). Change it back, or declare the "
        f"break in it with `{BREAKING}: {{migration: …, owners: […]}}`. `activation contracts diff` of "
        f"{folder.name}/{against} and {Path(name).stem} shows all.",
    )


def _unneeded(name: str, declared: Any) -> list[Fault]:
    if declared is None:
        return []
    return [Fault(file=name, path=BREAKING, sentence="declares a break, and nothing breaks; remove it.")]


def _declaration_faults(
    name: str, declared: Any, readers: Collection[str], owners: Collection[str] | None
) -> list[Fault]:
    """What a declared break lacks: how to migrate, and the owners of everything that reads the event."""
    given = cast("dict[str, Any]", declared) if isinstance(declared, dict) else {}
    faults: list[Fault] = []
    migration, named = given.get("migration"), given.get("owners")
    if not isinstance(migration, str) or not migration.strip():
        sentence = "does not say how those who send and read the event migrate; write it."
        faults.append(Fault(file=name, path=f"{BREAKING}.migration", sentence=sentence))
    names = [str(owner) for owner in cast("list[Any]", named)] if isinstance(named, list) else []
    where = f"{BREAKING}.owners"
    for owner in names:
        if owners is not None and owner not in owners:
            sentence = f"names owner '{owner}', which is not in owners.yaml.{suggestion(owner, list(owners))}"
            faults.append(Fault(file=name, path=where, sentence=sentence))
    missing = sorted(set(readers) - set(names))
    if missing or not names:
        who = ", ".join(missing) or "nobody yet; name at least who agreed"
        faults.append(Fault(file=name, path=where, sentence=f"must name the owners of what reads the event: {who}."))
    return faults


# -- git --------------------------------------------------------------------------------------------------------------


def _files_at(root: Path, ref: str) -> dict[str, bytes]:
    """The files under events/ and envelope/ of a folder as they were at a ref, by their path below the folder."""
    if _git(root, "rev-parse", "--git-dir").returncode:
        raise WrongUse(f"The folder {root} is in no git repository, so nothing is published there. Run `git init`.")
    if ref.startswith("-") or _git(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").returncode:
        raise WrongUse(
            f"The git ref '{ref}' does not exist in the repository of {root}. Name a branch, tag or commit "
            "(in CI, fetch it first: git fetch origin main)."
        )
    listed = _git(root, "ls-tree", "-r", "-z", ref, "--", "events/", f"{ENVELOPE}/").stdout
    blobs: dict[str, str] = {}
    for line in listed.split(b"\0"):
        about, _, name = line.partition(b"\t")
        if name:
            blobs[name.decode("utf-8", "replace")] = about.split()[2].decode()
    contents = _contents(root, list(blobs.values()))
    return dict(zip(blobs, contents, strict=True))


def _contents(root: Path, blobs: list[str]) -> list[bytes]:
    """The bytes of git objects, read by one process."""
    told = _git(root, "cat-file", "--batch", given="".join(f"{blob}\n" for blob in blobs).encode()).stdout
    found: list[bytes] = []
    place = 0
    for _ in blobs:
        end = told.index(b"\n", place)
        size = int(told[place:end].split()[2])
        found.append(told[end + 1 : end + 1 + size])
        place = end + size + 2
    return found


def _git(root: Path, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", "-C", str(root), *words], input=given, capture_output=True, check=False)
    except FileNotFoundError:
        raise MendTheEnvironment(
            "The program git is missing: nothing named 'git' is on the PATH, and what was published is read with it. "
            "Install it (Debian: apt-get install git)."
        ) from None
