"""The stand-in refuses what Iterable refuses, keeps what it took, and counts honestly."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from activation_dagster.destinations.standin.calls import Project
from tests.destinations.examples import WORKFLOW_ID
from tests.destinations.far_end import API_KEY, FarEnd, StartStandin

TRACK = "/api/events/track"
TRACK_BULK = "/api/events/trackBulk"
UPDATE = "/api/users/update"
BULK_UPDATE = "/api/users/bulkUpdate"
TRIGGER = "/api/workflows/triggerWorkflow"
NO_EVENT_FAILURES: dict[str, list[str]] = {
    name: []
    for name in (
        "invalidEmails",
        "invalidUserIds",
        "notFoundEmails",
        "notFoundUserIds",
        "forgottenEmails",
        "forgottenUserIds",
    )
}
NO_USER_FAILURES: dict[str, list[str]] = {
    **NO_EVENT_FAILURES,
    **{name: [] for name in ("invalidDataEmails", "invalidDataUserIds", "conflictEmails", "conflictUserIds")},
}


@pytest.fixture
def known(far_end: FarEnd) -> FarEnd:
    """A stand-in that knows u1 (with an email) and u2."""
    users = [{"userId": "u1", "dataFields": {"email": "Ada@Example.com"}}, {"userId": "u2"}]
    far_end.post(BULK_UPDATE, {"users": users}).raise_for_status()
    return far_end


def event(user_id: str = "u1", name: str = "Cart", **more: Any) -> dict[str, Any]:
    return {"userId": user_id, "eventName": name, **more}


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


# At the door ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["Api-Key", "Api_Key", "api_key"])
def test_the_key_is_taken_in_three_spellings(far_end: FarEnd, spelling: str) -> None:
    response = httpx.get(f"{far_end.address}/api/journeys", headers={spelling: API_KEY})
    assert response.status_code == 200
    assert [journey["id"] for journey in response.json()["journeys"]] == [WORKFLOW_ID]


@pytest.mark.parametrize("headers", [{}, {"Api-Key": ""}, {"Api-Key": "wrong"}, {"Authorization": API_KEY}])
@pytest.mark.parametrize("path", [TRACK, TRACK_BULK, UPDATE, BULK_UPDATE, TRIGGER, "/api/journeys"])
def test_any_other_key_is_refused_in_iterables_envelope(far_end: FarEnd, headers: dict[str, str], path: str) -> None:
    with httpx.Client(base_url=far_end.address, headers=headers) as stranger:
        response = stranger.get(path) if path == "/api/journeys" else stranger.post(path, json={})
    assert response.status_code == 401
    assert response.json() == {
        "msg": "Invalid API key",
        "code": "BadApiKey",
        "params": {"ip": "127.0.0.1", "endpoint": path},
    }


def test_a_body_over_four_megabytes_is_refused_without_json(known: FarEnd) -> None:
    body = b'{"events":[],"padding":"' + b"x" * 4_000_000 + b'"}'
    response = known.post(TRACK_BULK, body)
    assert response.status_code == 413
    assert not response.headers["content-type"].startswith("application/json")


def test_calls_over_the_rate_are_refused_without_a_time_to_come_back(start_standin: StartStandin) -> None:
    slow = start_standin(rate_scale=1.0, rates={BULK_UPDATE: 0.001})
    assert slow.post(BULK_UPDATE, {"users": []}).status_code == 200
    response = slow.post(BULK_UPDATE, {"users": []})
    assert refusal(response) == (429, "RateLimitExceeded")
    assert "retry-after" not in response.headers


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"events":[NaN]}', b'{"events":["\\ud800"]}'])
def test_what_is_no_json_is_refused(known: FarEnd, body: bytes) -> None:
    response = known.post(TRACK_BULK, body)
    assert refusal(response) == (400, "BadJsonBody")
    assert response.json()["msg"] == "[/api/events/trackBulk] Invalid JSON body"


@pytest.mark.parametrize(
    ("path", "body", "params"),
    [
        (
            TRACK_BULK,
            {"events": [event(), event(createdAt="soon")]},
            {"obj.events[1].createdAt": "Number value expected"},
        ),
        (TRACK_BULK, {"events": [event(createdAt=1.5)]}, {"obj.events[0].createdAt": "Number value expected"}),
        (TRACK_BULK, {"events": [event(createdAt=True)]}, {"obj.events[0].createdAt": "Number value expected"}),
        (TRACK_BULK, {"events": [event(id=7)]}, {"obj.events[0].id": "String value expected"}),
        (TRACK_BULK, {"events": [event(dataFields=[])]}, {"obj.events[0].dataFields": "Object value expected"}),
        (TRACK_BULK, {"events": [{"userId": "u1"}]}, {"obj.events[0].eventName": "Field is required"}),
        (TRACK_BULK, {"events": [7]}, {"obj.events[0]": "Object value expected"}),
        (TRACK_BULK, {"events": {}}, {"obj.events": "Array value expected"}),
        (TRACK_BULK, [], {"obj": "Object value expected"}),
        (TRACK, event(createNewFields="no"), {"obj.createNewFields": "Boolean value expected"}),
        (BULK_UPDATE, {"users": [{"userId": 7}]}, {"obj.users[0].userId": "String value expected"}),
        (UPDATE, {"userId": 7}, {"obj.userId": "String value expected"}),
        (TRIGGER, {"workflowId": "7", "userId": "u1"}, {"obj.workflowId": "Number value expected"}),
        (TRIGGER, {"userId": "u1"}, {"obj.workflowId": "Field is required"}),
    ],
)
def test_one_wrong_type_refuses_the_whole_call_and_says_where(
    known: FarEnd, path: str, body: Any, params: dict[str, str]
) -> None:
    before = known.summary()
    response = known.post(path, body)
    assert refusal(response) == (400, "BadJsonBody")
    assert response.json()["params"] == params
    after = known.summary()
    assert (after["events"], after["users"]) == (before["events"], before["users"])
    assert after["refused_calls"] == before["refused_calls"] + 1


def test_null_counts_as_absent(known: FarEnd) -> None:
    assert known.post(TRACK, event(createdAt=None, id=None, email=None)).status_code == 200


# Events ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [TRACK, TRACK_BULK])
def test_milliseconds_as_the_time_of_an_event_are_refused(known: FarEnd, path: str) -> None:
    late = event(createdAt=1_758_190_320_000)
    response = known.post(path, late if path == TRACK else {"events": [event(), late]})
    assert refusal(response) == (400, "BadParams")
    assert known.summary()["events"] == 0
    assert known.post(TRACK, event(createdAt=1_758_190_320)).status_code == 200


def test_an_event_id_of_over_512_bytes_is_refused(known: FarEnd) -> None:
    assert known.post(TRACK, event(id="é" * 256)).status_code == 200
    assert refusal(known.post(TRACK, event(id="é" * 256 + "x"))) == (400, "BadParams")


def test_the_same_event_id_updates_the_event(known: FarEnd) -> None:
    known.post(TRACK_BULK, {"events": [event(id="a", dataFields={"n": 1}), event(id="b")]})
    known.post(TRACK_BULK, {"events": [event(id="a", dataFields={"n": 2}), event(id="a", dataFields={"n": 3})]})
    rows = known.rows("events")
    assert [(row["event_id"], row["times_received"]) for row in rows] == [("a", 3), ("b", 1)]
    assert rows[0]["body"]["dataFields"] == {"n": 3}
    assert rows[0]["received_at_ms"] <= rows[0]["last_received_at_ms"]


def test_without_an_id_each_call_is_another_event(known: FarEnd) -> None:
    for _ in range(2):
        known.post(TRACK, event())
    assert (known.summary()["events"], known.summary()["event_receipts"]) == (2, 2)


def test_a_tracked_event_is_answered_with_its_id(known: FarEnd) -> None:
    assert known.post(TRACK, event(id="1234")).json() == {
        "msg": "Event with id: 1234 tracked.",
        "code": "Success",
        "params": {"id": "1234"},
    }


def test_single_failures_of_a_bulk_call_are_named_by_identifier(known: FarEnd) -> None:
    known.forget("u2")
    events = [
        event("u1", dataFields={"n": 1}),
        event("nobody"),
        event("u2"),
        event("ends in a space "),
        {"email": "nobody@example.com", "eventName": "Cart"},
        {"email": "no email", "eventName": "Cart"},
        {"email": "ada@example.com", "eventName": "Cart"},
        event("u1", "Forbidden Event"),
        {"eventName": "Cart"},
    ]
    response = known.post(TRACK_BULK, {"events": events})
    assert response.status_code == 200
    assert response.json() == {
        "successCount": 2,
        "failCount": 7,
        "invalidEmails": ["no email"],
        "invalidUserIds": ["ends in a space "],
        "filteredOutFields": [],
        "createdFields": ["n"],
        "disallowedEventNames": ["Forbidden Event"],
        "failedUpdates": {
            **NO_EVENT_FAILURES,
            "invalidEmails": ["no email"],
            "invalidUserIds": ["ends in a space "],
            "notFoundEmails": ["nobody@example.com"],
            "notFoundUserIds": ["nobody"],
            "forgottenUserIds": ["u2"],
        },
    }


@pytest.mark.parametrize(
    ("who", "status", "code"),
    [
        ({"userId": "nobody"}, 400, "UnknownUserIdError"),
        ({"email": "nobody@example.com"}, 400, "UnknownEmailError"),
        ({"userId": "x" * 53}, 400, "InvalidUserIdError"),
        ({"email": "sayan"}, 400, "InvalidEmailAddressError"),
        ({"userId": "gone"}, 409, "ForgottenUserError"),
        ({}, 400, "BadParams"),
    ],
)
@pytest.mark.parametrize("path", [TRACK, TRIGGER])
def test_a_single_call_for_somebody_impossible_is_refused(
    known: FarEnd, path: str, who: dict[str, str], status: int, code: str
) -> None:
    known.forget("gone")
    response = known.post(path, {**who, "eventName": "Cart", "workflowId": WORKFLOW_ID})
    assert refusal(response) == (status, code)
    assert (known.summary()["events"], known.summary()["workflow_entries"]) == (0, 0)


def test_a_single_disallowed_event_is_answered_200_and_not_kept(known: FarEnd) -> None:
    response = known.post(TRACK, event(name="Forbidden Event"))
    assert response.status_code == 200
    assert "is disallowed from tracking" in response.json()["msg"]
    assert known.summary()["events"] == 0


def test_tracking_creates_people_only_if_switched_on(start_standin: StartStandin) -> None:
    generous = start_standin(project=Project(creates_on_track=True))
    assert generous.post(TRACK_BULK, {"events": [event("new"), event("new")]}).json()["successCount"] == 2
    assert [user["user_id"] for user in generous.rows("users")] == ["new"]


# Field types ----------------------------------------------------------------------------------------------------------


def test_the_first_value_fixes_the_type_for_the_event_name_only(known: FarEnd) -> None:
    known.post(TRACK, event(dataFields={"total": 1})).raise_for_status()
    response = known.post(TRACK_BULK, {"events": [event(id="ok"), event(dataFields={"total": "many"})]})
    assert response.json() == {
        "msg": "Request fields types do not match the types of the project's fields",
        "code": "RequestFieldsTypesMismatched",
        "params": {
            "validationErrors": {
                "9079:::total": {
                    "incomingTypes": ["string", "keyword"],
                    "expectedType": "long",
                    "category": "custom event",
                    "offendingValue": "many",
                    "_type": "UnexpectedType",
                }
            }
        },
    }
    assert (response.status_code, known.summary()["events"]) == (400, 1)
    assert known.post(TRACK, event(name="Other", dataFields={"total": "many"})).status_code == 200


@pytest.mark.parametrize(
    ("first", "welcome", "mismatched"),
    [
        (1, [2, None, []], [1.5, "1", True, {}]),
        (1.5, [2, 2.5], ["1", True]),
        ("a", ["b", "2024-01-01"], [1, True, {}]),
        ("2024-01-01", ["2024-01-01 10:00:00 +00:00", "2024-01-01T10:00:00.000Z"], ["soon", 1]),
        (True, [False], [1, "true"]),
        (["a"], ["b", ["c", "d"]], [[1], [{"x": 1}]]),
        ([{"x": 1}], [[{"x": 2, "y": "new"}]], [[{"x": "a"}], ["a"], {"x": 1}]),
        ({"x": {"y": 1}}, [{"x": {"z": "new"}}], [{"x": {"y": "a"}}, {"x": 1}, 1]),
    ],
)
def test_later_values_must_be_of_the_fixed_type(
    known: FarEnd, first: Any, welcome: list[Any], mismatched: list[Any]
) -> None:
    assert known.post(TRACK, event(dataFields={"f": first})).status_code == 200
    for value in welcome:
        assert known.post(TRACK, event(dataFields={"f": value})).status_code == 200, value
    for value in mismatched:
        response = known.post(TRACK, event(dataFields={"f": value}))
        assert refusal(response) == (400, "RequestFieldsTypesMismatched"), value


def test_two_types_in_one_call_refuse_it_and_fix_nothing(known: FarEnd) -> None:
    both = {"events": [event(dataFields={"f": 1}), event(dataFields={"f": "a"})]}
    assert refusal(known.post(TRACK_BULK, both)) == (400, "RequestFieldsTypesMismatched")
    assert known.post(TRACK, event(dataFields={"f": "a"})).status_code == 200


def test_a_geo_location_is_a_type_of_its_own(known: FarEnd) -> None:
    place = {"home_geo_location": {"lat": 47.0, "lon": 15.4}}
    assert known.post(TRACK, event(dataFields=place)).status_code == 200
    assert refusal(known.post(TRACK, event(dataFields={"home_geo_location": {"lat": 1}})))[0] == 400


@pytest.mark.parametrize("path", [UPDATE, BULK_UPDATE])
def test_trait_types_are_fixed_for_the_project(known: FarEnd, path: str) -> None:
    def update(user_id: str, fields: dict[str, Any]) -> httpx.Response:
        user = {"userId": user_id, "dataFields": fields}
        return known.post(path, user if path == UPDATE else {"users": [user]})

    assert update("u1", {"age": 30}).status_code == 200
    response = update("u2", {"age": "thirty"})
    assert refusal(response) == (400, "RequestFieldsTypesMismatched")
    assert response.json()["params"]["validationErrors"]["9079:::age"]["category"] == "user"


def test_new_fields_are_filtered_out_where_they_are_unwelcome(known: FarEnd) -> None:
    known.post(TRACK, event(dataFields={"old": 1}))
    events = [event(createNewFields=False, dataFields={"old": 2, "new": 3})]
    reply = known.post(TRACK_BULK, {"events": events}).json()
    assert (reply["filteredOutFields"], reply["createdFields"]) == (["new"], [])
    assert known.rows("events")[-1]["body"]["dataFields"] == {"old": 2}


# Users ----------------------------------------------------------------------------------------------------------------


def test_bulk_updates_name_their_failures_in_iterables_shape(known: FarEnd) -> None:
    known.forget("gone")
    users = [
        {"userId": "u3", "dataFields": {"tier": "gold"}},
        {"userId": ""},
        {"userId": "gone"},
        {"userId": "u2", "dataFields": {"email": "ada@example.com"}},
        {"userId": "u4", "dataFields": {"email": "no email"}},
        {"email": "no email"},
        {"email": "new@example.com"},
        {},
    ]
    response = known.post(BULK_UPDATE, {"users": users})
    assert response.json() == {
        "successCount": 2,
        "failCount": 6,
        "invalidEmails": ["no email"],
        "invalidUserIds": [""],
        "filteredOutFields": [],
        "createdFields": ["tier"],
        "noOpEmails": [],
        "noOpUserIds": [],
        "failedUpdates": {
            **NO_USER_FAILURES,
            "invalidEmails": ["no email"],
            "invalidUserIds": [""],
            "forgottenUserIds": ["gone"],
            "conflictUserIds": ["u2"],
            "invalidDataUserIds": ["u4"],
        },
    }


@pytest.mark.parametrize(
    ("user", "status", "code"),
    [
        ({"userId": "x" * 53}, 400, "InvalidUserIdError"),
        ({"email": "sayan"}, 400, "InvalidEmailAddressError"),
        ({"userId": "gone"}, 409, "ForgottenUserError"),
        ({"userId": "u9", "email": "gone@example.com"}, 409, "ForgottenUserError"),
        ({"userId": "u2", "email": "ada@example.com"}, 409, "EmailAlreadyExists"),
        ({"email": "ada@example.com", "dataFields": {"userId": "u2"}}, 409, "UserIdAlreadyExists"),
        ({}, 400, "BadParams"),
    ],
)
def test_a_single_impossible_update_is_refused(known: FarEnd, user: dict[str, Any], status: int, code: str) -> None:
    known.post(UPDATE, {"userId": "gone", "email": "gone@example.com"}).raise_for_status()
    known.forget("gone")
    before = known.rows("users")
    assert refusal(known.post(UPDATE, user)) == (status, code)
    assert known.rows("users") == before


def test_updates_merge_and_nested_objects_only_if_asked(known: FarEnd) -> None:
    def update(fields: dict[str, Any], *, nested: bool) -> dict[str, Any]:
        known.post(UPDATE, {"userId": "u2", "dataFields": fields, "mergeNestedObjects": nested}).raise_for_status()
        return known.rows("users")[1]["fields"]

    assert update({"tier": "gold", "home": {"city": "Graz"}}, nested=False)["tier"] == "gold"
    assert update({"home": {"zip": "8010"}}, nested=True)["home"] == {"city": "Graz", "zip": "8010"}
    assert update({"home": {"zip": "8020"}, "tier": None}, nested=False) == {"home": {"zip": "8020"}}


def test_one_person_twice_in_a_bulk_call_is_one_profile(known: FarEnd) -> None:
    users = [
        {"userId": "u5", "dataFields": {"a": 1}},
        {"userId": "u5", "dataFields": {"b": 2}},
        {"email": "ada@example.com", "dataFields": {"a": 1}},
        {"userId": "u1", "dataFields": {"b": 2}},
    ]
    assert known.post(BULK_UPDATE, {"users": users}).json()["successCount"] == 4
    by_id = {user["user_id"]: user for user in known.rows("users")}
    assert by_id["u5"]["fields"] == by_id["u1"]["fields"] == {"a": 1, "b": 2}


def test_people_can_be_read_back_by_either_identifier_and_strangers_are_no_error(known: FarEnd) -> None:
    by_id = known.get("/api/users/byUserId", userId="u1")["user"]
    assert by_id == known.get("/api/users/getByEmail", email="ada@example.com")["user"]
    assert (by_id["userId"], by_id["email"]) == ("u1", "ada@example.com")
    assert known.get("/api/users/getByEmail", email="nobody@example.com") == {}
    assert known.client.get("/api/users/byUserId").status_code == 400


def test_a_forgotten_person_is_gone_and_cannot_come_back_by_any_identifier(known: FarEnd) -> None:
    known.forget("u1")
    assert known.get("/api/users/byUserId", userId="u1") == {}
    reply = known.post(BULK_UPDATE, {"users": [{"email": "ADA@example.com"}, {"userId": "U1"}]}).json()
    assert reply["failedUpdates"]["forgottenEmails"] == ["ada@example.com"]
    assert reply["failedUpdates"]["forgottenUserIds"] == ["U1"]  # the hash knows no case


def test_batches_over_the_projects_limit_are_too_large(start_standin: StartStandin) -> None:
    small = start_standin(project=Project(max_batch=1))
    body = {"users": [{"userId": "a"}, {"userId": "b"}]}
    assert refusal(small.post(BULK_UPDATE, body)) == (400, "BatchTooLarge")
    assert refusal(small.post(TRACK_BULK, {"events": [event(), event()]})) == (400, "BatchTooLarge")


# Journeys -------------------------------------------------------------------------------------------------------------


def test_every_trigger_is_another_entry(known: FarEnd) -> None:
    call = {"workflowId": WORKFLOW_ID, "userId": "u1", "dataFields": {"n": 1}}
    for _ in range(3):
        assert known.post(TRIGGER, call).json()["code"] == "Success"
    known.post(TRIGGER, {**call, "userId": "u2"})
    assert [row["entry_number"] for row in known.rows("workflow_entries")] == [1, 2, 3, 1]
    assert known.summary()["workflow_entries"] == 4
    assert known.summary()["repeated_workflow_entries"] == 2


def test_a_journey_must_be_registered(known: FarEnd) -> None:
    call = {"workflowId": 99, "userId": "u1"}
    assert refusal(known.post(TRIGGER, call)) == (400, "BadParams")
    known.client.post("/_standin/workflows", json={"workflowIds": [99]}).raise_for_status()
    assert known.post(TRIGGER, call).status_code == 200


def test_a_refusal_may_carry_the_code_success_as_the_real_one_does(known: FarEnd) -> None:
    response = known.post(TRIGGER, {"workflowId": WORKFLOW_ID, "listId": 999})
    assert refusal(response) == (400, "Success")


# Faults and inspection ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "kept"), [("drop_before", 0), ("drop_after", 1)])
def test_a_cut_connection_has_its_effect_or_not_as_ordered(known: FarEnd, mode: str, kept: int) -> None:
    known.order(TRACK, mode)
    with pytest.raises(httpx.TransportError):
        known.post(TRACK, event(id="a"))
    assert known.summary()["events"] == kept
    assert known.post(TRACK, event(id="a")).status_code == 200


@pytest.mark.parametrize(("mode", "kept"), [("status", 0), ("status_after", 1)])
def test_an_error_status_has_its_effect_or_not_as_ordered(known: FarEnd, mode: str, kept: int) -> None:
    known.order(TRACK, mode, status=503, times=2, retry_after="7")
    responses = [known.post(TRACK, event(id="a")) for _ in range(3)]
    assert [response.status_code for response in responses] == [503, 503, 200]
    assert (responses[0].json()["code"], responses[0].headers["retry-after"]) == ("GenericError", "7")
    assert known.rows("events")[0]["times_received"] == 1 + 2 * kept


@pytest.mark.parametrize("order", [{}, {"endpoint": TRACK, "mode": "explode"}, [], {"endpoint": 1}])
def test_a_fault_that_cannot_be_read_is_refused_with_a_sentence(far_end: FarEnd, order: Any) -> None:
    response = far_end.post("/_standin/faults", order)
    assert response.status_code == 400
    assert "give endpoint" in response.json()["error"]


def test_pages_go_on_where_the_last_one_ended(known: FarEnd) -> None:
    known.post(TRACK_BULK, {"events": [event(id=str(number)) for number in range(5)]})
    first = known.get("/_standin/events", limit=3)
    second = known.get("/_standin/events", limit=3, after=first["next_after"])
    assert [row["event_id"] for row in first["events"] + second["events"]] == list("01234")
    assert known.get("/_standin/events", after=second["next_after"]) == {
        "events": [],
        "next_after": second["next_after"],
    }


def test_refused_calls_are_counted_by_endpoint_status_and_code(known: FarEnd) -> None:
    for _ in range(2):
        known.post(TRIGGER, {"workflowId": 99, "userId": "u1"})
    assert known.summary()["refusals"] == [{"endpoint": TRIGGER, "status": 400, "code": "BadParams", "calls": 2}]
