"""The replies of the stand-in, in Iterable's own shapes."""

from __future__ import annotations

from dataclasses import dataclass, field

from activation_dagster.destinations.standin.rules import FieldReading, JsonObject
from activation_dagster.domain.sends import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One reply. `plain` replaces the JSON body where the real service does not answer JSON."""

    status: int
    body: JsonObject
    plain: str | None = None

    @property
    def code(self) -> str:
        """The envelope's code, for counting."""
        code = self.body.get("code")
        return code if isinstance(code, str) else ""


def envelope(status: int, code: str, msg: str, params: Json = None) -> Answer:
    """Iterable's generic reply {"msg", "code", "params"}."""
    return Answer(status=status, body={"msg": msg, "code": code, "params": params})


def bad_api_key(endpoint: str) -> Answer:
    """401 for a missing or wrong key."""
    return envelope(401, "BadApiKey", "Invalid API key", {"ip": "127.0.0.1", "endpoint": endpoint})


def bad_json(endpoint: str, faults: dict[str, str] | None = None) -> Answer:
    """400 for a body that is not JSON, or not of the documented types."""
    return envelope(400, "BadJsonBody", f"[{endpoint}] Invalid JSON body", {**faults} if faults else None)


def body_too_large() -> Answer:
    """413; it comes from in front of the API, so it is no JSON."""
    return Answer(status=413, body={}, plain="<html><h1>413 Request Entity Too Large</h1></html>")


def rate_limited(endpoint: str) -> Answer:
    """429; without Retry-After, as the real one."""
    return envelope(429, "RateLimitExceeded", f"Exceeded rate limit for {endpoint}")


def field_types_mismatched(reading: FieldReading) -> Answer:
    """400 for the whole call: at least one value is of another type than its field's first value."""
    return envelope(
        400,
        "RequestFieldsTypesMismatched",
        "Request fields types do not match the types of the project's fields",
        {"validationErrors": reading.mismatches},
    )


_EVENT_FAILURES = (
    "invalidEmails",
    "invalidUserIds",
    "notFoundEmails",
    "notFoundUserIds",
    "forgottenEmails",
    "forgottenUserIds",
)
_USER_FAILURES = (
    *_EVENT_FAILURES,
    "invalidDataEmails",
    "invalidDataUserIds",
    "conflictEmails",
    "conflictUserIds",
)


@dataclass(slots=True, kw_only=True)
class BulkReply:
    """The reply of a bulk call as it grows: failures are named by identifier, never by position."""

    lists: dict[str, list[str]]
    is_of_events: bool
    succeeded: int = 0
    failed: int = 0
    created_fields: list[str] = field(default_factory=list[str])
    disallowed: list[str] = field(default_factory=list[str])

    @classmethod
    def of_events(cls) -> BulkReply:
        """For events/trackBulk."""
        return cls(lists={name: [] for name in _EVENT_FAILURES}, is_of_events=True)

    @classmethod
    def of_users(cls) -> BulkReply:
        """For users/bulkUpdate."""
        return cls(lists={name: [] for name in _USER_FAILURES}, is_of_events=False)

    def fail(self, failure: str, *, user_id: str | None, email: str | None) -> None:
        """Counts one failed item; an item without any identifier fails without a name."""
        self.failed += 1
        if user_id is not None:
            self.lists[f"{failure}UserIds"].append(user_id)
        elif email is not None:
            self.lists[f"{failure}Emails"].append(email)

    def answer(self, filtered_out: set[str]) -> Answer:
        """200 whatever failed, as Iterable does."""
        body: JsonObject = {
            "successCount": self.succeeded,
            "failCount": self.failed,
            "invalidEmails": [*self.lists["invalidEmails"]],
            "invalidUserIds": [*self.lists["invalidUserIds"]],
            "filteredOutFields": [*sorted(filtered_out)],
            "createdFields": [*self.created_fields],
        }
        if self.is_of_events:
            body["disallowedEventNames"] = [*self.disallowed]
        else:
            body["noOpEmails"] = []
            body["noOpUserIds"] = []
        body["failedUpdates"] = {name: [*names] for name, names in self.lists.items()}
        return Answer(status=200, body=body)
