"""Single events as a sender writes them, for stories that the simulator does not tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

Whole = dict[str, Any]


def event(call: str, message_id: str, *, at: datetime, user: str = "", device: str = "", **more: Any) -> Whole:
    """An event with the envelope that all have; it was received when it happened."""
    instant = at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    times = dict.fromkeys(("timestamp", "originalTimestamp", "sentAt", "receivedAt"), instant)
    people = {name: value for name, value in (("userId", user), ("anonymousId", device)) if value}
    return {"type": call, "messageId": message_id, **people, **times, **more}


def track(
    name: str, message_id: str, *, at: datetime, properties: Mapping[str, Any], user: str = "", device: str = "",
    **more: Any,
) -> Whole:  # fmt: skip
    return event("track", message_id, at=at, user=user, device=device, event=name, properties=dict(properties), **more)


def page(message_id: str, *, at: datetime, user: str = "", device: str = "") -> Whole:
    return event("page", message_id, at=at, user=user, device=device, properties={"path": "/"})


def identify(message_id: str, *, at: datetime, user: str = "", device: str = "", **traits: Any) -> Whole:
    return event("identify", message_id, at=at, user=user, device=device, traits=traits)


def purchase(message_id: str, *, at: datetime, user: str = "", device: str = "", price: float = 12.0) -> Whole:
    """Makes a recent buyer, and of 500 or more a high-value user."""
    properties = {"product_id": "SKU-1", "price": price, "quantity": 1, "currency": "USD"}
    return track("Product Purchased", message_id, at=at, user=user, device=device, properties=properties)


def choice(
    message_id: str, *, at: datetime, user: str = "", device: str = "", marketing: bool, personalization: bool = True
) -> Whole:
    """What somebody answered the consent banner: the event that two workflows wait for."""
    categories = {"marketing_email": marketing, "personalization": personalization}
    return track(
        "Segment Consent Preference Updated",
        message_id,
        at=at,
        user=user,
        device=device,
        properties={},
        context={"consent": {"categoryPreferences": categories}},
    )


def written(*events: Whole) -> list[bytes]:
    """As lines of a segment."""
    return [json.dumps(found, ensure_ascii=False).encode() for found in events]
