"""Accounts of links: what the batch's events offered, counted anew, against what the ledger in state says became of it.

Offered is counted in SQL from the events as validated, told is read back from state, and what neither is accepted nor
left out must stand in state on the event's own profile. So what resolving forgets, and what state loses, is seen.
"""

from __future__ import annotations

from sqlalchemy import select

from activation_dagster.domain.identifiers import Identifier
from activation_dagster.domain.links import LinkDecision
from activation_dagster.domain.reasons import LinkRefusal
from activation_dagster.lake.rule_sql import literal
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.state import identity as graph_state
from activation_dagster.state.bulk import select_in
from activation_dagster.state.tables import identifiers, links

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
    asked = engine.texts("select distinct event_id from offered_links union select event_id from told_events")
    with run.places.state.read() as connection:
        query = select(links.c.event_id, links.c.kind, links.c.decision).where(links.c.seq == run.position)
        engine.put(
            "ledger_links",
            {"event_id": "VARCHAR", "kind": "VARCHAR", "decision": "VARCHAR"},
            select_in(connection, query, links.c.event_id, asked),
        )
    _make_standing(run)
    engine.forget("looked_at")


def _make_standing(run: BatchRun) -> None:
    """Make `standing_links`: offered identifiers that the ledger does not tell of, and whether they were known."""
    engine = run.engine
    kinds = {kind.name: kind for kind in run.contracts.identity.kinds}
    silent = engine.connection.execute(
        "select o.event_id, o.kind, o.raw, r.profile_id from offered_links as o "
        "anti join ledger_links as l on l.event_id = o.event_id and l.kind = o.kind "
        "join resolved_events as r on r.event_id = o.event_id"
    )
    found: list[tuple[str, str, bool]] = []
    with run.places.state.read() as connection:
        while chunk := silent.fetchmany(AT_ONCE):
            wanted: dict[tuple[str, str], bytes] = {}
            for event_id, kind, raw, _ in chunk:
                value = kinds[kind].reading(raw)
                if not isinstance(value, LinkRefusal):
                    wanted[event_id, kind] = Identifier(kind, value).key
            columns = (identifiers.c.key, identifiers.c.profile_id, identifiers.c.event_id)
            query = select(*columns).where(identifiers.c.seq <= run.position)
            owners = {
                bytes(key): (owner, by)
                for key, owner, by in select_in(connection, query, identifiers.c.key, set(wanted.values()))
            }
            redirects, _ = graph_state.clusters(
                connection, {owner for owner, _ in owners.values()}, up_to_seq=run.position
            )
            for event_id, kind, _, profile in chunk:
                key = wanted.get((event_id, kind))
                owner, by = owners.get(key, (None, "")) if key is not None else (None, "")
                # what this very event attached, the ledger must tell of
                is_known = owner is not None and by != event_id and redirects.get(owner, owner) == profile
                found.append((event_id, kind, is_known))
    engine.put("standing_links", {"event_id": "VARCHAR", "kind": "VARCHAR", "is_known": "BOOLEAN"}, found)


def link_counts(run: BatchRun) -> dict[str, int]:
    """Links offered, those that the ledger tells of by decision, and those that told nothing new (`links_known`)."""
    engine = run.engine
    told: dict[str, int] = dict(engine.rows("select decision, count(*) from ledger_links group by decision"))
    return {
        "links_offered": engine.one("select count(*) from offered_links")[0],
        "links_known": engine.one("select count(*) from standing_links where is_known")[0],
    } | {f"links_{decision.value}": told.get(decision.value, 0) for decision in LinkDecision}
