"""Send: claimed messages go out through their destination, and what it answers is written down."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from activation_dagster.destinations.protocol import Destination
from activation_dagster.domain.destinations import Endpoint
from activation_dagster.domain.sends import Receipt
from activation_dagster.pipeline.contracts_in_force import contracts_serving
from activation_dagster.pipeline.copy_sends import CopyReport, copy_sends
from activation_dagster.pipeline.places import Places
from activation_dagster.state.answers import answer, recover
from activation_dagster.state.gate import ClaimedSend, claim


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """What one delivery did: claims let through, refused by the gate, answers by outcome, and what the lake got."""

    claimed: int
    refused: int
    sent: int
    rejected: int
    waiting: int
    unknown: int
    copied: CopyReport


def deliver(
    places: Places,
    destinations: Mapping[str, Destination],
    *,
    clock: Callable[[], datetime],
    claim_size: int,
    rounds: int = 1_000,
) -> DeliveryReport:
    """Claim and send until nothing is due, for every destination given by name.

    Each round claims for one endpoint, calls the destination only after the claim has committed, and writes the
    answers. A claim whose holder died is taken back first. `clock` is read at each claim and each answer. In the end
    the lake's copy of the ledger follows.
    """
    contracts = contracts_serving(places)
    endpoints = {
        (contract.name, endpoint.name): endpoint
        for contract in contracts.destinations.values()
        for endpoint in contract.endpoints.values()
    }
    recover(places.state, now=clock(), endpoints=endpoints)
    total: dict[str, int] = dict.fromkeys(("claimed", "refused", "sent", "rejected", "waiting", "unknown"), 0)
    for name, destination in destinations.items():
        for endpoint in contracts.destinations[name].endpoints.values():
            for _ in range(rounds):
                token = f"{places.holder}:{uuid.uuid4().hex}"[:60]
                claimed = claim(
                    places.state,
                    contracts.consent,
                    now=clock(),
                    limit=claim_size,
                    claim_token=token,
                    lease_seconds=places.lease_seconds,
                    destination=name,
                    endpoint=endpoint.name,
                )
                places.at("sends.claimed")
                total["claimed"] += len(claimed.claimed)
                total["refused"] += claimed.refused
                _call(places, destination, endpoint, claimed.claimed, token, clock, total)
                if not claimed.claimed and not claimed.refused:
                    break
    return DeliveryReport(**total, copied=copy_sends(places))


def _call(
    places: Places,
    destination: Destination,
    endpoint: Endpoint,
    claimed: Iterable[ClaimedSend],
    token: str,
    clock: Callable[[], datetime],
    total: dict[str, int],
) -> None:
    """Send the claimed messages in calls of the endpoint's size, and write each call's answers before the next call.

    Where a destination has no idempotency key, each answer is on disk before the next message leaves. No call begins
    once the claim's lease is over: somebody else may have taken the sends by then. What was not called is due again.
    """
    waiting = list(claimed)
    ours_until = min((send.lease_until for send in waiting), default=None)

    def may_go_on() -> bool:
        return ours_until is not None and clock() < ours_until

    size = endpoint.batch_size if endpoint.is_idempotent else max(len(waiting), 1)

    def write(receipts: Sequence[Receipt]) -> None:
        answered = answer(places.state, token, receipts, now=clock(), endpoint=endpoint)
        places.at("sends.answered")
        total["sent"] += answered.sent
        total["rejected"] += answered.rejected
        total["waiting"] += answered.pending
        total["unknown"] += answered.unknown

    def write_at_once(receipt: Receipt) -> None:
        places.at("sends.called")
        write([receipt])

    for start in range(0, len(waiting), size):
        messages = [send.message for send in waiting[start : start + size]]
        if endpoint.is_idempotent:
            receipts = destination.deliver(endpoint, messages, may_go_on=may_go_on)
            places.at("sends.called")
            write(receipts)
        else:
            destination.deliver(endpoint, messages, on_receipt=write_at_once, may_go_on=may_go_on)
