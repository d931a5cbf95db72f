"""Proposals as contract files: YAML with what speaks for each rule as comments; nothing is ever overwritten."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from activation_dagster.domain.contracts import (
    NUMBERS,
    Criticality,
    EventContract,
    EventVersion,
    PropertyRule,
    PropertyType,
    judge,
)
from activation_dagster.domain.envelope import judge_envelope
from activation_dagster.domain.formats import Format
from activation_dagster.domain.proposals import Proposal
from activation_dagster.errors import WrongUse
from activation_dagster.registry.examples import ENDING


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9).strip()


def _scalar(text: str) -> str:
    """A text as YAML holds it after a colon."""
    return _flow([text])[1:-1]


def _comment(note: str) -> str:
    """A note as one line of comment, whatever characters it holds."""
    return "# " + "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in note)


def _rule(rule: PropertyRule) -> dict[str, Any]:
    written: dict[str, Any] = {"type": rule.type.value}
    said = {
        "description": rule.description or None,
        "owner": rule.owner or None,
        "enum": list(rule.enum) or None,
        "format": rule.format.value if rule.format else None,
        "minimum": _number(rule.minimum),
        "maximum": _number(rule.maximum),
        "min_length": rule.min_length,
        "max_length": rule.max_length,
        "pattern": rule.pattern,
        "nullable": rule.is_nullable,
        "default": rule.default,
        "pii": rule.is_pii or None,
        "identifier": rule.identifier,
        "properties": {inner.name: _rule(inner) for inner in rule.properties} or None,
        "required": [inner.name for inner in rule.properties if inner.is_required] or None,
        "items": _rule(rule.items) if rule.items else None,
    }
    return written | {word: value for word, value in said.items() if value is not None}


def _number(bound: float | None) -> float | None:
    """A bound as people write it: without a fraction where it has none."""
    return int(bound) if bound is not None and float(bound).is_integer() and abs(bound) < 2**53 else bound


def version_text(proposal: Proposal) -> str:
    """The version file, in YAML."""
    lines = [_comment(note) for note in proposal.notes]
    lines += [f"event_name: {_scalar(proposal.name)}", f"version: {proposal.version}"]
    lines.append("properties:" if proposal.properties else "properties: {}")
    for proposed in proposal.properties:
        if proposed.notes:
            lines.append("  " + _comment("; ".join(proposed.notes)))
        lines.append(f"  {_scalar(proposed.rule.name)}: {_flow(_rule(proposed.rule))}")
    required = [proposed.rule.name for proposed in proposal.properties if proposed.rule.is_required]
    lines.append(f"required: {_flow(required)}")
    return "\n".join(lines) + "\n"


def _fitting(rule: PropertyRule) -> Any:
    """A value that keeps a rule, made up."""
    if rule.enum:
        return rule.enum[0]
    match rule.type:
        case PropertyType.STRING:
            return _MADE_UP[rule.format] if rule.format else _text_of_length(rule)
        case PropertyType.BOOLEAN:
            return True
        case PropertyType.TIMESTAMP:
            return "2026-01-31T12:00:00Z"
        case PropertyType.DATE:
            return "2026-01-31"
        case PropertyType.OBJECT:
            return {inner.name: _fitting(inner) for inner in rule.properties}
        case PropertyType.ARRAY:
            return [] if rule.items is None else [_fitting(rule.items)]
        case PropertyType.NUMBER:
            return next((bound for bound in (rule.minimum, rule.maximum) if bound is not None), 1)
        case PropertyType.INTEGER:
            if rule.minimum is not None:
                return math.ceil(rule.minimum)
            return 1 if rule.maximum is None else math.floor(rule.maximum)


_MADE_UP = {
    Format.EMAIL: "a.name@example.com",
    Format.URI: "https://example.com/page",
    Format.UUID: "8c5e9f5e-3b5a-4c56-9d5a-2f4b8f4d1a11",
    Format.PHONE: "+491701234567",
    Format.COUNTRY: "DE",
    Format.CURRENCY: "EUR",
}


def _text_of_length(rule: PropertyRule) -> str:
    text = "a text".ljust(rule.min_length or 0, "x")
    return text if rule.max_length is None else text[: rule.max_length]


def examples_text(proposal: Proposal) -> str:
    """The file of examples: one event that keeps the promise and one that does not, with made-up values."""
    rules = tuple(proposed.rule for proposed in proposal.properties)
    version = EventVersion(version=proposal.version, properties=rules)
    valid = {rule.name: _fitting(rule) for rule in rules}
    if proposal.call is None:
        return _examples(valid, rules, judged=lambda said: judge_envelope(version, said), whole=lambda said: said)
    contract = EventContract(
        slug=proposal.slug,
        call=proposal.call,
        name=proposal.name,
        owner=proposal.owner,
        criticality=Criticality.BEST_EFFORT,
        description="",
        versions=(version,),
    )
    return _examples(
        valid, rules, judged=lambda said: judge(contract, version, said), whole=lambda said: {contract.section: said}
    )


def _examples(
    valid: dict[str, Any],
    rules: Sequence[PropertyRule],
    *,
    judged: Callable[[dict[str, Any]], Sequence[str]],
    whole: Callable[[dict[str, Any]], dict[str, Any]],
) -> str:
    lines = ["# Made up; put a likely event here, and the mistakes that you expect.", "valid:"]
    lines.append(f"  - {_flow(whole(valid))}")
    if rules:
        wrong: Any = "5" if rules[0].type in NUMBERS else 5
        broken = {**valid, rules[0].name: wrong}
        lines += ["invalid:", f"  - event: {_flow(whole(broken))}"]
        lines.append(f"    violates: {_flow(list(judged(broken)))}")
    return "\n".join(lines) + "\n"


def contract_text(proposal: Proposal, *, owner: str, criticality: str, description: str) -> str:
    """The file of what may change, contract.yaml."""
    if proposal.call is None:
        return (
            "# What may change about every event's envelope; its versions beside it are added, never edited.\n"
            f"owner: {_scalar(owner)}\n"
            f"description: {_scalar(description)}\n"
        )
    return (
        "# What may change about this event; its versions beside it are added, never edited.\n"
        f"owner: {_scalar(owner)}\n"
        f"criticality: {Criticality(criticality).value}\n"
        f"call: {proposal.call.value}\n"
        f"description: {_scalar(description)}\n"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalFiles:
    """The files of one folder below contracts/ by name, and who would answer for it (empty: nobody was named)."""

    folder: str
    event_name: str
    owner: str
    files: dict[str, str]


def files_of(proposals: Sequence[Proposal], *, owners: Sequence[str], owner: str) -> dict[str, ProposalFiles]:
    """The files of every proposal by folder. `owner`, where given, answers for all of them.

    Raises WrongUse where two events would share a folder, or one version stands twice.
    """
    found: dict[str, ProposalFiles] = {}
    for proposal in proposals:
        answers = owner or (proposal.owner if proposal.owner in owners else "")
        about = contract_text(
            proposal,
            owner=answers or "name-one-of-owners.yaml",
            criticality=proposal.criticality or Criticality.BEST_EFFORT,
            description=proposal.description or "Proposed; say what it means, when it is sent and by whom.",
        )
        folder = proposal.slug if proposal.call is None else f"events/{proposal.slug}"
        first = ProposalFiles(folder=folder, event_name=proposal.name, owner=answers, files={"contract.yaml": about})
        kept = found.setdefault(proposal.slug, first)
        version = f"{proposal.version}.yaml"
        if kept.event_name != proposal.name or version in kept.files:
            raise WrongUse(
                f"Two proposals would be the same file, {folder}/{version}. Nothing was written or "
                "printed; rename one of the events in the file, or take one with --event."
            )
        kept.files[version] = version_text(proposal)
        kept.files[f"{proposal.version}{ENDING}.yaml"] = examples_text(proposal)
    return found


def read_document(file: Path) -> Any:
    """What a JSON or YAML file holds. Raises WrongUse where it is neither, without repeating what it holds."""
    try:
        text = file.read_text(encoding="utf-8")
        return json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (UnicodeDecodeError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise WrongUse(f"The file is no sound JSON or YAML, at {file}. Write it again from where it came.") from error


def write_contract(root: Path, proposed: ProposalFiles) -> Path:
    """Put a new contract's files into its folder, all of them at once; returns the folder.

    Raises WrongUse where the folder is there: what is promised is never overwritten.
    """
    folder = root / proposed.folder
    if folder.exists():
        raise WrongUse(
            f"There is a contract already, at {folder}. Nothing was written; "
            "take what you want from the printed proposal into a new version file."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside contracts/, so that nobody reads half of it: renaming a folder is one step.
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=root.parent))
    try:
        for name, text in proposed.files.items():
            (staging / name).write_text(text, encoding="utf-8")
            (staging / name).chmod(0o644)
        staging.chmod(0o755)
        os.rename(staging, folder)
    except OSError as error:
        raise WrongUse(
            f"The contract could not be put at {folder} ({error.strerror}). Make that folder writable."
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder
