"""What every destination must do: a new one inherits `DestinationConformance` and provides a `place`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import pytest

from activation_dagster.destinations.protocol import Destination
from activation_dagster.domain.destinations import Endpoint
from activation_dagster.domain.reasons import SendFailure
from activation_dagster.domain.sends import Json, Message, Outcome, Receipt
from activation_dagster.errors import WrongUse
from tests.destinations.examples import message


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One thing that a destination has done for one person, as the destination itself tells it."""

    subject: str
    profile_key: str
    execution_input: Mapping[str, Json]


class Place(Protocol):
    """A destination together with the far end, which only a test can look at."""

    @property
    def destination(self) -> Destination:
        """The destination under test, ready to deliver."""
        ...

    def effects(self, endpoint: Endpoint) -> list[Effect]:
        """Everything that is kept at the far end, in the order of arrival."""
        ...

    def profile_fields(self, profile_key: str) -> Mapping[str, Json]:
        """What the far end knows about a person."""
        ...

    def unreachable(self) -> AbstractContextManager[None]:
        """While entered, no delivery can succeed."""
        ...


class DestinationConformance:
    """Subclasses provide two fixtures: `endpoint` (parametrised over all of them) and `place`."""

    @pytest.fixture
    def place(self) -> Place:
        raise NotImplementedError

    @pytest.fixture
    def endpoint(self) -> Endpoint:
        raise NotImplementedError

    def test_no_messages_give_no_receipts_and_no_effect(self, place: Place, endpoint: Endpoint) -> None:
        assert place.destination.deliver(endpoint, []) == []
        assert place.effects(endpoint) == []

    def test_each_message_gets_one_receipt_in_order(self, place: Place, endpoint: Endpoint) -> None:
        messages = [message(number, endpoint=endpoint) for number in (3, 1, 2)]
        receipts = place.destination.deliver(endpoint, messages)
        assert [receipt.send_key for receipt in receipts] == [sent.send_key for sent in messages]

    def test_a_delivered_message_has_one_effect_and_no_reason(self, place: Place, endpoint: Endpoint) -> None:
        messages = [message(number, endpoint=endpoint) for number in range(5)]
        receipts = place.destination.deliver(endpoint, messages)
        assert [(receipt.outcome, receipt.reason) for receipt in receipts] == [(Outcome.DELIVERED, "")] * 5
        assert [effect.profile_key for effect in place.effects(endpoint)] == [sent.profile_key for sent in messages]

    def test_the_same_send_key_twice_has_one_effect_where_the_endpoint_is_idempotent(
        self, place: Place, endpoint: Endpoint
    ) -> None:
        messages = [message(number, endpoint=endpoint) for number in range(4)]
        first = place.destination.deliver(endpoint, messages)
        again = place.destination.deliver(endpoint, messages[::-1])
        assert {receipt.outcome for receipt in [*first, *again]} == {Outcome.DELIVERED}
        assert [receipt.send_key for receipt in again] == [sent.send_key for sent in messages[::-1]]
        assert len(place.effects(endpoint)) == (4 if endpoint.is_idempotent else 8)

    def test_two_send_keys_for_one_person_have_two_effects(self, place: Place, endpoint: Endpoint) -> None:
        for number in (1, 2):
            place.destination.deliver(endpoint, [message(number, endpoint=endpoint, profile_key="same-person")])
        assert [effect.profile_key for effect in place.effects(endpoint)] == ["same-person"] * 2

    def test_the_execution_input_arrives_exactly(self, place: Place, endpoint: Endpoint) -> None:
        declared: dict[str, Json] = {"cart_value": 12.5, "items": [{"sku": "a", "count": 2}], "note": "café ☕ 😀"}
        sent = message(1, endpoint=endpoint, data_fields=declared)
        place.destination.deliver(endpoint, [sent])
        [effect] = place.effects(endpoint)
        assert effect.execution_input == {
            "audience_id": "high_value_users",
            "validated_at": "2025-09-18T10:12:00Z",
            "consent_checked": True,
            **declared,
        }
        assert effect.subject == sent.subject

    def test_without_declared_fields_only_the_three_contract_fields_arrive(
        self, place: Place, endpoint: Endpoint
    ) -> None:
        place.destination.deliver(endpoint, [message(1, endpoint=endpoint, data_fields={})])
        [effect] = place.effects(endpoint)
        assert effect.execution_input.keys() == {"audience_id", "validated_at", "consent_checked"}

    def test_a_declared_field_cannot_pose_as_a_contract_field(self, place: Place, endpoint: Endpoint) -> None:
        forged = message(1, endpoint=endpoint, data_fields={"audience_id": "everybody"})
        place.destination.deliver(endpoint, [forged])
        [effect] = place.effects(endpoint)
        assert effect.execution_input["audience_id"] == "high_value_users"

    def test_declared_traits_reach_the_profile_and_not_the_message(self, place: Place, endpoint: Endpoint) -> None:
        place.destination.deliver(endpoint, [message(1, endpoint=endpoint, profile_fields={"tier": "gold"})])
        assert place.profile_fields("person-1")["tier"] == "gold"
        assert "tier" not in place.effects(endpoint)[0].execution_input

    def test_more_messages_than_fit_one_call_all_arrive(self, place: Place, endpoint: Endpoint) -> None:
        messages = [message(number, endpoint=endpoint) for number in range(endpoint.batch_size * 2 + 3)]
        receipts = place.destination.deliver(endpoint, messages)
        assert {receipt.outcome for receipt in receipts} == {Outcome.DELIVERED}
        assert len(place.effects(endpoint)) == len(messages)

    def test_a_message_that_no_json_can_hold_is_rejected_alone(self, place: Place, endpoint: Endpoint) -> None:
        bad = message(2, endpoint=endpoint, data_fields={"cart_value": float("nan")})
        messages = [message(1, endpoint=endpoint), bad, message(3, endpoint=endpoint)]
        receipts = place.destination.deliver(endpoint, messages)
        assert [receipt.outcome for receipt in receipts] == [Outcome.DELIVERED, Outcome.REJECTED, Outcome.DELIVERED]
        assert len(place.effects(endpoint)) == 2

    def test_an_unreachable_place_delivers_nothing_and_loses_nothing(self, place: Place, endpoint: Endpoint) -> None:
        messages = [message(number, endpoint=endpoint) for number in range(3)]
        with place.unreachable():
            receipts = place.destination.deliver(endpoint, messages)
        assert len(receipts) == 3
        assert {receipt.outcome for receipt in receipts} <= {Outcome.RETRY, Outcome.IN_DOUBT}
        assert all(receipt.outcome is Outcome.RETRY for receipt in receipts) or endpoint.is_idempotent
        assert place.effects(endpoint) == []
        again = place.destination.deliver(endpoint, messages)
        assert {receipt.outcome for receipt in again} == {Outcome.DELIVERED}
        assert len(place.effects(endpoint)) == 3

    def test_every_failure_has_a_reason_that_somebody_owns(self, place: Place, endpoint: Endpoint) -> None:
        bad = message(2, endpoint=endpoint, data_fields={"cart_value": float("inf")})
        receipts = place.destination.deliver(endpoint, [bad])
        with place.unreachable():
            receipts += place.destination.deliver(endpoint, [message(1, endpoint=endpoint)])
        assert [SendFailure(receipt.reason) for receipt in receipts]

    def test_no_receipt_holds_personal_data(self, place: Place, endpoint: Endpoint) -> None:
        person = message(
            1,
            endpoint=endpoint,
            profile_key="zelda-id",
            profile_fields={"email": "zelda@example.com", "first_name": "Zelda"},
        )
        receipts = place.destination.deliver(endpoint, [person])
        with place.unreachable():
            receipts += place.destination.deliver(endpoint, [person])
        assert not any("zelda" in repr(receipt).lower() for receipt in receipts)

    def test_a_call_that_mixes_endpoints_is_wrong_use_before_anything_is_sent(
        self, place: Place, endpoint: Endpoint
    ) -> None:
        stray = Endpoint(name="stray", path="/", is_idempotent=True, batch_size=1, calls_per_second=1)
        with pytest.raises(WrongUse, match="mixes endpoints"):
            place.destination.deliver(endpoint, [message(1, endpoint=endpoint), message(2, endpoint=stray)])
        assert place.effects(endpoint) == []

    def test_a_call_that_names_a_profile_twice_is_wrong_use_before_anything_is_sent(
        self, place: Place, endpoint: Endpoint
    ) -> None:
        twice = [message(number, endpoint=endpoint, profile_key="same-person") for number in (1, 2)]
        with pytest.raises(WrongUse, match="one profile twice") as caught:
            place.destination.deliver(endpoint, twice)
        assert "same-person" not in str(caught.value)
        assert place.effects(endpoint) == []

    def test_each_receipt_is_handed_over_once_and_is_the_one_that_is_returned(
        self, place: Place, endpoint: Endpoint
    ) -> None:
        bad = message(2, endpoint=endpoint, data_fields={"cart_value": float("nan")})
        handed_over: list[Receipt] = []
        receipts = place.destination.deliver(
            endpoint,
            [message(1, endpoint=endpoint), bad, message(3, endpoint=endpoint)],
            on_receipt=handed_over.append,
        )
        with place.unreachable():
            receipts += place.destination.deliver(
                endpoint, [message(number, endpoint=endpoint) for number in (4, 5)], on_receipt=handed_over.append
            )
        assert sorted(handed_over, key=by_key) == sorted(receipts, key=by_key)

    def test_no_message_that_cannot_be_repeated_leaves_before_the_receipt_of_the_one_before_it_is_handed_over(
        self, place: Place, endpoint: Endpoint
    ) -> None:
        arrived: list[int] = []
        place.destination.deliver(
            endpoint,
            [message(number, endpoint=endpoint) for number in range(4)],
            on_receipt=lambda _: arrived.append(len(place.effects(endpoint))),
        )
        assert arrived == ([4, 4, 4, 4] if endpoint.is_idempotent else [1, 2, 3, 4])

    def test_whoever_fails_to_keep_a_receipt_stops_what_cannot_be_repeated(
        self, place: Place, endpoint: Endpoint
    ) -> None:
        def fail(_: Receipt) -> None:
            raise OSError("the ledger cannot be written")

        with pytest.raises(OSError, match="ledger"):
            place.destination.deliver(endpoint, numbered(3, endpoint), on_receipt=fail)
        assert len(place.effects(endpoint)) == (3 if endpoint.is_idempotent else 1)

    def test_where_no_call_may_begin_nothing_is_sent_and_all_is_to_be_tried_again(
        self, place: Place, endpoint: Endpoint
    ) -> None:
        handed_over: list[Receipt] = []
        receipts = place.destination.deliver(
            endpoint, numbered(3, endpoint), on_receipt=handed_over.append, may_go_on=lambda: False
        )
        assert outcomes(receipts) == [Outcome.RETRY] * 3
        assert reasons(receipts) == [SendFailure.LEASE_OVER] * 3
        assert sorted(handed_over, key=by_key) == sorted(receipts, key=by_key)
        assert place.effects(endpoint) == []

    def test_it_may_be_closed_twice(self, place: Place, endpoint: Endpoint) -> None:
        place.destination.deliver(endpoint, [message(1, endpoint=endpoint)])
        place.destination.close()
        place.destination.close()


def by_key(receipt: Receipt) -> str:
    """An order for receipts that were handed over in any."""
    return receipt.send_key


def outcomes(receipts: list[Receipt]) -> list[Outcome]:
    """The outcomes alone, for short assertions."""
    return [receipt.outcome for receipt in receipts]


def reasons(receipts: list[Receipt]) -> list[str]:
    """The reasons alone, for short assertions."""
    return [receipt.reason for receipt in receipts]


def numbered(count: int, endpoint: Endpoint) -> list[Message]:
    """Messages 0 to count - 1."""
    return [message(number, endpoint=endpoint) for number in range(count)]
