"""What Iterable's replies mean for the messages of a call: pure, HTTP status first, nothing personal kept."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import cast

from activation_dagster.domain.reasons import SendFailure
from activation_dagster.domain.sends import Outcome, Receipt

CODES = frozenset(
    {
        "Success",
        "BadApiKey",
        "BadAuthorizationHeader",
        "BadJsonBody",
        "BadParams",
        "BatchTooLarge",
        "DatabaseError",
        "EmailAlreadyExists",
        "ExternalKeyConflict",
        "Forbidden",
        "ForbiddenParamsError",
        "ForgottenUserError",
        "GenericError",
        "InvalidEmailAddressError",
        "InvalidJwtPayload",
        "InvalidUserIdError",
        "JwtUserIdentifiersMismatched",
        "NotFound",
        "QueueEmailError",
        "RateLimitExceeded",
        "RequestFieldsTypesMismatched",
        "Unauthorized",
        "UniqueFieldsLimitExceeded",
        "UnknownEmailError",
        "UnknownUserIdError",
        "UserIdAlreadyExists",
    }
)
"""Every documented code. Another one is not repeated in a receipt: it could be a person's name."""


class Verdict(StrEnum):
    """What became of one call."""

    TAKEN = "taken"  # 2xx with a readable envelope; single items may still have failed
    REFUSED = "refused"  # the call as a whole: at least one of its items is guilty
    LIMITED = "limited"  # 429: not processed
    UNREACHED = "unreached"  # no connection, so no byte was sent
    DOUBTFUL = "doubtful"  # processed or not: nobody can say
    STOPPED = "stopped"  # key or address refused: the next call would be too


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One call's outcome. `body` may hold personal data and must not leave this layer; `answer` never does."""

    verdict: Verdict
    status: int | None = None
    code: str = ""
    body: Mapping[str, object] = field(default_factory=dict[str, object], repr=False)
    retry_after_seconds: float | None = None

    @property
    def answer(self) -> str:
        """The provider's code and counts."""
        counts = [f"{name}={self.body[name]}" for name in ("successCount", "failCount") if _is_count(self.body, name)]
        return " ".join([*([self.code] if self.code else []), *counts])


def _is_count(body: Mapping[str, object], name: str) -> bool:
    value = body.get(name)
    return isinstance(value, int) and not isinstance(value, bool)


def parse_body(content: bytes) -> Mapping[str, object]:
    """The reply's JSON object; {} for anything else, since errors may come as text, HTML or not at all."""
    try:
        value: object = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def parse_retry_after(value: str | None, date: str | None) -> float | None:
    """Seconds to wait: a number as it is, a date as its distance from the reply's own `Date`; else None."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        until, sent = _parse_date(value), _parse_date(date or "")
        if until is None or sent is None or (until.tzinfo is None) != (sent.tzinfo is None):
            return None
        seconds = (until - sent).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _parse_date(value: str) -> datetime | None:
    try:
        return parsedate_to_datetime(value)
    except ValueError:
        return None


def read_reply(status: int, content: bytes, *, retry_after: str | None = None, date: str | None = None) -> Reply:
    """Judges one reply. The status decides; an error reply may carry the code "Success"."""
    body = parse_body(content)
    code = body.get("code")
    known_code = code if isinstance(code, str) and code in CODES else ""
    return Reply(
        verdict=_verdict(status, body, known_code),
        status=status,
        code=known_code,
        body=body,
        retry_after_seconds=parse_retry_after(retry_after, date) if status == 429 else None,
    )


def _verdict(status: int, body: Mapping[str, object], code: str) -> Verdict:
    if 200 <= status < 300:
        readable = code == "Success" or (_is_count(body, "successCount") and _is_count(body, "failCount"))
        return Verdict.TAKEN if readable else Verdict.DOUBTFUL
    if status == 429:
        return Verdict.LIMITED
    # 404, 405 and redirects say that the address is wrong: rejecting the messages for that would lose them.
    if status in (401, 403, 404, 405) or 300 <= status < 400:
        return Verdict.STOPPED
    # 408 may come after the request was handed on; everything unheard of is as doubtful.
    if 400 <= status < 500 and status != 408:
        return Verdict.REFUSED
    return Verdict.DOUBTFUL


_TROUBLE: Mapping[Verdict, tuple[Outcome, SendFailure]] = {
    Verdict.LIMITED: (Outcome.RETRY, SendFailure.RATE_LIMITED),
    Verdict.UNREACHED: (Outcome.RETRY, SendFailure.DESTINATION_UNAVAILABLE),
    Verdict.DOUBTFUL: (Outcome.IN_DOUBT, SendFailure.OUTCOME_UNKNOWN),
    Verdict.STOPPED: (Outcome.STOPPED, SendFailure.DESTINATION_STOPPED),
}


def is_trouble(reply: Reply) -> bool:
    """Whether the call says nothing about its items and the next call would likely fare no better."""
    return reply.verdict in _TROUBLE


def troubled(send_key: str, reply: Reply) -> Receipt:
    """The receipt of a message that was part of a troubled call."""
    outcome, reason = _TROUBLE[reply.verdict]
    return _receipt(send_key, outcome, reason, reply)


def not_called(send_key: str, reply: Reply) -> Receipt:
    """The receipt of a message that was not sent at all, because an earlier call got into trouble."""
    if reply.verdict is Verdict.DOUBTFUL:
        return Receipt(
            send_key=send_key, outcome=Outcome.RETRY, reason=SendFailure.DESTINATION_UNAVAILABLE, answer="not called"
        )
    return troubled(send_key, reply)


def delivered(send_key: str, reply: Reply) -> Receipt:
    """The receipt of a message that arrived."""
    return Receipt(send_key=send_key, outcome=Outcome.DELIVERED, http_status=reply.status, answer=reply.answer)


def rejected(send_key: str, reply: Reply, reason: SendFailure | None = None) -> Receipt:
    """The receipt of a message that will never be taken; without a reason the reply's code tells it."""
    return _receipt(send_key, Outcome.REJECTED, reason or _REASON_OF_CODE.get(reply.code, _REJECTED), reply)


def _receipt(send_key: str, outcome: Outcome, reason: SendFailure, reply: Reply) -> Receipt:
    return Receipt(
        send_key=send_key,
        outcome=outcome,
        reason=reason,
        http_status=reply.status,
        answer=reply.answer,
        retry_after_seconds=reply.retry_after_seconds,
    )


_REJECTED = SendFailure.REJECTED_BY_DESTINATION
_REASON_OF_CODE: Mapping[str, SendFailure] = {
    "ForgottenUserError": SendFailure.FORGOTTEN_BY_DESTINATION,
    "UnknownUserIdError": SendFailure.UNKNOWN_TO_DESTINATION,
    "UnknownEmailError": SendFailure.UNKNOWN_TO_DESTINATION,
}
_REASON_OF_LIST: Mapping[str, SendFailure] = {
    "invalidUserIds": _REJECTED,
    "invalidEmails": _REJECTED,
    "invalidDataUserIds": _REJECTED,
    "invalidDataEmails": _REJECTED,
    "conflictUserIds": _REJECTED,
    "conflictEmails": _REJECTED,
    "notFoundUserIds": SendFailure.UNKNOWN_TO_DESTINATION,
    "notFoundEmails": SendFailure.UNKNOWN_TO_DESTINATION,
    "forgottenUserIds": SendFailure.FORGOTTEN_BY_DESTINATION,
    "forgottenEmails": SendFailure.FORGOTTEN_BY_DESTINATION,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """One item of a bulk call by what a reply may call it."""

    send_key: str
    identifiers: frozenset[str]
    event_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkJudgement:
    """What a TAKEN bulk reply says: who failed and why, and whether failures remain that it does not name.

    `is_incomplete` means that the counts do not add up to the items sent, so that no item is known to be taken.
    """

    failures: Mapping[str, SendFailure]
    has_unnamed_failures: bool
    is_incomplete: bool


def _strings(value: object) -> set[str]:
    if not isinstance(value, list):
        return set()
    return {item for item in cast("list[object]", value) if isinstance(item, str)}


def judge_bulk(reply: Reply, items: Sequence[Named]) -> BulkJudgement:
    """Maps the failure lists to the items; a failure is named by identifier or event name, never by position."""
    body = reply.body
    reasons: dict[str, SendFailure] = {}
    # For events the deprecated list at the top holds the unknown ids; where both speak, the newer one is right.
    for name in ("invalidUserIds", "invalidEmails"):
        unknown = "disallowedEventNames" in body
        reasons |= dict.fromkeys(_strings(body.get(name)), SendFailure.UNKNOWN_TO_DESTINATION if unknown else _REJECTED)
    failed_updates = body.get("failedUpdates")
    if isinstance(failed_updates, dict):
        for name, identifiers in cast("dict[str, object]", failed_updates).items():
            reasons |= dict.fromkeys(_strings(identifiers), _REASON_OF_LIST.get(name, _REJECTED))
    disallowed = _strings(body.get("disallowedEventNames"))
    failures: dict[str, SendFailure] = {}
    for item in items:
        told = [reasons[identifier] for identifier in sorted(item.identifiers) if identifier in reasons]
        if told:
            failures[item.send_key] = told[0]
        elif item.event_name in disallowed:
            failures[item.send_key] = _REJECTED
    succeeded, failed = (cast(int, body.get(name, 0)) for name in ("successCount", "failCount"))
    return BulkJudgement(
        failures=failures,
        has_unnamed_failures=failed > len(failures),
        is_incomplete=succeeded + max(failed, len(failures)) < len(items),
    )
