"""Reading workflows/: what triggers a message, for whom, under which purpose, and where it goes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta

from activation_dagster.domain.consent import Purpose
from activation_dagster.domain.contracts import EventContract
from activation_dagster.domain.destinations import DestinationContract
from activation_dagster.domain.workflows import EntryTrigger, EventTrigger, Workflow
from activation_dagster.registry import shapes
from activation_dagster.registry.consent_rules import look_up_purpose
from activation_dagster.registry.reading import Reading


def read_workflows(
    reading: Reading,
    *,
    events: Mapping[str, EventContract],
    purposes: Mapping[str, Purpose],
    audiences: Collection[str],
    destinations: Mapping[str, DestinationContract],
) -> dict[str, Workflow]:
    """The workflows by their file's name, sorted."""
    found: dict[str, Workflow] = {}
    for path in reading.files("workflows"):
        name = reading.name(path)
        shape = reading.read(path, shapes.WorkflowFile)
        if shape is None:
            continue
        reading.owner(name, shape.owner)
        look_up_purpose(reading, name, shape.purpose, [shape.channel], purposes=purposes)
        reading.known(name, "audience", "audience", shape.audience, audiences, "under audiences/")
        destination, where = shape.send.destination, "under destinations/"
        if reading.known(name, "send.destination", "destination", destination, destinations, where):
            endpoints, where = destinations[destination].endpoints, "an endpoint of that destination"
            reading.known(name, "send.endpoint", "endpoint", shape.send.endpoint, endpoints, where)
        trigger = _trigger(reading, name, shape, events=events)
        if trigger is not None:
            found[path.stem] = _workflow(path.stem, shape, trigger)
    return found


def _trigger(
    reading: Reading, file: str, shape: shapes.WorkflowFile, *, events: Mapping[str, EventContract]
) -> EventTrigger | EntryTrigger | None:
    if (shape.trigger.event is not None) == shape.trigger.entered_audience:
        reading.fault(file, "trigger", "must be either `event: <event>` or `entered_audience: true`.")
        return None
    readable = {"traits"} if shape.trigger.event is None else {"traits", "properties"}
    for field, place in {**shape.data_fields, **shape.profile_fields}.items():
        part, _, rest = place.partition(".")
        if part not in readable or not rest:
            sentence = f"reads '{place}', but can read only {' and '.join(sorted(readable))}."
            reading.fault(file, f"data_fields.{field}", sentence)
    if {"audience_id", "validated_at", "consent_checked"} & set(shape.data_fields):
        reading.fault(file, "data_fields", "declares a field that every message carries anyway; remove it.")
    if shape.trigger.event is None:
        return EntryTrigger()
    if not reading.known(file, "trigger.event", "event", shape.trigger.event, events, "under events/"):
        return None
    promised = {rule.name for version in events[shape.trigger.event].versions for rule in version.properties}
    for place in [*shape.data_fields.values(), *(f"properties.{prop}" for prop in shape.trigger.where)]:
        if place.startswith("properties."):
            prop = place.removeprefix("properties.")
            where = "promised by the trigger's contract"
            reading.known(file, "data_fields", "property", prop, sorted(promised), where)
    return EventTrigger(event=shape.trigger.event, where=shape.trigger.where)


def _workflow(workflow_id: str, shape: shapes.WorkflowFile, trigger: EventTrigger | EntryTrigger) -> Workflow:
    reentry = (
        None
        if shape.reentry_days is None
        else timedelta.max
        if shape.reentry_days == "never_again"
        else timedelta(days=shape.reentry_days)
    )
    return Workflow(
        workflow_id=workflow_id,
        version=shape.version,
        owner=shape.owner,
        description=shape.description,
        trigger=trigger,
        audience_id=shape.audience,
        purpose=shape.purpose,
        channel=shape.channel,
        priority=shape.priority,
        destination=shape.send.destination,
        endpoint=shape.send.endpoint,
        subject=shape.send.subject,
        reentry=reentry,
        expires_after=timedelta(hours=shape.expires_after_hours),
        data_fields=shape.data_fields,
        profile_fields=shape.profile_fields,
    )
