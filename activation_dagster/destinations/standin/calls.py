"""What each endpoint of the stand-in does with a request that is well-formed JSON: judge, keep, answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from activation_dagster.destinations.standin import rules
from activation_dagster.destinations.standin.answers import (
    Answer,
    BulkReply,
    bad_json,
    envelope,
    field_types_mismatched,
)
from activation_dagster.destinations.standin.rules import FieldReading, JsonObject
from activation_dagster.destinations.standin.store import Store, StoredEvent
from activation_dagster.destinations.standin.updates import UserUpdates
from activation_dagster.domain.sends import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The switches of the project that the stand-in plays; always of the hybrid type."""

    project_id: int = 9079
    creates_on_track: bool = False
    disallowed_event_names: frozenset[str] = frozenset()
    max_batch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Whom an item names: by user id if it has one, else by email (lower-cased)."""

    user_id: str | None
    email: str | None

    @classmethod
    def of(cls, item: JsonObject) -> Who:
        """Reads the identifiers of a request item whose types were checked."""
        user_id, email = cast("str | None", item.get("userId")), cast("str | None", item.get("email"))
        if user_id is not None:
            return cls(user_id=user_id, email=None)
        return cls(user_id=None, email=email.strip().lower() if email is not None else None)

    def invalid(self) -> str | None:
        """The failure list's stem if the identifier cannot be one."""
        if self.user_id is not None:
            return None if rules.is_user_id(self.user_id) else "invalid"
        return None if self.email is not None and rules.is_email(self.email) else "invalid"


class People:
    """Which of the people named in one call are forgotten, and which are known."""

    def __init__(self, store: Store, named: Sequence[Who]) -> None:
        user_ids = {who.user_id for who in named if who.user_id is not None}
        emails = {who.email for who in named if who.email is not None}
        self._forgotten = store.forgotten("user_id", user_ids), store.forgotten("email", emails)
        self._known = store.known("user_id", user_ids), store.known("email", emails)

    def failure(self, who: Who, *, must_be_known: bool) -> str | None:
        """The failure list's stem for a person, or None if welcome."""
        if failure := who.invalid():
            return failure
        if who.user_id in self._forgotten[0] or who.email in self._forgotten[1]:
            return "forgotten"
        if must_be_known and who.user_id not in self._known[0] and who.email not in self._known[1]:
            return "notFound"
        return None


def _refusal_of(failure: str, who: Who) -> Answer:
    """The reply of a single call for a failure that a bulk call would list."""
    by_id = who.user_id is not None
    match failure:
        case "forgotten":
            return envelope(409, "ForgottenUserError", "User has been forgotten")
        case "notFound":
            code = "UnknownUserIdError" if by_id else "UnknownEmailError"
            return envelope(400, code, "User does not exist")
        case "conflict":
            code = "EmailAlreadyExists" if by_id else "UserIdAlreadyExists"
            return envelope(409, code, "Identifier belongs to another user")
        case "invalidData":
            return envelope(400, "InvalidEmailAddressError", "Invalid email in dataFields")
        case _ if by_id:
            return envelope(400, "InvalidUserIdError", "Invalid userId")
        case _ if who.email is not None:
            return envelope(400, "InvalidEmailAddressError", f"Invalid email: {who.email}")
        case _:
            return envelope(400, "BadParams", "Provide an email or a userId")


def _bad_events(events: Sequence[JsonObject]) -> Answer | None:
    for index, event in enumerate(events):
        created_at = event.get("createdAt")
        if isinstance(created_at, int) and created_at > rules.MAX_CREATED_AT:
            faults: Json = {f"obj.events[{index}].createdAt": "Unix timestamp in seconds expected"}
            return envelope(400, "BadParams", "createdAt is not in seconds", faults)
        event_id = event.get("id")
        if isinstance(event_id, str) and len(event_id.encode()) > rules.MAX_EVENT_ID_BYTES:
            faults = {f"obj.events[{index}].id": f"At most {rules.MAX_EVENT_ID_BYTES} bytes expected"}
            return envelope(400, "BadParams", "id is too long", faults)
    return None


def _stored_event(event: JsonObject, who: Who, fields: JsonObject) -> StoredEvent:
    return StoredEvent(
        event_id=cast("str | None", event.get("id")),
        event_name=cast(str, event["eventName"]),
        user_id=who.user_id,
        email=who.email,
        created_at=cast("int | None", event.get("createdAt")),
        body={**event, "dataFields": fields},
    )


def _keep_events(store: Store, project: Project, events: Sequence[JsonObject]) -> tuple[Answer, BulkReply]:
    """The one path of single and bulk tracking; nothing is kept unless the answer's status is 200."""
    reply = BulkReply.of_events()
    if refusal := _bad_events(events):
        return refusal, reply
    named = [Who.of(event) for event in events]
    people = People(store, named)
    reading = FieldReading(project_id=project.project_id, known=store.field_types)
    kept: list[StoredEvent] = []
    updates = UserUpdates(store)
    for event, who in zip(events, named, strict=True):
        name = cast(str, event["eventName"])
        fields = cast(JsonObject, event.get("dataFields") or {})
        scope = f"event:{name}"
        may_create = event.get("createNewFields") is not False
        fields = reading.read(scope, fields, may_create=may_create)
        if failure := people.failure(who, must_be_known=not project.creates_on_track):
            reply.fail(failure, user_id=who.user_id, email=who.email)
        elif name in project.disallowed_event_names:
            reply.failed += 1
            if name not in reply.disallowed:
                reply.disallowed.append(name)
        else:
            kept.append(_stored_event(event, who, fields))
            if project.creates_on_track:
                updates.apply(who.user_id, who.email, {}, nested=False)
    if reading.mismatches:
        return field_types_mismatched(reading), reply
    for event in kept:
        scope = f"event:{event.event_name}"
        created = reading.created(scope, cast(JsonObject, event.body["dataFields"]))
        if created:
            store.fix_field_types(scope, created)
            reply.created_fields.extend(name for name in created if name not in reply.created_fields)
    updates.save()
    store.put_events(kept)
    reply.succeeded = len(kept)
    return reply.answer(reading.filtered_out), reply


def track_bulk(endpoint: str, store: Store, project: Project, body: Json) -> Answer:
    """POST /api/events/trackBulk."""
    if faults := rules.bulk_type_faults(body, rules.TRACK_BULK, "events", rules.TRACK):
        return bad_json(endpoint, faults)
    events = cast("list[JsonObject]", cast(JsonObject, body)["events"])
    if project.max_batch is not None and len(events) > project.max_batch:
        return envelope(400, "BatchTooLarge", f"Batch is larger than {project.max_batch}")
    return _keep_events(store, project, events)[0]


def track(endpoint: str, store: Store, project: Project, body: Json) -> Answer:
    """POST /api/events/track."""
    if faults := rules.type_faults(body, rules.TRACK):
        return bad_json(endpoint, faults)
    event = cast(JsonObject, body)
    who = Who.of(event)
    answer, reply = _keep_events(store, project, [event])
    if answer.status != 200:
        return answer
    if reply.disallowed:
        return envelope(200, "Success", f"Event {reply.disallowed[0]} is disallowed from tracking")
    if reply.failed:
        failure = People(store, [who]).failure(who, must_be_known=True)
        return _refusal_of(failure or "invalid", who)
    event_id = event.get("id")
    return envelope(200, "Success", f"Event with id: {event_id} tracked.", {"id": event_id})


def _keep_users(store: Store, project: Project, body: JsonObject, users: Sequence[JsonObject]) -> tuple[Answer, str]:
    """The one path of single and bulk updates; also gives the failure of the last item, for the single call."""
    reply = BulkReply.of_users()
    named = [Who.of(user) for user in users]
    people = People(store, named)
    reading = FieldReading(project_id=project.project_id, known=store.field_types)
    updates = UserUpdates(store)
    updates.expect(named_ids=[w.user_id for w in named], named_emails=[w.email for w in named])
    failure: str | None = None
    kept: list[JsonObject] = []
    for user, who in zip(users, named, strict=True):
        fields = dict(cast(JsonObject, user.get("dataFields") or {}))
        if who.user_id is not None and isinstance(email := user.get("email"), str):
            fields.setdefault("email", email)
        may_create = (user.get("createNewFields") is not False) and (body.get("createNewFields") is not False)
        identity = {name: fields.pop(name) for name in ("email", "userId") if name in fields}
        fields = reading.read("user", fields, may_create=may_create)
        failure = people.failure(who, must_be_known=False) or updates.apply(
            who.user_id, who.email, fields, nested=user.get("mergeNestedObjects") is True, identity=identity
        )
        if failure:
            reply.fail(failure, user_id=who.user_id, email=who.email)
        else:
            kept.append(fields)
    if reading.mismatches:
        return field_types_mismatched(reading), ""
    for fields in kept:
        created = reading.created("user", fields)
        store.fix_field_types("user", created)
        reply.created_fields.extend(name for name in created if name not in reply.created_fields)
    reply.succeeded = len(kept)
    updates.save()
    return reply.answer(reading.filtered_out), failure or ""


def bulk_update(endpoint: str, store: Store, project: Project, body: Json) -> Answer:
    """POST /api/users/bulkUpdate."""
    if faults := rules.bulk_type_faults(body, rules.BULK_UPDATE, "users", rules.USER):
        return bad_json(endpoint, faults)
    whole = cast(JsonObject, body)
    users = cast("list[JsonObject]", whole["users"])
    if project.max_batch is not None and len(users) > project.max_batch:
        return envelope(400, "BatchTooLarge", f"Batch is larger than {project.max_batch}")
    return _keep_users(store, project, whole, users)[0]


def update(endpoint: str, store: Store, project: Project, body: Json) -> Answer:
    """POST /api/users/update."""
    if faults := rules.type_faults(body, rules.USER):
        return bad_json(endpoint, faults)
    user = cast(JsonObject, body)
    answer, failure = _keep_users(store, project, {}, [user])
    if failure:
        return _refusal_of(failure, Who.of(user))
    if answer.status != 200:
        return answer
    return envelope(200, "Success", "User updated")


def trigger_workflow(endpoint: str, store: Store, project: Project, body: Json) -> Answer:
    """POST /api/workflows/triggerWorkflow: each accepted call is one more entry."""
    if faults := rules.type_faults(body, rules.TRIGGER_WORKFLOW):
        return bad_json(endpoint, faults)
    call = cast(JsonObject, body)
    workflow_id = cast(int, call["workflowId"])
    who = Who.of(call)
    if who == Who(user_id=None, email=None) and (list_id := call.get("listId")) is not None:
        # The real reply carries the code Success on a 400; lists are not part of the stand-in.
        msg = f"error.lists.invalidListId({list_id})"
        return envelope(400, "Success", msg, {"projectId": project.project_id, "listId": list_id})
    if workflow_id not in {number for number, _ in store.workflows()}:
        return envelope(400, "BadParams", f"Invalid workflowId: {workflow_id}")
    if failure := People(store, [who]).failure(who, must_be_known=True):
        return _refusal_of(failure, who)
    store.add_workflow_entry(workflow_id, user_id=who.user_id, email=who.email, body=call)
    return envelope(200, "Success", "Workflow triggered")


def get_user(store: Store, column: str, identifier: str) -> Answer:
    """GET users/byUserId and users/getByEmail; an unknown person is 200 without a user."""
    user = store.users_by(column, [identifier]).get(identifier)
    if user is None:
        return Answer(status=200, body={})
    fields: JsonObject = {**user.fields, "userId": user.user_id, "email": user.email}
    return Answer(status=200, body={"user": {"email": user.email or "", "userId": user.user_id, "dataFields": fields}})


def get_journeys(store: Store) -> Answer:
    """GET /api/journeys: the registered journeys, all enabled."""
    journeys: list[Json] = [
        {"id": number, "name": f"Journey {number}", "enabled": True, "isArchived": False, "createdAt": since}
        for number, since in store.workflows()
    ]
    return Answer(status=200, body={"journeys": journeys, "totalJourneysCount": len(journeys)})


POST_CALLS: Mapping[str, Callable[[str, Store, Project, Json], Answer]] = {
    "/api/events/trackBulk": track_bulk,
    "/api/events/track": track,
    "/api/users/bulkUpdate": bulk_update,
    "/api/users/update": update,
    "/api/workflows/triggerWorkflow": trigger_workflow,
}
