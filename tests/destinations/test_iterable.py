"""The Iterable client against the real stand-in: every way a call can go wrong, and what the receipt then says."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activation_dagster.destinations.iterable import IterableDestination
from activation_dagster.destinations.protocol import Access, Destination
from activation_dagster.destinations.standin.calls import Project
from activation_dagster.domain.destinations import Endpoint
from activation_dagster.domain.reasons import SendFailure
from activation_dagster.domain.sends import Json, Message, Outcome
from activation_dagster.errors import SettingsInvalid, WrongUse
from tests.destinations.conformance import DestinationConformance, Effect, Place, numbered, outcomes, reasons
from tests.destinations.examples import PROFILES, TRACK, TRIGGER, WORKFLOW_ID, contract, message
from tests.destinations.far_end import API_KEY, FarEnd, StartStandin

BOTH = contract("iterable", TRACK, TRIGGER)
Connect: TypeAlias = Callable[..., IterableDestination]


@pytest.fixture
def connect(far_end: FarEnd) -> Iterator[Connect]:
    """Opens clients that are closed with the test."""
    with ExitStack() as open_clients:

        def open_client(address: str = far_end.address, api_key: str = API_KEY, **more: Any) -> IterableDestination:
            access = Access(address=address, api_key=api_key, timeout_seconds=more.pop("timeout_seconds", 10.0))
            client = IterableDestination(more.pop("contract", BOTH), access, **more)
            open_clients.callback(client.close)
            return client

        yield open_client


@pytest.fixture
def iterable(connect: Connect) -> IterableDestination:
    return connect()


@dataclass(frozen=True, slots=True, kw_only=True)
class IterablePlace:
    destination: Destination
    far_end: FarEnd

    def effects(self, endpoint: Endpoint) -> list[Effect]:
        rows = self.far_end.rows("events" if endpoint.name == "track" else "workflow_entries")
        return [
            Effect(
                subject=str(row["body"].get("eventName", row["body"].get("workflowId"))),
                profile_key=row["user_id"],
                execution_input=row["body"]["dataFields"],
            )
            for row in rows
        ]

    def profile_fields(self, profile_key: str) -> Mapping[str, Json]:
        return self.far_end.get("/api/users/byUserId", userId=profile_key)["user"]["dataFields"]

    @contextmanager
    def unreachable(self) -> Generator[None]:
        for path in (TRACK.path, TRIGGER.path, PROFILES.path):
            self.far_end.order(path, "drop_before", times=20)
        yield
        self.far_end.client.delete("/_standin/faults")


class TestIterableDestination(DestinationConformance):
    @pytest.fixture(params=[TRACK, TRIGGER], ids=lambda endpoint: endpoint.name)
    def endpoint(self, request: pytest.FixtureRequest) -> Endpoint:
        return request.param

    @pytest.fixture
    def place(self, iterable: IterableDestination, far_end: FarEnd) -> Place:
        return IterablePlace(destination=iterable, far_end=far_end)


def test_an_event_carries_the_send_key_and_the_triggers_second(iterable: IterableDestination, far_end: FarEnd) -> None:
    sent = message(1)
    iterable.deliver(TRACK, [sent])
    [event] = far_end.rows("events")
    assert (event["event_id"], event["created_at"]) == (sent.send_key, 1758190319)
    assert event["body"].keys() == {"id", "eventName", "userId", "createdAt", "dataFields"}


def test_an_answer_in_time_is_told_by_status_and_counts(iterable: IterableDestination) -> None:
    [tracked, _] = iterable.deliver(TRACK, numbered(2, TRACK))
    [triggered] = iterable.deliver(TRIGGER, numbered(1, TRIGGER))
    assert (tracked.http_status, tracked.answer) == (200, "successCount=2 failCount=0")
    assert (triggered.http_status, triggered.answer) == (200, "Success")


# In doubt -------------------------------------------------------------------------------------------------------------


def test_a_cut_after_tracking_is_in_doubt_and_a_repeat_keeps_one_event_each(
    iterable: IterableDestination, far_end: FarEnd
) -> None:
    far_end.order(TRACK.path, "drop_after")
    receipts = iterable.deliver(TRACK, numbered(3, TRACK))
    assert outcomes(receipts) == [Outcome.IN_DOUBT] * 3
    assert reasons(receipts) == [SendFailure.OUTCOME_UNKNOWN] * 3
    assert far_end.summary()["events"] == 3
    assert outcomes(iterable.deliver(TRACK, numbered(3, TRACK))) == [Outcome.DELIVERED] * 3
    assert (far_end.summary()["events"], far_end.summary()["event_receipts"]) == (3, 6)


@pytest.mark.parametrize(("mode", "entries"), [("drop_after", 1), ("drop_before", 0)])
def test_a_cut_while_triggering_is_in_doubt_for_one_person_and_no_more_are_put_at_risk(
    iterable: IterableDestination, far_end: FarEnd, mode: str, entries: int
) -> None:
    far_end.order(TRIGGER.path, mode)
    receipts = iterable.deliver(TRIGGER, numbered(3, TRIGGER))
    assert outcomes(receipts) == [Outcome.IN_DOUBT, Outcome.RETRY, Outcome.RETRY]
    assert reasons(receipts)[1] == SendFailure.DESTINATION_UNAVAILABLE
    assert far_end.summary()["workflow_entries"] == entries


@pytest.mark.parametrize("endpoint", [TRACK, TRIGGER], ids=lambda endpoint: endpoint.name)
@pytest.mark.parametrize("mode", ["status", "status_after"])
@pytest.mark.parametrize("status", [408, 500, 502, 503])
def test_a_server_error_is_in_doubt_whether_or_not_it_had_an_effect(
    iterable: IterableDestination, far_end: FarEnd, endpoint: Endpoint, mode: str, status: int
) -> None:
    far_end.order(endpoint.path, mode, status=status)
    [receipt] = iterable.deliver(endpoint, numbered(1, endpoint))
    assert (receipt.outcome, receipt.http_status) == (Outcome.IN_DOUBT, status)


@pytest.mark.parametrize("endpoint", [TRACK, TRIGGER], ids=lambda endpoint: endpoint.name)
def test_no_answer_in_time_is_in_doubt(start_standin: StartStandin, connect: Connect, endpoint: Endpoint) -> None:
    slow = start_standin()
    slow.order(endpoint.path, "delay", seconds=2.4)
    [receipt] = connect(slow.address, timeout_seconds=1.5).deliver(endpoint, numbered(1, endpoint))
    assert (receipt.outcome, receipt.http_status) == (Outcome.IN_DOUBT, None)


@pytest.mark.parametrize("endpoint", [TRACK, TRIGGER], ids=lambda endpoint: endpoint.name)
@pytest.mark.parametrize("reply", [{"text": "<html>welcome</html>"}, {"reply": {"successCount": 0, "failCount": 0}}])
def test_an_answer_of_200_that_does_not_account_for_the_messages_is_in_doubt(
    iterable: IterableDestination, far_end: FarEnd, endpoint: Endpoint, reply: dict[str, Any]
) -> None:
    if endpoint is TRIGGER and "reply" in reply:
        reply = {"reply": {"msg": "fine"}}
    far_end.order(endpoint.path, "status", status=200, **reply)
    assert outcomes(iterable.deliver(endpoint, numbered(1, endpoint))) == [Outcome.IN_DOUBT]


# Certainly not arrived ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", [TRACK, TRIGGER], ids=lambda endpoint: endpoint.name)
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": "60"}, 60.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-3"}, 0.0),
        ({"text": "slow down"}, None),
    ],
)
def test_too_many_requests_is_a_retry_at_the_time_that_the_destination_names(
    iterable: IterableDestination, far_end: FarEnd, endpoint: Endpoint, headers: dict[str, str], seconds: float | None
) -> None:
    far_end.order(endpoint.path, "status", status=429, **headers)
    receipts = iterable.deliver(endpoint, numbered(2, endpoint))
    assert outcomes(receipts) == [Outcome.RETRY] * 2
    assert reasons(receipts) == [SendFailure.RATE_LIMITED] * 2
    assert [receipt.retry_after_seconds for receipt in receipts] == [seconds] * 2


def test_the_stand_ins_own_limit_is_a_retry(start_standin: StartStandin, connect: Connect) -> None:
    slow = start_standin(rates={TRIGGER.path: 0.001})
    receipts = connect(slow.address).deliver(TRIGGER, numbered(3, TRIGGER))
    assert outcomes(receipts) == [Outcome.DELIVERED, Outcome.RETRY, Outcome.RETRY]


@pytest.mark.parametrize("endpoint", [TRACK, TRIGGER], ids=lambda endpoint: endpoint.name)
def test_no_connection_is_a_retry(connect: Connect, endpoint: Endpoint) -> None:
    receipts = connect("http://127.0.0.1:1").deliver(endpoint, numbered(2, endpoint))
    assert outcomes(receipts) == [Outcome.RETRY] * 2
    assert reasons(receipts) == [SendFailure.DESTINATION_UNAVAILABLE] * 2


# Stopped --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", [TRACK, TRIGGER], ids=lambda endpoint: endpoint.name)
def test_a_refused_key_stops_every_message_and_only_one_call_is_made(
    connect: Connect, far_end: FarEnd, endpoint: Endpoint
) -> None:
    receipts = connect(api_key="wrong").deliver(endpoint, numbered(250, endpoint))
    assert set(outcomes(receipts)) == {Outcome.STOPPED}
    assert set(reasons(receipts)) == {SendFailure.DESTINATION_STOPPED}
    assert far_end.summary()["refused_calls"] == 1


@pytest.mark.parametrize("endpoint", [TRACK, TRIGGER, PROFILES], ids=lambda endpoint: endpoint.name)
@pytest.mark.parametrize("status", [301, 401, 403, 404])
def test_a_refused_key_or_address_stops_even_if_the_reply_says_success(
    iterable: IterableDestination, far_end: FarEnd, endpoint: Endpoint, status: int
) -> None:
    far_end.order(endpoint.path, "status", status=status, reply={"msg": "", "code": "Success", "params": None})
    called = TRACK if endpoint is PROFILES else endpoint
    [receipt] = iterable.deliver(called, numbered(1, called))
    assert (receipt.outcome, receipt.http_status) == (Outcome.STOPPED, status)


@pytest.mark.parametrize(
    ("address", "key"),
    [("api.iterable.com", "k"), ("ftp://x", "k"), ("https://x", ""), ("https://x", "a\nb"), ("https://x", "ключ")],
)
def test_an_address_or_a_key_that_cannot_work_is_told_before_any_send(address: str, key: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        IterableDestination(BOTH, Access(address=address, api_key=key))
    assert key == "" or key not in str(caught.value).split("'")


# Rejected -------------------------------------------------------------------------------------------------------------


def test_a_value_of_another_type_is_rejected_alone(iterable: IterableDestination, far_end: FarEnd) -> None:
    messages = numbered(20, TRACK)
    messages[13] = message(13, data_fields={"cart_value": "twelve"})
    receipts = iterable.deliver(TRACK, messages)
    assert [number for number, receipt in enumerate(receipts) if receipt.outcome is not Outcome.DELIVERED] == [13]
    assert receipts[13].reason == SendFailure.REJECTED_BY_DESTINATION
    assert (receipts[13].http_status, receipts[13].answer) == (400, "RequestFieldsTypesMismatched")
    assert far_end.summary()["events"] == 19


@given(guilty=st.lists(st.booleans(), min_size=1, max_size=17))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whoever_is_guilty_is_found_and_everybody_else_delivered(
    iterable: IterableDestination, far_end: FarEnd, guilty: list[bool]
) -> None:
    iterable.deliver(TRACK, [message(1_000)])  # fixes the field's type
    messages = [
        message(number, data_fields={"cart_value": "many" if is_guilty else 1.5})
        for number, is_guilty in enumerate(guilty)
    ]
    receipts = iterable.deliver(TRACK, messages)
    assert [receipt.outcome is Outcome.REJECTED for receipt in receipts] == guilty
    assert {receipt.outcome for receipt in receipts} <= {Outcome.REJECTED, Outcome.DELIVERED}


def test_a_trait_of_another_type_is_rejected_alone_and_sends_no_event(
    iterable: IterableDestination, far_end: FarEnd
) -> None:
    messages = [message(number, profile_fields={"age": 30}) for number in range(4)]
    messages[2] = message(2, profile_fields={"age": "thirty"})
    receipts = iterable.deliver(TRACK, messages)
    assert [receipt.outcome for receipt in receipts].count(Outcome.REJECTED) == 1
    assert receipts[2].reason == SendFailure.REJECTED_BY_DESTINATION
    assert {event["user_id"] for event in far_end.rows("events")} == {"person-0", "person-1", "person-3"}


@pytest.mark.parametrize("endpoint", [TRACK, TRIGGER], ids=lambda endpoint: endpoint.name)
def test_a_forgotten_person_is_rejected_as_such(
    iterable: IterableDestination, far_end: FarEnd, endpoint: Endpoint
) -> None:
    far_end.forget("person-1")
    receipts = iterable.deliver(endpoint, numbered(3, endpoint))
    assert outcomes(receipts) == [Outcome.DELIVERED, Outcome.REJECTED, Outcome.DELIVERED]
    assert receipts[1].reason == SendFailure.FORGOTTEN_BY_DESTINATION


@pytest.mark.parametrize("endpoint", [TRACK, TRIGGER], ids=lambda endpoint: endpoint.name)
@pytest.mark.parametrize("profile_key", ["x" * 53, "naïve", "ends in a space "])
def test_a_profile_key_that_cannot_be_a_user_id_is_rejected(
    iterable: IterableDestination, endpoint: Endpoint, profile_key: str
) -> None:
    receipts = iterable.deliver(endpoint, [message(0, endpoint=endpoint, profile_key=profile_key)])
    assert (outcomes(receipts), reasons(receipts)) == ([Outcome.REJECTED], [SendFailure.REJECTED_BY_DESTINATION])


@pytest.mark.parametrize("endpoint", [TRACK, TRIGGER], ids=lambda endpoint: endpoint.name)
def test_an_upsert_that_was_lost_makes_the_person_unknown(
    iterable: IterableDestination, far_end: FarEnd, endpoint: Endpoint
) -> None:
    far_end.order(PROFILES.path, "status", status=200, reply={"successCount": 1, "failCount": 0})
    receipts = iterable.deliver(endpoint, numbered(1, endpoint))
    assert (outcomes(receipts), reasons(receipts)) == ([Outcome.REJECTED], [SendFailure.UNKNOWN_TO_DESTINATION])


def test_an_email_of_somebody_else_rejects_the_newcomer_only(iterable: IterableDestination) -> None:
    fields: Mapping[str, Json] = {"email": "ada@example.com"}
    first = iterable.deliver(TRACK, [message(1, profile_fields=fields)])
    second = iterable.deliver(TRACK, [message(2, profile_fields=fields), message(3)])
    assert outcomes(first + second) == [Outcome.DELIVERED, Outcome.REJECTED, Outcome.DELIVERED]


def test_a_disallowed_event_name_is_rejected(iterable: IterableDestination) -> None:
    messages = [message(1, subject="Forbidden Event"), message(2)]
    assert outcomes(iterable.deliver(TRACK, messages)) == [Outcome.REJECTED, Outcome.DELIVERED]


@pytest.mark.parametrize("subject", ["99", "not a number"])
def test_a_journey_that_does_not_exist_rejects_its_message_only(
    iterable: IterableDestination, far_end: FarEnd, subject: str
) -> None:
    messages = [message(1, endpoint=TRIGGER, subject=subject), message(2, endpoint=TRIGGER)]
    assert outcomes(iterable.deliver(TRIGGER, messages)) == [Outcome.REJECTED, Outcome.DELIVERED]
    assert far_end.rows("workflow_entries")[0]["workflow_id"] == WORKFLOW_ID


def test_a_batch_too_large_is_cut_until_it_fits(start_standin: StartStandin, connect: Connect) -> None:
    small = start_standin(project=Project(max_batch=3))
    receipts = connect(small.address).deliver(TRACK, numbered(20, TRACK))
    assert outcomes(receipts) == [Outcome.DELIVERED] * 20
    assert small.summary()["event_receipts"] == 20


def test_a_body_refused_as_too_large_is_cut_until_it_fits(iterable: IterableDestination, far_end: FarEnd) -> None:
    far_end.order(TRACK.path, "status", status=413, text="<h1>413 Request Entity Too Large</h1>")
    assert outcomes(iterable.deliver(TRACK, numbered(5, TRACK))) == [Outcome.DELIVERED] * 5


def test_bodies_stay_under_four_megabytes(iterable: IterableDestination, far_end: FarEnd) -> None:
    messages = [message(number, data_fields={"note": "ß" * 500_000}) for number in range(9)]
    messages.append(message(9, data_fields={"note": "ß" * 2_000_000}))
    receipts = iterable.deliver(TRACK, messages)
    assert outcomes(receipts) == [Outcome.DELIVERED] * 9 + [Outcome.REJECTED]
    assert far_end.summary()["refused_calls"] == 0


def test_failures_that_the_reply_counts_but_does_not_name_are_found_one_by_one(
    iterable: IterableDestination, far_end: FarEnd
) -> None:
    far_end.order(TRACK.path, "status", status=200, reply={"successCount": 3, "failCount": 1}, times=2)
    far_end.order(TRACK.path, "status", status=200, reply={"successCount": 0, "failCount": 1})
    receipts = iterable.deliver(TRACK, numbered(4, TRACK))
    assert outcomes(receipts) == [Outcome.REJECTED] + [Outcome.DELIVERED] * 3


# No further call may begin --------------------------------------------------------------------------------------------


def so_many_calls(count: int) -> Callable[[], bool]:
    """Lets so many calls begin."""
    answers = iter([True] * count)
    return lambda: next(answers, False)


def test_the_search_for_a_guilty_message_ends_where_no_call_may_begin(
    iterable: IterableDestination, far_end: FarEnd
) -> None:
    iterable.deliver(TRACK, [message(1_000)])  # fixes the field's type
    messages = numbered(8, TRACK)
    messages[7] = message(7, data_fields={"cart_value": "many"})
    # profiles, all eight, the first half, the second half
    receipts = iterable.deliver(TRACK, messages, may_go_on=so_many_calls(4))
    assert outcomes(receipts) == [Outcome.DELIVERED] * 4 + [Outcome.RETRY] * 4
    assert reasons(receipts[4:]) == [SendFailure.LEASE_OVER] * 4
    again = iterable.deliver(TRACK, messages[4:])
    assert outcomes(again) == [Outcome.DELIVERED] * 3 + [Outcome.REJECTED]


def test_what_may_have_arrived_when_the_search_ends_is_in_doubt(iterable: IterableDestination, far_end: FarEnd) -> None:
    far_end.order(TRACK.path, "status", status=200, reply={"successCount": 3, "failCount": 1})
    receipts = iterable.deliver(TRACK, numbered(4, TRACK), may_go_on=so_many_calls(2))
    assert outcomes(receipts) == [Outcome.IN_DOUBT] * 4


def test_journeys_are_triggered_one_by_one_while_a_call_may_begin(
    iterable: IterableDestination, far_end: FarEnd
) -> None:
    receipts = iterable.deliver(TRIGGER, numbered(4, TRIGGER), may_go_on=so_many_calls(3))
    assert outcomes(receipts) == [Outcome.DELIVERED] * 2 + [Outcome.RETRY] * 2
    assert far_end.summary()["workflow_entries"] == 2


# The profile upsert comes first ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", [TRACK, TRIGGER], ids=lambda endpoint: endpoint.name)
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"mode": "drop_before"}, SendFailure.DESTINATION_UNAVAILABLE),
        ({"mode": "drop_after"}, SendFailure.DESTINATION_UNAVAILABLE),
        ({"mode": "status", "status": 503}, SendFailure.DESTINATION_UNAVAILABLE),
        ({"mode": "status", "status": 429}, SendFailure.RATE_LIMITED),
    ],
)
def test_a_failed_profile_upsert_is_a_retry_because_no_message_went(
    iterable: IterableDestination, far_end: FarEnd, endpoint: Endpoint, fault: dict[str, Any], reason: SendFailure
) -> None:
    far_end.order(PROFILES.path, **fault)
    receipts = iterable.deliver(endpoint, numbered(2, endpoint))
    assert (outcomes(receipts), reasons(receipts)) == ([Outcome.RETRY] * 2, [reason] * 2)
    assert (far_end.summary()["events"], far_end.summary()["workflow_entries"]) == (0, 0)


def test_profiles_that_were_upserted_go_on_when_a_later_upsert_fails(connect: Connect, far_end: FarEnd) -> None:
    two_by_two = Endpoint(name="profiles", path=PROFILES.path, is_idempotent=True, batch_size=2, calls_per_second=0)
    client = connect(contract=contract("iterable", TRACK, profiles=two_by_two))
    far_end.order(PROFILES.path, "delay", seconds=0)
    far_end.order(PROFILES.path, "status", status=500)
    receipts = client.deliver(TRACK, numbered(5, TRACK))
    assert outcomes(receipts) == [Outcome.DELIVERED] * 2 + [Outcome.RETRY] * 3


def test_nested_traits_are_merged(iterable: IterableDestination, far_end: FarEnd) -> None:
    iterable.deliver(TRACK, [message(1, profile_fields={"address": {"city": "Graz"}, "tier": "gold"})])
    iterable.deliver(TRACK, [message(1, profile_fields={"address": {"zip": "8010"}})])
    [user] = far_end.rows("users")
    assert user["fields"] == {"address": {"city": "Graz", "zip": "8010"}, "tier": "gold"}


def test_calls_keep_the_contracts_pace(connect: Connect) -> None:
    slept: list[float] = []
    slow = Endpoint(name="trigger_workflow", path=TRIGGER.path, is_idempotent=False, batch_size=9, calls_per_second=2)
    client = connect(clock=lambda: 0.0, sleep=slept.append)
    client.deliver(slow, [message(number, endpoint=slow) for number in range(4)])
    assert slept == [0.5, 1.0, 1.5]


def test_an_endpoint_that_the_client_does_not_know_is_wrong_use(iterable: IterableDestination) -> None:
    stray = Endpoint(name="fax", path="/api/fax", is_idempotent=True, batch_size=1, calls_per_second=1)
    with pytest.raises(WrongUse, match="'fax'"):
        iterable.deliver(stray, [message(1, endpoint=stray)])


def test_every_message_says_at_which_endpoint_it_is(iterable: IterableDestination) -> None:
    wrong: list[Message] = [message(1, endpoint=TRIGGER)]
    with pytest.raises(WrongUse):
        iterable.deliver(TRACK, wrong)
