"""`activation explain`: why a message went out, or did not, link by link."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from activation_dagster.commands.installation import opened
from activation_dagster.commands.printing import AsJson, Reveal, print_json, print_table, say, shown

if TYPE_CHECKING:
    from activation_dagster.pipeline.explanation import ConsentSeen, Explanation


def explain(
    send: Annotated[str | None, typer.Argument(help="A send key or a decision id; of a send its beginning.")] = None,
    *,
    profile: Annotated[str | None, typer.Option(help="A profile id, or KIND:VALUE; needs --workflow.")] = None,
    workflow: Annotated[str | None, typer.Option(help="A workflow; needs --profile.")] = None,
    reveal: Reveal = False,
    as_json: AsJson = False,
) -> None:
    """Explain one decision: event, contract, identity, consent, audience, arbitration, gate and answer."""
    from activation_dagster.errors import WrongUse
    from activation_dagster.pipeline.explain import explain as ask

    if (send is None) == (profile is None) or (profile is None) != (workflow is None):
        raise WrongUse(
            "What to explain is not clear, in the command. Name either a send, or both --profile and --workflow."
        )
    with opened() as places:
        found = ask(places, send_key=send, decision_id=send, profile=profile, workflow=workflow, reveal=reveal)
    if as_json:
        print_json(found)
    else:
        _print(found, reveal=reveal)


def _print(found: Explanation, *, reveal: bool) -> None:
    say(found.sentence)
    if found.decision is not None and found.batch is not None:
        d, b = found.decision, found.batch
        _part("decision", f"{d.outcome}{f' ({d.reason})' if d.reason else ''}, {d.decision_id}")
        _detail(f"send key {d.send_key}, workflow version {d.workflow_version}")
        _detail(
            f"batch {b.batch_id}, {b.provenance.value}, hour {shown(b.arrival_hour)}, rules as of {shown(b.as_of)}, "
            f"state sequence {shown(b.position)}, contract set {b.contract_set}"
        )
    if found.trigger is not None:
        _part("trigger", found.trigger.kind)
        for event in found.trigger.events:
            _detail(
                f"{event.event_id}  {event.event_name}  contract {event.contract}/{event.contract_version}  "
                f"happened {shown(event.occurred_at)}  from {event.source}"
            )
        if found.trigger.kind == "event" or reveal:
            for event in found.trigger.events:
                _detail(json.dumps(event.payload, ensure_ascii=False))
    if found.person is not None:
        person = found.person
        _part("person", f"{person.profile_id}, {len(person.members)} profiles, {len(person.links)} links")
        for link in person.links[:10]:
            reason = f" ({link.reason})" if link.reason else ""
            _detail(f"{link.kind} {link.identifier} {link.decision}{reason} by {link.event_id}")
        for moved in person.redirects:
            _detail(f"{moved.from_profile} became {moved.to_profile} by {moved.event_id}")
    if found.consent is not None:
        _print_consent(found.consent)
    if found.audience is not None:
        audience = found.audience
        _part("audience", f"{audience.audience_id} (owner {audience.owner}): {audience.description}")
        for condition in audience.conditions:
            _detail(f"{condition.condition}: {condition.measured}, {'enough' if condition.is_met else 'not enough'}")
        _detail(f"last change: {audience.last_change}, entry {audience.entry_no}, {shown(audience.changed_at)}")
    if found.workflow is not None:
        workflow = found.workflow
        _part("workflow", f"{workflow.workflow_id} (owner {workflow.owner}): {workflow.description}")
        _detail(f"asked for by {workflow.trigger}, priority {workflow.priority}, may be sent again: {workflow.reentry}")
        for rival in workflow.rivals:
            _detail(f"rival {rival.workflow_id}, priority {shown(rival.priority)}: {rival.outcome} {rival.reason}")
    if found.gate is not None:
        gate = found.gate
        _part("gate", f"{gate.status.value}{f' ({gate.reason})' if gate.reason else ''}, {gate.attempts} attempts")
        _detail(f"claimed {shown(gate.claimed_at)}, landed {shown(gate.landed_at)}, expires {shown(gate.expires_at)}")
        for record in gate.records:
            _detail(f"read {record.status.value} for {record.purpose} of {shown(record.decided_at)}")
    if found.answer is not None:
        answer = found.answer
        _part("answer", f"{answer.destination}/{answer.endpoint} '{answer.subject}'")
        _detail(f"HTTP {shown(answer.http_status)}, {answer.answer or 'no text'}, {shown(answer.answered_at)}")
    if found.others:
        print_table(
            ["other decisions", "triggered", "outcome", "reason"],
            [(other.decision_id, other.triggered_at, other.outcome, other.reason) for other in found.others],
        )


def _print_consent(consent: ConsentSeen) -> None:
    default = ", the default" if consent.is_default_region else ""
    _part("consent", f"{consent.purpose} over {consent.channel}, region {consent.region}{default}")
    for required in consent.requires:
        days = "" if required.valid_for_days is None else f", valid {required.valid_for_days} days"
        _detail(f"asks for {required.purpose}{days}: {required.found}")
    for record in consent.records:
        counts = "counts" if record.counts else "superseded"
        basis = f"; {record.mapping}: {record.basis}" if record.mapping else ""
        _detail(
            f"{record.status.value} {record.purpose} {shown(record.decided_at)} by {record.source}, {counts}{basis}"
        )
    for hard in consent.suppressions:
        _detail(f"suppressed on {hard.channel}: {hard.reason}, {shown(hard.suppressed_at)}, {hard.source}")


def _part(name: str, text: str) -> None:
    say(f"\n{name}: {text}")


def _detail(text: str) -> None:
    say(text, indent=4)
