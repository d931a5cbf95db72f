"""Contracts as a Segment tracking plan and back: the rules of Segment's Public API, and the older file of typewriter.

A plan has no word for a contract's folder, owner and criticality: they stand in `$comment` of a rule's schema. The
envelope's contract is the plan's common schema, which has no versions: the one that judges today is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from activation_dagster.domain.contracts import Call, Criticality, EventContract
from activation_dagster.domain.envelope import ENVELOPE, EnvelopeContract
from activation_dagster.domain.proposals import RESERVED, Loss, Proposal, slug_of
from activation_dagster.errors import WrongUse
from activation_dagster.registry.call_schemas import read_call
from activation_dagster.registry.property_schemas import DRAFT_07, read_section, section_schema, unsaid

COMMENT = re.compile(r"contract=([a-z][a-z0-9_]*); owner=([^;]+)(?:; criticality=([a-z_]+))?")
SECTIONS = ("context", "traits", "properties")
RULE_CALLS = frozenset(Call) - {Call.ALIAS}
COMMON = "common"
"""What a plan calls the schema that every event must keep; as the key of its rule too."""
RULES_A_CALL = 200
"""Segment's API takes so many rules at once."""


def tracking_plan(
    contracts: Iterable[EventContract], *, envelope: EnvelopeContract | None = None
) -> tuple[dict[str, Any], list[Loss]]:
    """Every version of the contracts as a rule: `{"rules": [...]}`, the body that the Public API takes; and losses."""
    rules: list[dict[str, Any]] = []
    losses: list[Loss] = []
    for contract in contracts:
        if contract.call not in RULE_CALLS:
            sentence = f"is of the call '{contract.call.value}', of which Segment has no rules; left out."
            losses.append(Loss(path=contract.slug, sentence=sentence))
            continue
        for version in contract.versions:
            path = f"{contract.slug}.{version.version}"
            for rule in version.properties:
                losses += unsaid(rule, f"{path}.{rule.name}")
            sections: dict[str, Any] = {name: {} for name in SECTIONS}
            sections[contract.section] = section_schema(version.properties)
            rules.append(
                {
                    "type": contract.call.value.upper(),
                    "key": contract.name,
                    "version": int(version.version[1:]),
                    "jsonSchema": {
                        "$schema": DRAFT_07,
                        "$comment": _told(contract),
                        "description": contract.description,
                        "type": "object",
                        "properties": sections,
                        "required": (
                            [contract.section] if any(rule.is_required for rule in version.properties) else []
                        ),
                    },
                }
            )
    if envelope is not None:
        rule, lost = _common(envelope)
        rules.append(rule)
        losses += lost
    if len(rules) > RULES_A_CALL:
        losses.append(Loss(path="rules", sentence=f"are {len(rules)}; Segment takes {RULES_A_CALL} a call."))
    return {"rules": rules}, losses


def read_tracking_plan(document: Any) -> tuple[tuple[Proposal, ...], list[Loss]]:
    """Proposals from a plan, and everything in it that a contract cannot say. Raises WrongUse where it is no plan."""
    losses: list[Loss] = []
    proposals: list[Proposal] = []
    for path, rule in _rules(document, losses):
        proposal, lost = _proposal(path, rule)
        losses += lost
        proposals += [proposal] if proposal is not None else []
    return tuple(proposals), losses


def _common(envelope: EnvelopeContract) -> tuple[dict[str, Any], list[Loss]]:
    """The envelope's contract as the rule that every event of a plan must keep; and what it cannot say."""
    version = envelope.current
    losses = [
        Loss(
            path=f"{ENVELOPE}.{other.version}",
            sentence=f"is not written: a plan has one common schema, without versions, and {version.version} judges.",
        )
        for other in envelope.versions
        if other != version
    ]
    for rule in version.properties:
        losses += unsaid(rule, f"{ENVELOPE}.{version.version}.{rule.name}")
    section = section_schema(version.properties)
    properties: dict[str, Any] = section["properties"]
    silent: dict[str, Any] = {name: {} for name in SECTIONS if name not in properties}
    schema: dict[str, Any] = {
        "$schema": DRAFT_07,
        "$comment": f"contract={ENVELOPE}; owner={envelope.owner}",
        "description": envelope.description,
        **section,
        "properties": properties | silent,
    }
    return {"type": COMMON.upper(), "key": COMMON, "version": int(version.version[1:]), "jsonSchema": schema}, losses


def _read_common(
    path: str, schema: dict[str, Any], *, version: str, losses: list[Loss]
) -> tuple[Proposal | None, list[Loss]]:
    """A plan's common schema as a proposal for the envelope's contract; None where it promises nothing."""
    _, owner, _ = _comment(schema, path, losses)
    description = schema.pop("description", "")
    listed = schema.get("properties")
    if isinstance(listed, Mapping):
        said = cast("Mapping[str, Any]", listed)
        schema["properties"] = {
            name: one for name, one in said.items() if name not in SECTIONS or one not in ({}, True)
        }
    found, lost = read_section(schema, f"{path}.jsonSchema")
    if not found:
        return None, losses + lost
    return Proposal(
        slug=ENVELOPE,
        call=None,
        name=ENVELOPE,
        version=version,
        properties=found,
        description=description if isinstance(description, str) else "",
        owner=owner,
    ), losses + lost


def _told(contract: EventContract) -> str:
    return f"contract={contract.slug}; owner={contract.owner}; criticality={contract.criticality.value}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _rules(document: Any, losses: list[Loss]) -> list[tuple[str, dict[str, Any]]]:
    """The rules of a plan as the Public API has them, with their places."""
    data = _mapping(_mapping(document).get("data", document))
    plan = _mapping(data.get("trackingPlan", data))
    rules = data.get("rules", plan.get("rules"))
    losses += [
        Loss(path=word, sentence=f"'{word}' is said of the plan as a whole, which no contract can be; left out.")
        for word in sorted({*data, *plan} - {"rules", "trackingPlan", "pagination"})
    ]
    if isinstance(rules, list):
        listed = cast("list[Any]", rules)
        return [(f"rules.{number}", dict(_mapping(rule))) for number, rule in enumerate(listed)]
    if not isinstance(rules, Mapping):
        raise WrongUse(
            "The file holds no tracking plan: it has neither a list of rules nor a typewriter's `rules`. "
            "Export the plan's rules from Segment's Public API, or name another --as."
        )
    legacy = _mapping(rules)
    found: list[tuple[str, dict[str, Any]]] = []
    for number, event in enumerate(cast("list[Any]", legacy.get("events") or [])):
        said = dict(_mapping(event))
        rule = {"type": "TRACK", "key": said.pop("name", None), "version": said.pop("version", 1)}
        schema = dict(_mapping(said.pop("rules", {})))
        if "description" in said:
            schema.setdefault("description", said.pop("description"))
        found.append((f"rules.events.{number}", {**rule, "jsonSchema": schema, **said}))
    for word, schema in sorted(legacy.items()):
        if word != "events" and schema:
            kind = "COMMON" if word == "global" else word.upper()
            found.append((f"rules.{word}", {"type": kind, "key": word, "version": 1, "jsonSchema": schema}))
    return found


def _proposal(path: str, rule: dict[str, Any]) -> tuple[Proposal | None, list[Loss]]:
    kind = str(rule.pop("type", "")).lower()
    key = rule.pop("key", None)
    stated = rule.pop("version", 1)
    schema = dict(_mapping(rule.pop("jsonSchema", {})))
    if kind not in RULE_CALLS and kind != COMMON:
        return None, [Loss(path=path, sentence=f"is of the kind '{kind}', which no contract can be; left out.")]
    call = None if kind == COMMON else Call(kind)
    if call is Call.TRACK and not (isinstance(key, str) and key):
        return None, [Loss(path=path, sentence="names no event; left out.")]
    losses = [
        Loss(path=f"{path}.{word}", sentence=f"'{word}' cannot be said in a contract; left out.")
        for word, value in sorted(rule.items())
        if value not in (None, "", [], {}) and word not in ("createdAt", "updatedAt")
    ]
    version = int(stated) if isinstance(stated, int | float) and not isinstance(stated, bool) else 0
    if version < 1 or version != stated:
        losses.append(Loss(path=f"{path}.version", sentence="is no whole number from 1; the proposal is v1."))
        version = 1
    if call is None:
        return _read_common(path, schema, version=f"v{version}", losses=losses)
    name = str(key) if call is Call.TRACK else call.value
    slug, owner, criticality = _comment(schema, path, losses)
    section = "traits" if call in (Call.IDENTIFY, Call.GROUP) else "properties"
    found, lost = read_call(schema, section, f"{path}.jsonSchema")
    description = schema.get("description", "")
    return Proposal(
        slug=slug if slug and slug not in RESERVED else slug_of(name),
        call=call,
        name=name,
        version=f"v{version}",
        properties=found,
        description=description if isinstance(description, str) else "",
        owner=owner,
        criticality=criticality,
    ), losses + lost


def _comment(schema: dict[str, Any], path: str, losses: list[Loss]) -> tuple[str, str, str]:
    """Folder, owner and criticality (none of the envelope), where we wrote them; any other comment is a loss."""
    comment = schema.pop("$comment", None)
    if comment is None:
        return "", "", ""
    told = COMMENT.fullmatch(comment) if isinstance(comment, str) else None
    if told is None or (told[3] is None and told[1] != ENVELOPE) or (told[3] or "standard") not in set(Criticality):
        losses.append(Loss(path=f"{path}.jsonSchema.$comment", sentence="is left out."))
        return "", "", ""
    return told[1], told[2], told[3] or ""
