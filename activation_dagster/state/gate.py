"""The gate: the one transaction in which a pending send becomes claimed, or is refused because a *no* came first.

Everything that may forbid a message is read here, under locks that its writers take too: halts under the halt row, the
person's consent and suppressions under the subject rows of every profile that the person ever was. A destination is
called only after this transaction committed.

The halt row is the only thing a claim waits for, and it holds nothing then: ledger rows and subject rows that somebody
else holds are passed by, and those sends wait for the next claim. So a claim is never part of a deadlock, a slow writer
of consent never stops it, and a person whose cluster grew while we locked it simply comes later.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, or_, select

from activation_dagster.domain.consent import ConsentRecord, ConsentRules, judge_consent
from activation_dagster.domain.reasons import GateRefusal, SendFailure
from activation_dagster.domain.sends import MAY_HAVE_ARRIVED, Message, SendStatus
from activation_dagster.state import consent, halts, suppressions
from activation_dagster.state.answers import SendInDoubt, open_unknown_incidents
from activation_dagster.state.bulk import select_in, update_by_key
from activation_dagster.state.engine import State
from activation_dagster.state.halts import Halt
from activation_dagster.state.instants import instant, micros
from activation_dagster.state.kin import kin_of
from activation_dagster.state.send_copies import mark_changed
from activation_dagster.state.subjects import Cluster, cluster_of, lock_free_subjects
from activation_dagster.state.suppressions import Suppression
from activation_dagster.state.tables import sends

Candidate = Row[*tuple[Any, ...]]

NEVER_AGAIN = -1

CLAIMED_COLUMNS = ("status", "reason", "claim_token", "claimed_at", "lease_until", "attempts", "consent_evidence")
REFUSED_COLUMNS = ("status", "reason", "answered_at", "consent_evidence")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedSend:
    """A send that is ours to deliver until `lease_until` (UTC); `attempts` counts this one."""

    message: Message
    destination: str
    workflow_id: str
    profile_id: str
    channel: str
    attempts: int
    in_doubt: bool
    landed_at: datetime
    lease_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one claim did: the sends to deliver, how many it ended without a message, how many it looked at and left.

    Waiting are the sends of somebody who already has one in this claim, or whose rows somebody else held; when nothing
    was claimed nor refused, sleep before the next claim.
    """

    claim_token: str
    claimed: tuple[ClaimedSend, ...]
    refused: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the transaction read under its locks."""

    now: datetime
    rules: ConsentRules
    consents: Mapping[str, list[ConsentRecord]]
    suppressed: Mapping[str, list[Suppression]]
    earlier: Mapping[tuple[str, str], list[tuple[str, int]]]  # (profile, workflow) → (send_key, claimed_at)


def claim(
    state: State,
    rules: ConsentRules,
    *,
    now: datetime,
    limit: int,
    claim_token: str,
    lease_seconds: float,
    destination: str,
    endpoint: str | None = None,
    owner: str = "on_call",
) -> Claim:
    """Claim up to `limit` due sends of a destination, the longest due first and at most one a person.

    A halted send stays pending. A send is refused (or, if it expired, expired) by a suppression, by consent that is no
    longer there, or by another message of the same workflow inside its re-entry time; where an earlier attempt of this
    very send may have arrived it becomes unknown instead, because refused would say that it did not. A `limit` of 500
    held SQLite's write lock for 74 ms at most on two free cores, and 340 ms on two busy ones (`bench/gate.py`).
    """
    lease_until = now + timedelta(seconds=lease_seconds)
    with state.write() as connection:
        halts.hold_for_share(connection)
        in_force = halts.active(connection)
        candidates = _candidates(connection, in_force, now=now, limit=limit, destination=destination, endpoint=endpoint)
        if not candidates:
            return Claim(claim_token=claim_token, claimed=(), refused=0, waiting=0)
        chosen = _one_a_person(candidates, _held_clusters(connection, candidates))
        known = _read(connection, rules, chosen, now)
        allowed: list[tuple[Any, ...]] = []
        ended: list[tuple[Any, ...]] = []
        ended_in: set[str] = set()
        doubtful: list[SendInDoubt] = []
        rows: list[Candidate] = []
        for row, (_, members) in chosen:
            refusal, evidence = _judge(row, members, known)
            proof = json.dumps(evidence, sort_keys=True, separators=(",", ":"))
            if refusal is None:
                rows.append(row)
                allowed.append(
                    (
                        row.send_key,
                        "claimed",
                        "",
                        claim_token,
                        micros(now),
                        micros(lease_until),
                        row.attempts + 1,
                        proof,
                    )
                )
                continue
            ended_in.add(row.batch_id)
            if row.in_doubt:
                doubtful.append(SendInDoubt(destination=row.destination, endpoint=row.endpoint))
                ended.append((row.send_key, "unknown", SendFailure.OUTCOME_UNKNOWN.value, micros(now), proof))
            else:
                status = SendStatus.EXPIRED if refusal is GateRefusal.EXPIRED else SendStatus.REFUSED
                ended.append((row.send_key, status.value, refusal.value, micros(now), proof))
        update_by_key(connection, sends, "send_key", CLAIMED_COLUMNS, allowed)
        update_by_key(connection, sends, "send_key", REFUSED_COLUMNS, ended)
        mark_changed(connection, ended_in)
        open_unknown_incidents(connection, doubtful, owner=owner, now=now)
    return Claim(
        claim_token=claim_token,
        claimed=tuple(_claimed(row, lease_until) for row in rows),
        refused=len(ended),
        waiting=len(candidates) - len(allowed) - len(ended),
    )


def _candidates(
    connection: Connection,
    in_force: Iterable[Halt],
    *,
    now: datetime,
    limit: int,
    destination: str,
    endpoint: str | None,
) -> Sequence[Candidate]:
    """Due sends that no halt covers, locked on PostgreSQL; what others hold is passed by."""
    scopes = {halt.scope for halt in in_force}
    if "*" in scopes or f"destination:{destination}" in scopes:
        return ()
    query = (
        select(sends)
        .where(sends.c.status == "pending", sends.c.due_at <= micros(now), sends.c.destination == destination)
        .order_by(sends.c.due_at, sends.c.send_key)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    if endpoint is not None:
        query = query.where(sends.c.endpoint == endpoint)
    for kind, column in (("workflow:", sends.c.workflow_id), ("channel:", sends.c.channel)):
        halted = sorted(scope.removeprefix(kind) for scope in scopes if scope.startswith(kind))
        if halted:
            query = query.where(column.not_in(halted))
    return connection.execute(query).all()


def _held_clusters(connection: Connection, candidates: Iterable[Candidate]) -> dict[str, Cluster]:
    """The person of each candidate whose every subject row is locked by this transaction now."""
    profile_ids = {row.profile_id for row in candidates}
    before = cluster_of(connection, profile_ids)
    if connection.dialect.name == "sqlite":
        return before
    held = lock_free_subjects(connection, {member for _, members in before.values() for member in members})
    after = cluster_of(connection, profile_ids)  # a merge may have committed before we had the locks
    return {profile: cluster for profile, cluster in after.items() if cluster[1] <= held}


def _one_a_person(candidates: Iterable[Candidate], clusters: Mapping[str, Cluster]) -> list[tuple[Candidate, Cluster]]:
    """The first due send of each person that is held; two of one claim could not see one another in the ledger."""
    chosen: dict[str, tuple[Candidate, Cluster]] = {}
    for row in candidates:
        cluster = clusters.get(row.profile_id)
        if cluster is not None:
            chosen.setdefault(cluster[0], (row, cluster))
    return list(chosen.values())


def _read(
    connection: Connection, rules: ConsentRules, chosen: Sequence[tuple[Candidate, Cluster]], now: datetime
) -> _Known:
    everybody = {member for _, (_, members) in chosen for member in members}
    return _Known(
        now=now,
        rules=rules,
        consents=consent.records_of(connection, everybody),
        suppressed=suppressions.active_for(connection, everybody),
        earlier=_earlier(connection, chosen),
    )


def _earlier(
    connection: Connection, chosen: Sequence[tuple[Candidate, Cluster]]
) -> dict[tuple[str, str], list[tuple[str, int]]]:
    """Sends that the people with a re-entry rule may have got: claimed, sent or unknown, or in doubt and pending.

    What was intended for somebody who was the same person then, and by a plan or an unmerge is another now, counts too.
    """
    asked = [(row, members) for row, (_, members) in chosen if row.reentry_seconds is not None]
    query = select(sends.c.profile_id, sends.c.workflow_id, sends.c.send_key, sends.c.claimed_at, sends.c.seq).where(
        sends.c.workflow_id.in_(sorted({row.workflow_id for row, _ in asked})),
        or_(sends.c.status.in_([status.value for status in MAY_HAVE_ARRIVED]), sends.c.in_doubt),
        sends.c.claimed_at.is_not(None),
    )
    found: dict[tuple[str, str], list[tuple[str, int]]] = {}
    profile_ids = {member for _, members in asked for member in members}
    for profile_id, workflow_id, send_key, claimed_at, _ in select_in(
        connection, query, sends.c.profile_id, profile_ids
    ):
        found.setdefault((profile_id, workflow_id), []).append((send_key, claimed_at))
    kin = kin_of(connection, [cluster for row, cluster in chosen if row.reentry_seconds is not None])
    once = {profile for theirs in kin.values() for profile in theirs}
    for profile_id, workflow_id, send_key, claimed_at, seq in select_in(connection, query, sends.c.profile_id, once):
        for person, theirs in kin.items():
            if seq <= theirs.get(profile_id, -1):
                found.setdefault((person, workflow_id), []).append((send_key, claimed_at))
    return found


def _judge(row: Candidate, members: frozenset[str], known: _Known) -> tuple[GateRefusal | None, dict[str, Any]]:
    """Why this send may not go out now (None: it may), and what was read to say so."""
    evidence: dict[str, Any] = {"checked_at": micros(known.now), "rules": known.rules.version}
    if row.expires_at <= micros(known.now):
        return GateRefusal.EXPIRED, evidence | {"expired_at": row.expires_at}
    hard = [
        found.suppression_id
        for member in members
        for found in known.suppressed.get(member, ())
        if found.covers(row.channel)
    ]
    if hard:
        return GateRefusal.SUPPRESSED_SINCE, evidence | {"suppressions": sorted(hard)}
    verdict = judge_consent(
        known.rules,
        [record for member in members for record in known.consents.get(member, ())],
        purpose=row.purpose,
        channel=row.channel,
        # a region that the rules no longer know is the strictest one
        region=row.region if row.region in known.rules.regions else known.rules.default_region,
        at=known.now,
    )
    evidence["records"] = [record.record_id for record in verdict.evidence]
    if not verdict.allowed:
        return GateRefusal.CONSENT_WITHDRAWN, evidence | {"consent": str(verdict.reason)}
    since = None
    if row.reentry_seconds is not None and row.reentry_seconds != NEVER_AGAIN:
        since = micros(known.now) - row.reentry_seconds * 1_000_000
    if row.reentry_seconds is not None:
        for member in sorted(members):
            for send_key, claimed_at in known.earlier.get((member, row.workflow_id), ()):
                if send_key != row.send_key and (since is None or claimed_at > since):
                    return GateRefusal.INSIDE_REENTRY, evidence | {"earlier_send": send_key}
    return None, evidence


def _claimed(row: Candidate, lease_until: datetime) -> ClaimedSend:
    return ClaimedSend(
        message=Message(
            send_key=row.send_key,
            endpoint=row.endpoint,
            subject=row.subject,
            profile_key=row.profile_key,
            audience_id=row.audience_id,
            validated_at=instant(row.validated_at),
            consent_checked=True,  # this transaction just did
            created_at=instant(row.triggered_at),
            data_fields=json.loads(row.data_fields),
            profile_fields=json.loads(row.profile_fields),
        ),
        destination=row.destination,
        workflow_id=row.workflow_id,
        profile_id=row.profile_id,
        channel=row.channel,
        attempts=row.attempts + 1,
        in_doubt=row.in_doubt,
        landed_at=instant(row.landed_at),
        lease_until=lease_until,
    )
