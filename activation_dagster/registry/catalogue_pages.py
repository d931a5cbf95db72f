"""The catalogue of all contracts as static HTML: an index that searches itself, and a page an event."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from activation_dagster.domain.contracts import (
    EventContract,
    EventVersion,
    LateData,
    LifecycleState,
    PropertyRule,
    Undeclared,
)
from activation_dagster.domain.envelope import ENVELOPE, EnvelopeContract
from activation_dagster.domain.version_differences import differences, further_rules
from activation_dagster.registry.catalogue_look import SCRIPT, STYLE, policy
from activation_dagster.registry.catalogue_trend import SeenOn, bars, days
from activation_dagster.registry.contract_set import ContractSet, Owner
from activation_dagster.registry.html_elements import Child, Html, element, render
from activation_dagster.registry.uses import Use, uses_of

GENERATOR = "activation contracts docs"
ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one version was seen to judge: events that keep it, events that wait because of it, the newest one's day."""

    accepted: int
    waiting: int
    last_on: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """What is shown: the contracts, what was seen by (event, version), and examples as text by (event, version).

    `trend`: by event, what was seen on each of the same days of arrival, oldest first.
    """

    contracts: ContractSet
    trend: Mapping[str, Sequence[SeenOn]] = field(default_factory=dict[str, Sequence[SeenOn]])
    seen: Mapping[tuple[str, str], Seen] = field(default_factory=dict[tuple[str, str], Seen])
    examples: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])


def pages(catalogue: Catalogue) -> dict[str, str]:
    """Every page by its path below the catalogue's folder."""
    found = {"index.html": _index(catalogue)}
    for contract in catalogue.contracts.events.values():
        found[f"events/{contract.slug}.html"] = _event(catalogue, contract)
    if catalogue.contracts.envelope is not None:
        found[f"events/{ENVELOPE}.html"] = _envelope(catalogue, catalogue.contracts.envelope)
    return found


def _page(title: str, *body: Child, script: bool = False) -> str:
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content=GENERATOR),
        element("meta", http_equiv="Content-Security-Policy", content=policy()),
        element("title", title),
        Html(f"<style>{STYLE}</style>"),
    )
    running = Html(f"<script>{SCRIPT}</script>") if script else None
    return "<!doctype html>\n" + render(element("html", head, element("body", *body, running), lang="en")) + "\n"


def _table(columns: list[tuple[str, str]], rows: list[Html], caption: str) -> Html:
    """A table; columns are (heading, class)."""
    headings = [element("th", name, scope="col", class_=kind or False) for name, kind in columns]
    return element(
        "div",
        element("table", element("thead", element("tr", headings)), element("tbody", rows)),
        class_="wide",
        role="region",
        aria_label=caption,
        tabindex="0",  # a table wider than the window is scrolled with the keyboard too
    )


# -- the index --------------------------------------------------------------------------------------------------------


def _index(catalogue: Catalogue) -> str:
    contracts = catalogue.contracts
    events = sorted(contracts.events.values(), key=lambda contract: contract.name.lower())
    columns = [("Event", ""), ("Owner", ""), ("Criticality", ""), ("Version", ""), ("Used by", "")]
    if catalogue.seen:
        columns += [("Events", "number"), ("In quarantine", "number")]
    return _page(
        "Event catalogue",
        element(
            "header",
            element("h1", "Event catalogue"),
            element(
                "p",
                f"What is promised about every event in the environment {contracts.environment}.",
                class_="soft",
            ),
            element("p", "Contract set ", element("code", contracts.fingerprint), class_="soft small"),
        ),
        element(
            "main",
            element(
                "div",
                element("label", "Search", for_="search"),
                element("input", id="search", type="search", autocomplete="off", aria_describedby="found"),
                element("span", f"{len(events)} events", id="found", role="status", class_="soft"),
                class_="search",
                role="search",
            ),
            _table(columns, [_index_row(catalogue, contract) for contract in events], "Events"),
            element("h2", "What holds for every event"),
            _of_every_event(contracts),
            element("h2", "Owners"),
            _table(
                [("Team", ""), ("Contact", ""), ("Events", "")],
                [_owner_row(catalogue, owner) for owner in contracts.owners.values()],
                "Owners",
            ),
        ),
        script=True,
    )


def _index_row(catalogue: Catalogue, contract: EventContract) -> Html:
    owner = catalogue.contracts.owners[contract.owner]
    uses = uses_of(catalogue.contracts, contract)
    names = [rule.name for rule in contract.newest.properties]
    read = [contract.slug, contract.name, contract.description, owner.slug, owner.name, contract.criticality.value]
    read += [rule.name for version in contract.versions for rule in version.properties]
    read += [rule.description for rule in contract.newest.properties]
    read += ["pii"] if any(rule.is_pii for rule in contract.newest.properties) else []
    read += [*contract.consumers, *(f"{use.kind} {use.name}" for use in uses)]
    cells: list[Child] = [
        element(
            "th",
            element("a", contract.name, href=f"events/{contract.slug}.html"),
            " ",
            element("span", contract.call.value, class_="tag soft"),
            element("div", contract.description, class_="soft small"),
            element("ul", [element("li", name) for name in names], class_="names", aria_label="Properties"),
            scope="row",
        ),
        element("td", owner.name, class_="whole"),
        element("td", contract.criticality.value.replace("_", " "), class_="whole"),
        element("td", contract.newest.version),
        element("td", _readers(uses)),
    ]
    if catalogue.seen:
        seen = [one for (slug, _), one in catalogue.seen.items() if slug == contract.slug]
        total = Seen(accepted=sum(one.accepted for one in seen), waiting=sum(one.waiting for one in seen))
        trend = catalogue.trend.get(contract.slug)
        drawn = element("div", bars(trend)) if trend else None
        cells += [element("td", f"{total.accepted + total.waiting:,}", drawn, class_="number"), _waiting(total)]
    return element("tr", cells, data_text=" ".join(read).lower())


def _waiting(seen: Seen) -> Html:
    judged = seen.accepted + seen.waiting
    if not judged:
        return element("td", "–", class_="number soft")
    return element("td", _share(seen), class_="number bad" if seen.waiting else "number")


def _share(seen: Seen) -> str:
    """How many of the judged events wait, in per cent; 0 % only where none does."""
    share = 100 * seen.waiting / (seen.accepted + seen.waiting)
    return "0 %" if not seen.waiting else f"{max(share, 0.01):.2f} %"


def _readers(uses: tuple[Use, ...]) -> Child:
    named = sorted({(use.kind, use.name) for use in uses})
    return [element("div", element("span", kind, class_="soft"), f" {name}", class_="small") for kind, name in named]


def _owner_row(catalogue: Catalogue, owner: Owner) -> Html:
    owned = [contract for contract in catalogue.contracts.events.values() if contract.owner == owner.slug]
    links = [[element("a", one.name, href=f"events/{one.slug}.html"), ", "] for one in owned]
    if links:
        links[-1].pop()
    return element(
        "tr", element("th", owner.name, scope="row"), element("td", _contact(owner)), element("td", links or "–")
    )


def _contact(owner: Owner) -> Child:
    if ADDRESS.fullmatch(owner.contact):
        return element("a", owner.contact, href=f"mailto:{owner.contact}")
    return element("code", owner.contact)


# -- one event --------------------------------------------------------------------------------------------------------


def _event(catalogue: Catalogue, contract: EventContract) -> str:
    owner = catalogue.contracts.owners[contract.owner]
    uses = uses_of(catalogue.contracts, contract)
    facts: list[tuple[str, Child]] = [
        ("Owner", [owner.name, " · ", _contact(owner)]),
        ("Criticality", contract.criticality.value.replace("_", " ")),
        ("Call", [contract.call.value, "; what it says stands in ", element("code", contract.section)]),
        ("Folder", element("code", f"contracts/events/{contract.slug}/")),
        ("Consumers", ", ".join(contract.consumers) or "none named"),
        ("Late data", _late(contract)),
        ("Undeclared properties", UNDECLARED[contract.undeclared]),
        ("Used by", _readers(uses) if uses else "nothing yet"),
    ]
    return _page(
        f"{contract.name} · Event catalogue",
        element("nav", element("a", "Event catalogue", href="../index.html"), class_="small", aria_label="Up"),
        element(
            "main",
            element("h1", contract.name),
            element("p", contract.description),
            element("dl", [[element("dt", word), element("dd", said)] for word, said in facts]),
            days(catalogue.trend.get(contract.slug, ())),
            element("p", _unjudged(catalogue.seen[contract.slug, ""]), class_="soft")
            if (contract.slug, "") in catalogue.seen
            else None,
            [_version(catalogue, contract, number, uses) for number in reversed(range(len(contract.versions)))],
        ),
    )


UNDECLARED = {
    Undeclared.KEEP: "kept; nothing is promised of them",
    Undeclared.DROP: "dropped: the event is accepted, and nothing reads them",
    Undeclared.QUARANTINE: "the event waits in quarantine",
}


def _late(contract: EventContract) -> str:
    after = f"received more than {contract.late_after_hours} hours after it happened"
    match contract.late_data:
        case LateData.ACCEPT:
            return "accepted like any other"
        case LateData.STATE_ONLY:
            return f"{after}, it counts for the profile and triggers nothing"
        case LateData.QUARANTINE:
            return f"{after}, it waits in quarantine"


def _of_every_event(contracts: ContractSet) -> Child:
    """Links to the envelope's contract, and whose unknown events are kept."""
    told: list[Child] = []
    if contracts.envelope is not None:
        link = element("a", "envelope", href=f"events/{ENVELOPE}.html")
        told.append(element("li", "The contract of its ", link, f": {contracts.envelope.description}"))
    told += [
        element(
            "li",
            f"Unknown events of {', '.join(one.sources)}",
            f" ({', '.join(one.calls)})" if one.calls else "",
            f" are kept{' in ' + ', '.join(one.environments) if one.environments else ''}: {one.why}",
        )
        for one in contracts.kept_unknown
    ]
    if not contracts.kept_unknown:
        told.append(element("li", "An event that no contract is about waits in quarantine."))
    return element("ul", told, class_="plain")


def _envelope(catalogue: Catalogue, envelope: EnvelopeContract) -> str:
    owner = catalogue.contracts.owners[envelope.owner]
    facts: list[tuple[str, Child]] = [
        ("Owner", [owner.name, " · ", _contact(owner)]),
        ("Folder", element("code", f"contracts/{ENVELOPE}/")),
        ("Consumers", ", ".join(envelope.consumers) or "none named"),
        ("Pinned", ", ".join(f"{source} to {version}" for source, version in envelope.pinned.items()) or "no source"),
    ]
    unseen = replace(catalogue, seen={})  # it judges all events, so counts say nothing of it
    return _page(
        "Every event's envelope · Event catalogue",
        element("nav", element("a", "Event catalogue", href="../index.html"), class_="small", aria_label="Up"),
        element(
            "main",
            element("h1", "Every event's envelope"),
            element("p", envelope.description),
            element("dl", [[element("dt", word), element("dd", said)] for word, said in facts]),
            [_version(unseen, envelope, number, ()) for number in reversed(range(len(envelope.versions)))],
        ),
    )


def _version(
    catalogue: Catalogue, contract: EventContract | EnvelopeContract, number: int, uses: tuple[Use, ...]
) -> Html:
    version = contract.versions[number]
    seen = catalogue.seen.get((contract.slug, version.version))
    examples = catalogue.examples.get((contract.slug, version.version))
    newest = " (newest)" if version is contract.newest and number else ""
    state = version.lifecycle.state
    until = f" until {version.lifecycle.until}" if version.lifecycle.until else ""
    return element(
        "section",
        element(
            "h2",
            f"Version {version.version}{newest} ",
            None if state is LifecycleState.ACTIVE else element("span", f"{state.value}{until}", class_="tag"),
            id=version.version,
        ),
        element("p", _judged(seen), class_="soft") if catalogue.seen else None,
        _differences(contract.versions[number - 1], version) if number else None,
        _properties(version, uses),
        [element("h3", "Examples"), element("pre", element("code", examples), tabindex="0")] if examples else None,
        aria_labelledby=version.version,
    )


def _unjudged(seen: Seen) -> str:
    return f"{seen.waiting:,} events wait in quarantine that no version judged: `activation quarantine list` says why."


def _judged(seen: Seen | None) -> str:
    if seen is None:
        return "It has judged no event yet."
    newest = f" The newest accepted event happened on {seen.last_on}." if seen.last_on else ""
    return (
        f"It has judged {seen.accepted + seen.waiting:,} events; {seen.waiting:,} of them ({_share(seen)}) "
        f"wait in quarantine.{newest}"
    )


def _differences(old: EventVersion, new: EventVersion) -> Html:
    found = differences(old, new)
    told = [
        element(
            "li",
            element("span", one.difference.value, class_=one.difference.value),
            " ",
            element("code", one.property),
            f": {one.sentence}",
        )
        for one in found
    ]
    return element(
        "div",
        element("h3", f"Since {old.version}"),
        element("ul", told, class_="plain") if told else element("p", "Nothing differs.", class_="soft"),
    )


def _properties(version: EventVersion, uses: tuple[Use, ...]) -> Html:
    """The table of a version's properties; a column that would be empty is left out."""
    if not version.properties:
        return element("p", "No property is promised.", class_="soft")
    shown = ["Property", "Type", "Presence"]
    read = {rule.name: _readers(tuple(use for use in uses if use.property == rule.name)) for rule in version.properties}
    if any(further_rules(rule) for rule in version.properties):
        shown.append("Further rules")
    if any(use.property in read for use in uses):
        shown.append("Used by")
    if any(rule.description for rule in version.properties):
        shown.append("Meaning")
    return _table(
        [(heading, "") for heading in shown],
        [
            element("tr", [cell for heading, cell in _cells(rule, read[rule.name]) if heading in shown])
            for rule in version.properties
        ],
        f"Properties of {version.version}",
    )


def _cells(rule: PropertyRule, readers: Child) -> list[tuple[str, Html]]:
    personal = [" ", element("span", "personal data", class_="tag bad")] if rule.is_pii else None
    return [
        ("Property", element("th", element("code", rule.name), scope="row")),
        ("Type", element("td", rule.type.value, personal)),
        (
            "Presence",
            element("td", "required" if rule.is_required else "optional", class_=False if rule.is_required else "soft"),
        ),
        ("Further rules", element("td", [element("div", said, class_="small") for said in further_rules(rule)])),
        ("Used by", element("td", readers)),
        ("Meaning", element("td", rule.description)),
    ]
