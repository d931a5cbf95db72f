"""Answers: what becomes of a claimed send, by what the destination said or because nobody was left to listen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select

from activation_dagster.domain.destinations import Endpoint
from activation_dagster.domain.reasons import IncidentKind, SendFailure
from activation_dagster.domain.sends import SETTLED, Outcome, Receipt, SendStatus
from activation_dagster.state.bulk import select_in, update_by_key
from activation_dagster.state.engine import State
from activation_dagster.state.incidents import open_incident
from activation_dagster.state.instants import micros
from activation_dagster.state.send_copies import mark_changed
from activation_dagster.state.sends import CHUNK, lock_sends
from activation_dagster.state.subjects import lock_subjects
from activation_dagster.state.suppressions import EVERY_CHANNEL, write_suppression
from activation_dagster.state.tables import sends

FIRST_WAIT_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 900.0
STOPPED_WAIT_SECONDS = 300.0
LONGEST_RETRY_AFTER_SECONDS = 86_400.0
ANSWER_COLUMNS = ("status", "reason", "due_at", "answered_at", "http_status", "answer", "in_doubt")


@dataclass(frozen=True, slots=True, kw_only=True)
class SendInDoubt:
    """Where a send became unknown."""

    destination: str
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """How many sends `answer` moved where; `lost` are receipts for sends that were no longer ours."""

    sent: int = 0
    rejected: int = 0
    pending: int = 0
    unknown: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """How many claimed sends, whose lease ran out, went back to pending, and how many became unknown."""

    pending: int = 0
    unknown: int = 0


def backoff_seconds(attempts: int) -> float:
    """How long to wait after the `attempts`-th attempt (from 1): 2 s, doubled each time, at most 15 minutes."""
    return min(FIRST_WAIT_SECONDS * 2.0 ** min(attempts - 1, 30), LONGEST_WAIT_SECONDS)


def answer(
    state: State,
    claim_token: str,
    receipts: Iterable[Receipt],
    *,
    now: datetime,
    endpoint: Endpoint,
    owner: str = "on_call",
) -> Answered:
    """Write what a destination answered for sends of one claim, all in one transaction.

    A send that is no longer claimed under this token (its lease ran out and it was recovered) is left alone. Not
    arrived: pending again, due after a growing wait or when the destination said. In doubt: pending again where
    `endpoint` takes the key twice for once, else unknown, with an incident. A destination that forgot a person is
    believed: the person is suppressed on every channel. `owner` is who gets the incidents.
    """
    by_key = {receipt.send_key: receipt for receipt in receipts}
    forgotten = {key for key, receipt in by_key.items() if receipt.reason == SendFailure.FORGOTTEN_BY_DESTINATION.value}
    with state.write() as connection:
        lock_subjects(connection, _profiles_of(connection, forgotten))
        ours = [
            row for row in lock_sends(connection, by_key) if row.status == "claimed" and row.claim_token == claim_token
        ]
        changes = [_answered(row, by_key[row.send_key], endpoint, now) for row in ours]
        update_by_key(connection, sends, "send_key", ANSWER_COLUMNS, changes)
        statuses = [change[1] for change in changes]
        mark_changed(
            connection,
            (row.batch_id for row, status in zip(ours, statuses, strict=True) if SendStatus(status) in SETTLED),
        )
        for row in ours:
            if row.send_key in forgotten:
                write_suppression(
                    connection,
                    profile_id=row.profile_id,
                    channel=EVERY_CHANNEL,
                    reason=SendFailure.FORGOTTEN_BY_DESTINATION.value,
                    source=f"destination:{row.destination}",
                    now=now,
                    actor=f"destination:{row.destination}",
                )
        open_unknown_incidents(
            connection,
            [
                SendInDoubt(destination=row.destination, endpoint=row.endpoint)
                for row, status in zip(ours, statuses, strict=True)
                if status == "unknown"
            ],
            owner=owner,
            now=now,
        )
        stopped = {row.destination for row in ours if by_key[row.send_key].outcome is Outcome.STOPPED}
        for destination in sorted(stopped):
            open_incident(
                connection,
                IncidentKind.DESTINATION_STOPPED,
                about=destination,
                owner=owner,
                sentence=f"Destination '{destination}' takes no call until somebody acts, in the last delivery. "
                "Read the answers of its pending sends, mend its access; the sends go out by themselves.",
                now=now,
            )
    return Answered(
        sent=statuses.count("sent"),
        rejected=statuses.count("rejected"),
        pending=statuses.count("pending"),
        unknown=statuses.count("unknown"),
        lost=len(by_key) - len(ours),
    )


def _answered(row: Row[*tuple[Any, ...]], receipt: Receipt, endpoint: Endpoint, now: datetime) -> tuple[Any, ...]:
    """The ledger row's new values in the order of `ANSWER_COLUMNS`, after its key."""
    reason, wait, in_doubt = receipt.reason, 0.0, bool(row.in_doubt)
    match receipt.outcome:
        case Outcome.DELIVERED:
            status, in_doubt = SendStatus.SENT, False
        case Outcome.REJECTED:
            # a refusal now does not say that the earlier attempt, which nobody saw arrive, was refused too
            status = SendStatus.UNKNOWN if in_doubt else SendStatus.REJECTED
            reason = reason or SendFailure.REJECTED_BY_DESTINATION.value
        case Outcome.RETRY:
            status, wait = SendStatus.PENDING, backoff_seconds(row.attempts)
            reason = reason or SendFailure.DESTINATION_UNAVAILABLE.value
        case Outcome.STOPPED:
            status, wait = SendStatus.PENDING, STOPPED_WAIT_SECONDS
            reason = reason or SendFailure.DESTINATION_STOPPED.value
        case Outcome.IN_DOUBT:
            status = SendStatus.PENDING if endpoint.is_idempotent else SendStatus.UNKNOWN
            wait, in_doubt = backoff_seconds(row.attempts), True
            reason = reason or SendFailure.OUTCOME_UNKNOWN.value
    if status is SendStatus.UNKNOWN:
        reason = SendFailure.OUTCOME_UNKNOWN.value
    if receipt.retry_after_seconds is not None and receipt.retry_after_seconds >= 0:
        wait = min(receipt.retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS)
    due_at = micros(now + timedelta(seconds=wait)) if status is SendStatus.PENDING else row.due_at
    return (row.send_key, status.value, reason, due_at, micros(now), receipt.http_status, receipt.answer, in_doubt)


def recover(
    state: State, *, now: datetime, endpoints: Mapping[tuple[str, str], Endpoint], owner: str = "on_call"
) -> Recovered:
    """Take back claimed sends whose lease ran out: whoever claimed them died, before or after calling.

    `endpoints` by (destination, endpoint). Where the endpoint takes the key twice for once they are pending again, in
    doubt; elsewhere, and where the endpoint is not known any more, they are unknown, with an incident.
    """
    done = Recovered()
    query = (
        select(sends)
        .where(sends.c.status == "claimed", sends.c.lease_until <= micros(now))
        .order_by(sends.c.send_key)
        .limit(CHUNK)
        .with_for_update(skip_locked=True)  # an answer that is being written this moment counts
    )
    while True:
        with state.write() as connection:
            found = connection.execute(query).all()
            changes: list[tuple[Any, ...]] = []
            unknown_in: set[str] = set()
            doubtful: list[SendInDoubt] = []
            for row in found:
                endpoint = endpoints.get((row.destination, row.endpoint))
                if endpoint is not None and endpoint.is_idempotent:
                    status = SendStatus.PENDING
                else:
                    status = SendStatus.UNKNOWN
                    unknown_in.add(row.batch_id)
                    doubtful.append(SendInDoubt(destination=row.destination, endpoint=row.endpoint))
                changes.append((row.send_key, status.value, SendFailure.OUTCOME_UNKNOWN.value, micros(now), True))
            update_by_key(connection, sends, "send_key", ("status", "reason", "due_at", "in_doubt"), changes)
            mark_changed(connection, unknown_in)
            open_unknown_incidents(connection, doubtful, owner=owner, now=now)
        done = Recovered(pending=done.pending + len(changes) - len(doubtful), unknown=done.unknown + len(doubtful))
        if len(found) < CHUNK:
            return done


def open_unknown_incidents(
    connection: Connection, doubtful: Iterable[SendInDoubt], *, owner: str, now: datetime
) -> None:
    """One incident an endpoint, as long as it is open: an outage makes thousands of doubtful sends and is one thing."""
    for place in sorted({(doubt.destination, doubt.endpoint) for doubt in doubtful}):
        open_incident(
            connection,
            IncidentKind.SEND_UNKNOWN,
            about="/".join(place),
            owner=owner,
            sentence=f"Sends may or may not have arrived, at endpoint '{place[1]}' of destination '{place[0]}'. "
            "List them with status unknown and ask the destination; they are not repeated by themselves.",
            now=now,
        )


def _profiles_of(connection: Connection, send_keys: Iterable[str]) -> set[str]:
    query = select(sends.c.profile_id)
    return {profile_id for (profile_id,) in select_in(connection, query, sends.c.send_key, send_keys)}
