"""Replies are judged by status first, never raise, and never let personal data into a receipt."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.destinations.iterable_replies import (
    CODES,
    Named,
    Verdict,
    judge_bulk,
    parse_retry_after,
    read_reply,
    rejected,
)
from activation_dagster.domain.reasons import SendFailure

_SCALAR = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
_JSON = _SCALAR | st.lists(_SCALAR, max_size=2) | st.dictionaries(st.text(max_size=5), _SCALAR, max_size=2)
_COUNT = st.integers() | _JSON
_BODY = st.binary(max_size=60) | st.fixed_dictionaries(
    {},
    optional={
        "code": st.sampled_from(sorted(CODES)) | _JSON,
        "msg": _JSON,
        "params": _JSON,
        "successCount": _COUNT,
        "failCount": _COUNT,
        "invalidUserIds": _JSON,
        "disallowedEventNames": _JSON,
        "failedUpdates": _JSON,
    },
).map(lambda body: json.dumps(body).encode())


@given(status=st.integers(100, 599), content=_BODY)
def test_whatever_comes_back_no_error_status_counts_as_taken_and_nothing_personal_is_kept(
    status: int, content: bytes
) -> None:
    reply = read_reply(status, content)
    assert reply.verdict is not Verdict.TAKEN or 200 <= status < 300
    assert re.fullmatch(r"([A-Za-z]+)?( ?(successCount|failCount)=-?\d+)*", reply.answer)
    if reply.verdict is Verdict.TAKEN:
        judge_bulk(reply, [Named(send_key="k", identifiers=frozenset({"u"}), event_name="e")])


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b'"Success"', b"[" * 100_000, b"<html>"])
def test_a_reply_that_is_no_object_is_never_taken(content: bytes) -> None:
    assert read_reply(200, content).verdict is Verdict.DOUBTFUL


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        (None, None, None),
        ("1.5", None, 1.5),
        ("nan", None, None),
        ("inf", None, None),
        ("Wed, 21 Oct 2015 07:28:30 GMT", "Wed, 21 Oct 2015 07:28:00 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", None, None),
        ("Wed, 21 Oct 2015 07:28:30 GMT", "nonsense", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_seen_from_the_reply(
    value: str | None, date: str | None, seconds: float | None
) -> None:
    assert parse_retry_after(value, date) == seconds


@pytest.mark.parametrize(
    ("list_name", "reason"),
    [
        ("invalidUserIds", SendFailure.REJECTED_BY_DESTINATION),
        ("conflictUserIds", SendFailure.REJECTED_BY_DESTINATION),
        ("invalidDataUserIds", SendFailure.REJECTED_BY_DESTINATION),
        ("notFoundUserIds", SendFailure.UNKNOWN_TO_DESTINATION),
        ("forgottenUserIds", SendFailure.FORGOTTEN_BY_DESTINATION),
        ("forgottenEmails", SendFailure.FORGOTTEN_BY_DESTINATION),
        ("aListOfTomorrow", SendFailure.REJECTED_BY_DESTINATION),
    ],
)
def test_each_failure_list_has_its_reason(list_name: str, reason: SendFailure) -> None:
    body = {"successCount": 1, "failCount": 1, "failedUpdates": {list_name: ["u1"]}}
    items = [Named(send_key=f"k{n}", identifiers=frozenset({f"u{n}"})) for n in (1, 2)]
    judgement = judge_bulk(read_reply(200, json.dumps(body).encode()), items)
    assert judgement.failures == {"k1": reason}
    assert not judgement.has_unnamed_failures
    assert not judgement.is_incomplete


def test_the_deprecated_list_of_an_event_call_means_unknown_and_the_newer_list_wins() -> None:
    item = [Named(send_key="k", identifiers=frozenset({"u"}))]
    body: dict[str, object] = {
        "successCount": 0,
        "failCount": 1,
        "invalidUserIds": ["u"],
        "disallowedEventNames": [],
    }
    reply = read_reply(200, json.dumps(body).encode())
    assert judge_bulk(reply, item).failures == {"k": SendFailure.UNKNOWN_TO_DESTINATION}
    body["failedUpdates"] = {"forgottenUserIds": ["u"]}
    reply = read_reply(200, json.dumps(body).encode())
    assert judge_bulk(reply, item).failures == {"k": SendFailure.FORGOTTEN_BY_DESTINATION}


def test_an_undocumented_code_is_not_repeated() -> None:
    reply = read_reply(400, b'{"code":"zelda@example.com","msg":"zelda@example.com"}')
    assert "zelda" not in repr(rejected("k", reply))
    assert "zelda" not in repr(reply)
