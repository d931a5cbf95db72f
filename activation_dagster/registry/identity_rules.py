"""The identity contract: from its file to rules, with every mistake in it told at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from activation_dagster.domain.identifiers import (
    MOST_IDENTIFIERS,
    STEPS,
    USER_ID,
    IdentifierKind,
    IdentityRules,
    OnConflict,
    Phone,
    Replace,
    Shared,
    Step,
    Strength,
    Window,
    Winner,
    phone_regions,
)
from activation_dagster.domain.patterns import fault_of_pattern
from activation_dagster.errors import ContractsInvalid, Fault
from activation_dagster.registry.files import read_partly, suggestion
from activation_dagster.registry.reading import Reading
from activation_dagster.registry.shapes import NAME, IdentityFile

FILE = "identity.yaml"
ENVELOPE = ("userId", "anonymousId", "previousId")
SECTIONS = ("properties", "traits", "context")

Tell = Callable[[str, str], None]
"""Takes a path inside the file and a sentence saying what to do."""

E = TypeVar("E", bound=StrEnum)


def read_identity(reading: Reading) -> IdentityRules | None:
    """The rules of contracts/identity.yaml; None where nothing of it can be read."""
    shape = reading.read(reading.root / FILE, IdentityFile)
    if shape is None:
        return None
    rules = rules_of(shape, FILE, reading.faults)
    reading.owner(FILE, rules.owner)
    for kind in rules.kinds:
        if kind.owner != rules.owner:
            reading.known(FILE, f"kinds.{kind.name}.owner", "owner", kind.owner, reading.owners, "in owners.yaml")
    return rules


def rules_of(shape: IdentityFile, name: str, faults: list[Fault]) -> IdentityRules:
    """The rules that the file `name` says, not to be used where this adds a fault to `faults`."""

    def tell(where: str, sentence: str) -> None:
        faults.append(Fault(file=name, path=where, sentence=sentence))

    return _rules(shape, tell)


def load_rules(path: Path) -> IdentityRules:
    """The rules of one file, wherever it stands. Raises ContractsInvalid with every fault, sorted."""
    faults: list[Fault] = []
    shape, _ = read_partly(path, path.parent, IdentityFile, faults)
    rules = None if shape is None else rules_of(shape, path.name, faults)
    if faults or rules is None:
        raise ContractsInvalid(faults)
    return rules


def _rules(shape: IdentityFile, tell: Tell) -> IdentityRules:
    said = [kind.priority for kind in shape.kinds.values() if kind.priority is not None]
    if said and len(said) != len(shape.kinds):
        tell("kinds", "has a priority for some kinds and none for others; say it of all, or let their order say it.")
    if len(set(said)) != len(said):
        tell("kinds", "gives two kinds one priority, so that nobody knew which is left out first; make them differ.")
    kinds = [
        _kind(name, kind, kind.priority or rank, shape, tell)
        for rank, (name, kind) in enumerate(shape.kinds.items(), start=1)
    ]
    if not kinds:
        tell("kinds", "has no kind of identifier, so that every event would be nobody's; add one.")
    elif all(kind.strength is Strength.WEAK for kind in kinds):
        tell("kinds", "has weak kinds alone, so that no two identifiers would ever merge; make one strong.")
    rules = shape.rules or IdentityFile.Rules()
    return IdentityRules(
        version=shape.version,
        owner=shape.owner,
        kinds=tuple(sorted(kinds, key=lambda kind: kind.priority)),
        winner=_one_of(rules.winner, Winner, "rules.winner", tell) or Winner.OLDEST,
        maximum_cluster=rules.maximum_cluster if rules.maximum_cluster is not None else MOST_IDENTIFIERS,
        on_conflict=_one_of(rules.on_conflict, OnConflict, "rules.on_conflict", tell) or OnConflict.DROP_WEAKEST,
    )


def _kind(name: str, shape: IdentityFile.Kind, priority: int, whole: IdentityFile, tell: Tell) -> IdentifierKind:
    here = f"kinds.{name}"
    if not re.fullmatch(NAME, name) or len(name) > 40:
        tell(here, "is not named in lower case with underscores, in at most 40 characters; rename it.")
    for number, path in enumerate(shape.paths):
        _path(f"{here}.paths.{number}", path, tell)
    for pattern in shape.blocked_patterns:
        _pattern(f"{here}.blocked_patterns", pattern, tell)
    if shape.valid is not None and (fault := fault_of_pattern(shape.valid)) is not None:
        tell(f"{here}.valid", f"'{shape.valid}' cannot be a pattern: {fault}.")
    limit = shape.limit if isinstance(shape.limit, IdentityFile.Limit) else IdentityFile.Limit(most=shape.limit)
    window = _one_of(limit.per, Window, f"{here}.limit.per", tell) or Window.EVER
    strength = _one_of(shape.strength, Strength, f"{here}.strength", tell) or Strength.STRONG
    if name == USER_ID:
        _safety(here, shape, limit, window, strength, tell)
    if shape.shared is not None:
        of = shape.shared.of
        if of == name:
            tell(f"{here}.shared.of", "names its own kind, of which an event has one; name the kind that is counted.")
        elif of not in whole.kinds:
            hint = suggestion(of, list(whole.kinds))
            tell(f"{here}.shared.of", f"names kind '{of}', which is not among kinds.{hint}")
    return IdentifierKind(
        name=name,
        paths=tuple(shape.paths),
        normalise=tuple(
            step
            for number, said in enumerate(shape.normalise)
            if (step := _step(f"{here}.normalise.{number}", said, tell)) is not None
        ),
        blocked_values=frozenset(shape.blocked_values),
        blocked_patterns=tuple(shape.blocked_patterns),
        limit=limit.most,
        priority=priority,
        window=window,
        valid=shape.valid,
        shared=None if shape.shared is None else Shared(more_than=shape.shared.more_than, of=shape.shared.of),
        is_unique=shape.unique,
        strength=strength,
        time_to_live=None if shape.time_to_live_days is None else timedelta(days=shape.time_to_live_days),
        owner=shape.owner or whole.owner,
    )


def _safety(
    here: str,
    shape: IdentityFile.Kind,
    limit: IdentityFile.Limit,
    window: Window,
    strength: Strength,
    tell: Tell,
) -> None:
    """What no contract may take away: two different user ids never become one profile."""
    if limit.most != 1 or window is not Window.EVER:
        tell(f"{here}.limit", "must be 1 for ever: two different user ids never become one profile.")
    if strength is Strength.WEAK:
        tell(f"{here}.strength", "must be strong: a user id says who somebody is.")
    if shape.time_to_live_days is not None:
        tell(f"{here}.time_to_live_days", "would let a second user id follow the first; remove it.")


def _path(here: str, path: str, tell: Tell) -> None:
    section, _, rest = path.partition(".")
    if path in ENVELOPE or (section in SECTIONS and rest and all(rest.split("."))):
        return
    hint = suggestion(path if not rest else section, [*ENVELOPE, *SECTIONS])
    places = f"{', '.join(ENVELOPE)}, or a path below {', '.join(SECTIONS)}"
    tell(here, f"'{path}' is read from nowhere: name {places}.{hint}")


def _pattern(here: str, pattern: str, tell: Tell) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        tell(here, f"'{pattern}' is no pattern ({error}).")


def _step(here: str, said: str | Mapping[str, str], tell: Tell) -> Step | None:
    if isinstance(said, str):
        if said not in STEPS:
            tell(here, f"names step '{said}', which is not one of {', '.join(STEPS)}.{suggestion(said, [*STEPS])}")
            return None
        return said
    if set(said) == {"phone"}:
        region = said["phone"]
        if region not in phone_regions():
            tell(here, f"names region '{region}', of which no telephone numbers are known; write it as in DE.")
        return Phone(region=region)
    if set(said) == {"replace", "by"}:
        _pattern(here, said["replace"], tell)
        if not re.search(r"\\[0-9g]", said["by"]):
            return Replace(pattern=said["replace"], by=said["by"])
        tell(here, "puts a group of its pattern back; write text that stands for itself.")
        return None
    known = ["phone", "replace", "by"]
    wrong = sorted(set(said) - set(known))
    hint = suggestion(wrong[0], known) if wrong else ""
    tell(here, f"must be {{phone: REGION}} or {{replace: PATTERN, by: TEXT}}.{hint}")
    return None


def _one_of(said: str | None, among: type[E], here: str, tell: Tell) -> E | None:
    """The member of an enumeration that a file names; None where it names none."""
    if said is None:
        return None
    known = [member.value for member in among]
    if said in known:
        return among(said)
    tell(here, f"says '{said}', which is not one of {', '.join(known)}.{suggestion(said, known)}")
    return None
