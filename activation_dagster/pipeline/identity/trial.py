"""Trying an identity contract on a file of events: the rules alone, without state, contracts of events or a lake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activation_dagster.domain.events import TIMES, occurred_at, text_of
from activation_dagster.domain.identifiers import IdentityRules
from activation_dagster.domain.identity import IdentityGraph
from activation_dagster.domain.lexical import read_event
from activation_dagster.domain.links import Link, LinkDecision
from activation_dagster.domain.reasons import DecisionRefusal, QuarantineReason
from activation_dagster.domain.times import read_instant
from activation_dagster.registry.identity_rules import load_rules
from activation_dagster.state.instants import EPOCH, micros


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedConflict:
    """An identifier that the rules kept from its event's profile. `other_profile_id` has it, or is empty."""

    kind: str
    decision: LinkDecision
    reason: str
    profile_id: str
    other_profile_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What the rules make of one line; `reason` is empty where it has a profile."""

    message_id: str | None
    profile_id: str | None
    reason: str
    conflicts: tuple[TriedConflict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A line as it was seen, before later lines merged profiles."""

    message_id: str | None
    profile_id: str | None
    reason: str
    links: tuple[Link, ...] = ()


def try_rules(rules_file: Path, lines: Iterable[bytes]) -> Iterator[Tried]:
    """One answer a line (blank ones have none), in the order of the file, once the last line was seen.

    Profiles are those that stand at the end of the file. Raises ContractsInvalid with every fault of the rules.
    """
    rules = load_rules(rules_file)
    graph = IdentityGraph(rules)
    seen = [_see(rules, graph, line, number) for number, line in enumerate(lines) if line.strip()]
    return (_told(graph, one) for one in seen)


def _see(rules: IdentityRules, graph: IdentityGraph, line: bytes, number: int) -> _Seen:
    event = read_event(line)
    if isinstance(event, QuarantineReason):
        return _Seen(message_id=None, profile_id=None, reason=event.value)
    usable, refused = rules.read(
        next((text for path in kind.paths if (text := text_of(event, path)) is not None), None) for kind in rules.kinds
    )
    event_id = str(number)
    profile = graph.see(event_id, usable, refused, rank=number, at=_happened_at(event))
    links, graph.changes.links[:] = tuple(graph.changes.links), []
    reason = ""
    if profile is None:
        is_conflict = event_id in graph.changes.quarantined
        reason = (DecisionRefusal.IDENTITY_CONFLICT if is_conflict else DecisionRefusal.NO_PROFILE).value
    said = event.get("messageId")
    return _Seen(
        message_id=said if isinstance(said, str) else None,
        profile_id=profile,
        reason=reason,
        links=tuple(link for link in links if link.decision not in (LinkDecision.ACCEPTED, LinkDecision.BLOCKED)),
    )


def _told(graph: IdentityGraph, seen: _Seen) -> Tried:
    def now(profile: str) -> str:
        return graph.canonical(profile) if profile else ""

    return Tried(
        message_id=seen.message_id,
        profile_id=None if seen.profile_id is None else now(seen.profile_id),
        reason=seen.reason,
        conflicts=tuple(
            TriedConflict(
                kind=link.identifier.kind,
                decision=link.decision,
                reason="" if link.refusal is None else link.refusal.value,
                profile_id=now(link.profile_id),
                other_profile_id=now(link.other_profile_id),
            )
            for link in seen.links
        ),
    )


def _happened_at(event: Mapping[str, Any]) -> int:
    """Microseconds of the event's own time, corrected for its clock as in ingestion; 0 where it names none."""
    times = [read_instant(text) if isinstance(text := event.get(name), str) else None for name in TIMES]
    timestamp, original, sent, received = times
    if received is None:
        sent = None  # without a time of receipt a clock cannot be corrected
    return micros(occurred_at(timestamp=timestamp, original=original, sent=sent, received=received or EPOCH))
