"""What a place that messages go to must do, and how one is reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from activation_dagster.domain.destinations import DestinationContract, Endpoint
from activation_dagster.domain.reasons import SendFailure
from activation_dagster.domain.sends import Message, Outcome, Receipt
from activation_dagster.errors import WrongUse


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where a destination is and what lets us in: a base address (or a file's path) and a key.

    `timeout_seconds` bounds each wait of one call, not the whole delivery.
    """

    address: str
    api_key: str = field(default="", repr=False)
    timeout_seconds: float = 10.0


OnReceipt = Callable[[Receipt], None]
"""What is done with a receipt as soon as it is known."""


def pass_by(_: Receipt) -> None:
    """Nothing: the receipts that `deliver` returns are enough."""


MayGoOn = Callable[[], bool]
"""Whether another call may begin."""


def always() -> bool:
    """Every call may begin."""
    return True


class Destination(Protocol):
    """A place that messages go to. Implementations pass `tests/destinations/conformance.py`."""

    @property
    def contract(self) -> DestinationContract:
        """What is promised about this destination."""
        ...

    def deliver(
        self,
        endpoint: Endpoint,
        messages: Sequence[Message],
        *,
        on_receipt: OnReceipt = pass_by,
        may_go_on: MayGoOn = always,
    ) -> list[Receipt]:
        """Tries each message once; gives exactly one receipt a message, in the same order.

        `on_receipt` is called once with each receipt, as soon as it is known and before the next call that cannot be
        repeated: whoever keeps the ledger can have each answer on disk before the next message leaves.

        `may_go_on` is asked before each call, because one refused call can become many: where it says no, nothing more
        is called, and what was not settled is to be tried again, for the reason LEASE_OVER.

        All messages name `endpoint`, and each its own profile key; otherwise `WrongUse` is raised before anything is
        sent. Nothing that a destination or a network can do raises: it becomes an outcome. An in-doubt send is never
        repeated here; the ledger decides that, by `Endpoint.is_idempotent`.
        """
        ...

    def close(self) -> None:
        """Gives connections back; may be called twice."""
        ...


def not_begun(send_key: str, *, may_have_arrived: bool = False) -> Receipt:
    """The receipt of a message that was not settled when no further call might begin."""
    return Receipt(
        send_key=send_key,
        outcome=Outcome.IN_DOUBT if may_have_arrived else Outcome.RETRY,
        reason=SendFailure.LEASE_OVER,
        answer="not called: its claim's time was over",
        retry_after_seconds=0.0,
    )


def check_call(contract: DestinationContract, endpoint: Endpoint, messages: Sequence[Message]) -> None:
    """Raises WrongUse unless these messages may share one call."""
    if any(message.endpoint != endpoint.name for message in messages):
        raise WrongUse(
            f"A delivery to destination '{contract.name}' mixes endpoints; it was called for '{endpoint.name}'. "
            "Group the messages by endpoint before delivering them."
        )
    if len({message.profile_key for message in messages}) < len(messages):
        raise WrongUse(
            f"A delivery to endpoint '{endpoint.name}' of destination '{contract.name}' names one profile twice, and "
            "its partial failures are told by profile. Deliver one message a profile at a time."
        )
