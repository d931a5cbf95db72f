"""Conflicts: events left to nobody are written down to wait, a jump of conflicts becomes an incident, and what waits is
judged again under today's identity contract.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from activation_dagster.domain.conflicts import LinkCount, has_jumped, usual_share
from activation_dagster.domain.events import TIMES, occurred_at, text_of
from activation_dagster.domain.identity import IdentityGraph
from activation_dagster.domain.lexical import read_event
from activation_dagster.domain.links import IdentityChanges, Link, LinkDecision, disputed
from activation_dagster.domain.reasons import DecisionRefusal, IncidentKind, QuarantineReason
from activation_dagster.domain.times import read_instant
from activation_dagster.lake.taken_sql import drops
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.traits import NO_LIMIT
from activation_dagster.pipeline.verdicts import Verdict
from activation_dagster.pipeline.watch import owner_of
from activation_dagster.registry.contract_set import ContractSet
from activation_dagster.state import identity as graph_state
from activation_dagster.state.conflicts import add_conflicts, link_counts_before
from activation_dagster.state.incidents import open_incident
from activation_dagster.state.instants import micros


def write_conflicts(run: BatchRun, changes: IdentityChanges) -> None:
    """Write down the events that the identity contract leaves to nobody, keyed by event: what stands wins.

    Reads `resolved_events`. What comes again with the same identifiers is nobody's too; the first of them tells why.
    """
    if not changes.quarantined:
        return
    engine, rules = run.engine, run.contracts.identity
    links = _links_of(changes, changes.quarantined)
    engine.put("told_conflicts", {"event_id": "VARCHAR"}, [(event_id,) for event_id in sorted(changes.quarantined)])
    rows = engine.rows(
        "select v.event_id, v.contract, coalesce(v.contract_version, ''), coalesce(t.event_id, first_value(v.event_id) "
        f"over (partition by {', '.join(f'v.id_{kind.name}' for kind in rules.kinds)} order by v.ordinal)) as told_by "
        "from validated_events as v join resolved_events as r on r.ordinal = v.ordinal "
        "left join told_conflicts as t on t.event_id = v.event_id "
        f"where r.unresolved_reason = '{DecisionRefusal.IDENTITY_CONFLICT.value}' order by v.ordinal"
    )
    engine.forget("told_conflicts")
    hour = micros(run.batch.arrival_hour)
    add_conflicts(
        run.state,
        [
            (
                event_id,
                run.batch.batch_id,
                hour,
                run.position,
                contract,
                version,
                told_by,
                json.dumps(_violations(links[told_by])),
                rules.owner,
                rules.version,
            )
            for event_id, contract, version, told_by in rows
        ],
    )


def _links_of(changes: IdentityChanges, event_ids: set[str]) -> dict[str, list[Link]]:
    found: dict[str, list[Link]] = {event_id: [] for event_id in event_ids}
    for link in changes.links:
        if link.event_id in found:
            found[link.event_id].append(link)
    return found


def _violations(links: Sequence[Link]) -> list[str]:
    return [f"{link.identifier.kind}: {link.refusal}" for link in disputed(links)]


# -- when there are more of them than there were ----------------------------------------------------------------------


def note_jump(run: BatchRun, counts: Mapping[str, int], *, closed_before: bool) -> dict[str, int]:
    """Compare a batch's conflicts with the batches before it; a jump opens an incident, once.

    Gives `conflicts_jumped` (1 or 0) and `usual_conflicts_millionths`, the usual share of links. A batch that was
    closed before has told of its jump, and somebody may have resolved it.
    """
    now = LinkCount(offered=counts["links_offered"], conflicts=counts[f"links_{LinkDecision.CONFLICT}"])
    with run.places.state.read() as connection:
        before = link_counts_before(connection, run.position)
    jumped = has_jumped(run.contracts.identity.conflict_jump, now, before)
    usual = usual_share(before)
    if jumped and not closed_before:
        with run.state.write() as connection:
            open_incident(
                connection,
                IncidentKind.IDENTITY_CONFLICTS,
                about="links",
                owner=owner_of(run.places, IncidentKind.IDENTITY_CONFLICTS),
                sentence=f"{now.conflicts:,} of {now.offered:,} links are in conflict ({now.share:.1%}, usually "
                f"{usual:.1%}), in batch {run.batch.batch_id}. Find the source that gives many people one identifier "
                "(`activation quarantine list --reason identity_conflict`, `activation identity show`), and mend it.",
                now=run.places.clock(),
                batch_id=run.batch.batch_id,
            )
    return {"conflicts_jumped": int(jumped), "usual_conflicts_millionths": round(usual * 1_000_000)}


# -- judged again -----------------------------------------------------------------------------------------------------


class JudgedAgain:
    """Today's identity contract and graph, and the events that would enter again, in the order they would."""

    def __init__(self, places: Places, contracts: ContractSet) -> None:
        self._places = places
        self._contracts = contracts

    def verdicts(self, lines: Sequence[tuple[str, bytes, Verdict, datetime]]) -> dict[str, Verdict]:
        """Of events (id, line, the contract's verdict, when it was sealed) that would still be nobody's: the verdict.

        They are seen one after the other, as they would enter: one may be what makes another somebody's.
        """
        rules = self._contracts.identity
        read = [
            (event_id, *rules.read(self._raw(event, verdict)), _happened_at(event, sealed_at))
            for event_id, line, verdict, sealed_at in lines
            if isinstance(event := read_event(line), dict)
        ]
        wanted = {identifier for _, usable, _, _ in read for identifier in usable}
        sharing = {kind.name for kind in rules.kinds if kind.shared is not None}
        with self._places.state.read() as connection:
            part = graph_state.load_part(connection, wanted, up_to_seq=NO_LIMIT)
            asked = [one for one in wanted if one.kind in sharing]
            companions = graph_state.companions_of(connection, asked, up_to_seq=NO_LIMIT) if asked else {}
        graph = IdentityGraph(
            rules,
            ages=graph_state.ages_of(self._places.state, part.members, up_to_seq=NO_LIMIT),
            identifiers=part.identifiers,
            redirects=part.redirects,
            companions=companions,
            position=NO_LIMIT,
        )
        for rank, (event_id, usable, refused, at) in enumerate(read):
            graph.see(event_id, usable, refused, rank=rank, at=at)
        links = _links_of(graph.changes, graph.changes.quarantined)
        by_id = {event_id: verdict for event_id, _, verdict, _ in lines}
        return {
            event_id: Verdict(
                reason=QuarantineReason.IDENTITY_CONFLICT,
                contract=by_id[event_id].contract,
                contract_version=by_id[event_id].contract_version,
                violations=tuple(_violations(found)),
            )
            for event_id, found in links.items()
        }

    def _raw(self, event: Mapping[str, Any], verdict: Verdict) -> list[str | None]:
        """The raw value of each kind in an event, as ingestion reads them of what its contract keeps."""
        contracts = self._contracts
        contract = contracts.events.get(verdict.contract or "")
        version = None if contract is None else contract.version(verdict.contract_version)
        paths = {kind.name: kind.paths for kind in contracts.identity.kinds}
        if contract is not None and version is not None:
            paths = {
                kind: tuple(path for path in found if not drops(contract, version, path))
                for kind, found in contracts.identifier_paths(contract, version).items()
            }
        return [
            next((text for path in paths[kind.name] if (text := text_of(event, path)) is not None), None)
            for kind in contracts.identity.kinds
        ]


def _happened_at(event: Mapping[str, Any], sealed_at: datetime) -> int:
    times = [read_instant(text) if isinstance(text := event.get(name), str) else None for name in TIMES]
    timestamp, original, sent, received = times
    return micros(occurred_at(timestamp=timestamp, original=original, sent=sent, received=received or sealed_at))
