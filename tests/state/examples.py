"""Small true things to test state with: people, their choices, sends, and rules that ask for marketing by email."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from activation_dagster.domain.consent import ConsentRecord, ConsentRules, ConsentStatus, Purpose, Region
from activation_dagster.domain.destinations import Endpoint
from activation_dagster.domain.sends import Outcome, Receipt
from activation_dagster.state.bulk import insert_new
from activation_dagster.state.consent import record_choice
from activation_dagster.state.engine import State
from activation_dagster.state.gate import Claim, claim
from activation_dagster.state.instants import micros
from activation_dagster.state.sends import INTENDED_COLUMNS, Send, get, intend
from activation_dagster.state.tables import profile_redirects, profiles

NOW = datetime(2025, 9, 18, 10, 12, tzinfo=UTC)

RULES = ConsentRules(
    version="rules-1",
    purposes={
        name: Purpose(name=name, description=name, channels=("email", "push")) for name in ("marketing", "profiling")
    },
    regions={
        "strict": Region(
            name="strict",
            countries=frozenset({"DE"}),
            also_requires={"marketing": ("profiling",)},
            valid_for_days={"marketing": 30},
        ),
        "plain": Region(name="plain", countries=frozenset({"US"}), also_requires={}, valid_for_days={}),
    },
    default_region="strict",
    mappings=(),
)

IDEMPOTENT = Endpoint(name="track", path="/events/trackBulk", is_idempotent=True, batch_size=100, calls_per_second=10.0)
ONCE = Endpoint(
    name="trigger", path="/workflows/triggerWorkflow", is_idempotent=False, batch_size=1, calls_per_second=5.0
)
ENDPOINTS = {("iterable", "track"): IDEMPOTENT, ("iterable", "trigger"): ONCE}


def after(seconds: float) -> datetime:
    """So many seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


def until_waiting(state: State, count: int = 1) -> None:
    """Return when PostgreSQL says that so many transactions on this database wait for somebody else's lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    give_up_at = time.monotonic() + 60
    while True:
        with state.read() as connection:
            if connection.execute(waiting).scalar_one() >= count:
                return
        assert time.monotonic() < give_up_at, "nobody came to wait"
        time.sleep(0.005)


def key_of(name: str) -> str:
    """The send key of the send that a test calls `name`."""
    return hashlib.sha256(name.encode()).hexdigest()[:40]


def add_profiles(connection: Connection, profile_ids: Iterable[str]) -> None:
    """Make profiles, nothing known of them."""
    columns = ("profile_id", "created_seq", "created_rank", "first_key", "created_by")
    insert_new(
        connection,
        profiles,
        columns,
        [
            (profile, 0, rank, hashlib.md5(profile.encode(), usedforsecurity=False).digest(), "event")
            for rank, profile in enumerate(profile_ids)
        ],
    )


def merge(connection: Connection, loser: str, winner: str, *, seq: int = 1) -> None:
    """Redirect a profile to another, without any lock: the caller holds them."""
    insert_new(
        connection, profile_redirects, ("from_profile", "to_profile", "seq", "event_id"), [(loser, winner, seq, "e")]
    )


def choose(
    state: State,
    profile_id: str,
    status: ConsentStatus = ConsentStatus.GRANTED,
    *,
    purpose: str = "marketing",
    channel: str = "email",
    decided_at: datetime = NOW - timedelta(days=1),
) -> ConsentRecord:
    """A person chooses."""
    return record_choice(
        state,
        profile_id=profile_id,
        purpose=purpose,
        channel=channel,
        status=status,
        decided_at=decided_at,
        source="person:desk",
        proof={"wording": "w1"},
        now=NOW,
        actor="desk",
    )


def people(state: State, *profile_ids: str) -> None:
    """Profiles that granted marketing by email."""
    with state.write() as connection:
        add_profiles(connection, profile_ids)
    for profile in profile_ids:
        choose(state, profile)


def send_row(name: str, profile_id: str, **other: Any) -> tuple[Any, ...]:
    """A row for `intend`; `other` overrides single columns."""
    row: dict[str, Any] = {
        "send_key": key_of(name),
        "decision_id": f"d-{name}",
        "batch_id": "b1",
        "seq": 1,
        "workflow_id": "welcome",
        "workflow_version": "1",
        "audience_id": "high_value_users",
        "profile_id": profile_id,
        "purpose": "marketing",
        "channel": "email",
        "region": "plain",
        "destination": "iterable",
        "endpoint": "track",
        "subject": "welcomed",
        "profile_key": f"key-of-{profile_id}",
        "data_fields": '{"plan": "gold"}',
        "profile_fields": "{}",
        "validated_at": micros(NOW),
        "triggered_at": micros(NOW),
        "landed_at": micros(NOW),
        "expires_at": micros(after(3_600)),
        "reentry_seconds": None,
        "status": "pending",
        "reason": "",
        "due_at": micros(NOW),
    }
    assert other.keys() <= row.keys()
    row |= other
    return tuple(row[name] for name in INTENDED_COLUMNS)


def add_send(state: State, name: str, profile_id: str, **other: Any) -> str:
    """Intend one send; returns its key."""
    intend(state, [send_row(name, profile_id, **other)])
    return key_of(name)


def claim_now(
    state: State, *, now: datetime = NOW, limit: int = 100, token: str = "t1", endpoint: str | None = None
) -> Claim:
    """Claim what is due at iterable, for a minute."""
    return claim(
        state,
        RULES,
        now=now,
        limit=limit,
        claim_token=token,
        lease_seconds=60,
        destination="iterable",
        endpoint=endpoint,
    )


def keys(claimed: Claim) -> list[str]:
    """The send keys of a claim, sorted."""
    return sorted(send.message.send_key for send in claimed.claimed)


def send_of(state: State, name: str) -> Send:
    """The send that a test calls `name`, as it stands."""
    with state.read() as connection:
        found = get(connection, key_of(name))
    assert found is not None
    return found


def receipt(name: str, outcome: Outcome, **other: Any) -> Receipt:
    """What the destination answered for the send that a test calls `name`."""
    return Receipt(send_key=key_of(name), outcome=outcome, **other)
