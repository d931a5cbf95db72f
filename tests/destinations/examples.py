"""Messages and contracts that the tests of destinations share; every person in them is invented."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from activation_dagster.domain.destinations import DestinationContract, Endpoint
from activation_dagster.domain.sends import Json, Message, send_key

TRACK = Endpoint(
    name="track", path="/api/events/trackBulk", is_idempotent=True, batch_size=100, calls_per_second=10_000
)
TRIGGER = Endpoint(
    name="trigger_workflow",
    path="/api/workflows/triggerWorkflow",
    is_idempotent=False,
    batch_size=100,
    calls_per_second=10_000,
)
PROFILES = Endpoint(
    name="profiles", path="/api/users/bulkUpdate", is_idempotent=True, batch_size=100, calls_per_second=10_000
)
WORKFLOW_ID = 4711


def contract(kind: str, *endpoints: Endpoint, profiles: Endpoint = PROFILES) -> DestinationContract:
    """A destination's contract with these endpoints."""
    return DestinationContract(
        name=f"{kind}_under_test",
        owner="crm",
        kind=kind,
        profile_key="user_id",
        endpoints={endpoint.name: endpoint for endpoint in endpoints},
        profile_endpoint=profiles,
    )


def message(
    number: int,
    *,
    endpoint: Endpoint = TRACK,
    subject: str | None = None,
    profile_key: str | None = None,
    data_fields: Mapping[str, Json] | None = None,
    profile_fields: Mapping[str, Json] | None = None,
) -> Message:
    """The message of trigger `number`, for a person of the same number unless told otherwise."""
    if subject is None:
        subject = "Cart Abandoned" if endpoint.is_idempotent else str(WORKFLOW_ID)
    return Message(
        send_key=send_key(workflow_id="cart", trigger=f"message:{number}"),
        endpoint=endpoint.name,
        subject=subject,
        profile_key=profile_key or f"person-{number}",
        audience_id="high_value_users",
        validated_at=datetime(2025, 9, 18, 10, 12, tzinfo=UTC),
        consent_checked=True,
        created_at=datetime(2025, 9, 18, 10, 11, 59, 987_654, tzinfo=UTC),
        data_fields=data_fields if data_fields is not None else {"cart_value": 12.5},
        profile_fields=profile_fields if profile_fields is not None else {"first_name": f"Ada{number}"},
    )
