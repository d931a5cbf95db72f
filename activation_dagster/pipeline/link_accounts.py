"""Accounts of links: what the batch's events offered, counted anew, against what the ledger in state says became of it.

Offered is counted in SQL from the events as validated, told is read back from state, and what neither is accepted nor
left out must stand in state on the event's own profile. So what resolving forgets, and what state loses, is seen.
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter

from sqlalchemy import select

from activation_dagster.domain.identifiers import Identifier
from activation_dagster.domain.links import LinkDecision
from activation_dagster.lake.rule_sql import literal
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.state import identity as graph_state
from activation_dagster.state.bulk import select_in
from activation_dagster.state.former import then
from activation_dagster.state.tables import identifiers

AT_ONCE = 50_000
"""Identifiers that are looked up in one go, so that a batch of millions does not stand in memory."""


def account_links(run: BatchRun) -> None:
    """Make `offered_links`, `ledger_links` and `standing_links`, which sql/checks/offered_links__… compares.

    Looked at are the first event of each distinct set of identifiers and every event that the ledger tells of
    (`told_events`): what comes again and agrees says nothing.
    """
    if run.engine.has("standing_links"):
        return
    engine, kinds = run.engine, run.contracts.identity.kinds
    names = ", ".join(f"id_{kind.name}" for kind in kinds)
    offered = "\nunion all\n".join(
        f"select v.event_id, {literal(kind.name)} as kind, v.id_{kind.name} as raw "
        f"from validated_events as v semi join looked_at using (ordinal) where v.id_{kind.name} is not null"
        for kind in kinds
    )
    engine.make(
        "looked_at",
        f"select min(ordinal) as ordinal from validated_events group by {names} "
        "union select v.ordinal from validated_events as v semi join told_events using (event_id)",
    )
    engine.make("offered_links", offered)
    segments = engine.texts("select segment_id from segments order by segment_id")
    with run.places.state.read() as connection:
        engine.put(
            "ledger_links",
            {"event_id": "VARCHAR", "kind": "VARCHAR", "decision": "VARCHAR"},
            graph_state.links_told(connection, segments, position=run.position),
        )
    _make_standing(run)
    engine.forget("looked_at")


def _make_standing(run: BatchRun) -> None:
    """Make `standing_links`: offered identifiers that the ledger does not tell of, and whether they were known.

    Known is what stands on the event's own profile and was attached by another event: what an event attaches itself,
    the ledger must tell of. What state was seen to know before a large batch (`known_values`) is not looked up again.
    """
    engine, kinds = run.engine, {kind.name: kind for kind in run.contracts.identity.kinds}
    engine.make(
        "silent_links",
        "select o.event_id, o.kind, o.raw from offered_links as o "
        "anti join ledger_links as l on l.event_id = o.event_id and l.kind = o.kind",
    )
    if not engine.has("known_values"):
        engine.put("known_values", dict.fromkeys(("kind", "raw", "owner"), "VARCHAR"), [])
    values = engine.connection.execute(
        "select distinct kind, raw from silent_links as s "
        "anti join known_values as k on k.kind = s.kind and k.raw = s.raw"
    )
    found: list[tuple[str, str, str, str]] = []
    with run.places.state.read() as connection:
        held = then(connection, identifiers, run.position).c
        query = select(held.key, held.profile_id, held.event_id).where(held.seq <= run.position)
        while chunk := values.fetchmany(AT_ONCE):
            asked: dict[bytes, list[tuple[str, str]]] = {}
            for kind, offered in groupby(sorted(chunk), key=itemgetter(0)):
                raws = [raw for _, raw in offered]
                for raw, value in zip(raws, kinds[kind].readings(raws), strict=True):
                    if value is not None:
                        asked.setdefault(Identifier(kind, value).key, []).append((kind, raw))
            for key, owner, event_id in select_in(connection, query, held.key, asked):
                found += [(kind, raw, owner, event_id) for kind, raw in asked[bytes(key)]]
    engine.put("standing_values", dict.fromkeys(("kind", "raw", "owner", "event_id"), "VARCHAR"), found)
    engine.make(
        "standing_owners",
        "select s.event_id, s.kind, v.owner, v.event_id as attached_by, r.profile_id from silent_links as s "
        "join resolved_events as r on r.event_id = s.event_id "
        "left join (select * from standing_values union all by name select kind, raw, owner from known_values) as v "
        "on v.kind = s.kind and v.raw = s.raw",
    )
    # few owners are not themselves the profile of the event: only theirs is looked up
    others = engine.texts("select distinct owner from standing_owners where owner <> profile_id")
    with run.places.state.read() as connection:
        redirects, _ = graph_state.clusters(connection, others, up_to_seq=run.position)
    engine.put("owners_today", dict.fromkeys(("owner", "profile_id"), "VARCHAR"), sorted(redirects.items()))
    engine.make(
        "standing_links",
        "select s.event_id, s.kind, "
        "coalesce(coalesce(t.profile_id, s.owner) = s.profile_id, false) "
        "and s.attached_by is distinct from s.event_id as is_known "
        "from standing_owners as s left join owners_today as t on t.owner = s.owner",
    )
    engine.forget("silent_links", "standing_values", "standing_owners", "owners_today")


def link_counts(run: BatchRun) -> dict[str, int]:
    """Links offered, those that the ledger tells of by decision, and those that told nothing new (`links_known`)."""
    engine = run.engine
    told: dict[str, int] = dict(engine.rows("select decision, count(*) from ledger_links group by decision"))
    return {
        "links_offered": engine.one("select count(*) from offered_links")[0],
        "links_known": engine.one("select count(*) from standing_links where is_known")[0],
    } | {f"links_{decision.value}": told.get(decision.value, 0) for decision in LinkDecision}
