"""Inference: from how often and in what shape properties were seen to a contract that a person can judge.

What is proposed must not tell of a person: a text is shown only as a member of an enumeration, where several people
said it and it looks like a word of the program; numbers are shown as round bounds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from activation_dagster.domain.contracts import Call, PropertyRule, PropertyType
from activation_dagster.domain.formats import FORMAT_PATTERNS, Format
from activation_dagster.domain.proposals import Proposal, ProposedProperty, slug_of

SHARE = 0.995
"""A property is required, and of a type or a format, where so large a share of what was seen agrees."""
FEWEST_EVENTS = 20
"""Of fewer events nothing is required: an optional property may be in all of them by chance."""
MOST_PROPERTIES = 200
"""So many properties of an event are looked at; one that has more makes up their names."""
MOST_ENUM_VALUES = 12
EVENTS_A_VALUE = 20
"""An enumeration needs so many events for each of its values, or the next one may bring a new value."""
FEWEST_SPEAKERS = 5
"""A text that fewer people said may be about them, and is never shown."""

PROPERTY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_ -]{0,99}")
EVENT_NAME = re.compile(r"[\w .:/()-]{1,100}")
WORD = re.compile(r"[A-Za-z][A-Za-z0-9 _./+-]{0,39}")
"""What a member of an enumeration looks like; anything else may be data about people."""
LONG_NUMBER = re.compile(r"[0-9]{5,}")

PERSONAL_PATTERN = r"[^@\s]+@[^@\s]+\.[^@\s.]+|\+[0-9][0-9 ().-]{6,20}"
"""What looks like an address or a telephone number, also where it is not written as the formats ask."""

NAMING = re.compile(r"(^|_)(id|uuid|guid|sku|key|slug|token|hash|url|path|number|no)$")
"""Property names (in snake case) whose values name things: the next one brings a new value."""

PERSONAL = re.compile(
    r"(^|_)(e_?mail|phone|mobile|fax|first_?name|last_?name|full_?name|surname|given_?name|family_?name|middle_?name"
    r"|user_?name|nick_?name|street|address|zip|post_?code|postal_?code|birth|birthday|dob|age|gender|sex|ssn|passport"
    r"|national_?id|nationality|tax_?id|iban|card|ip|latitude|longitude|lat|lng|lon|device_?id|avatar|religion|race"
    r"|health|diagnosis|salary|income)(_|$)"
)
"""Property names (in snake case) behind which personal data usually stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyEvidence:
    """What was seen of one property: how many events had it (not null), of which kinds, and in which formats.

    `texts` to `arrays` add up to `present`; `integers` are among `numbers`, the formats among `texts`.
    """

    name: str
    present: int
    nulls: int
    texts: int
    numbers: int
    integers: int
    booleans: int
    objects: int
    arrays: int
    timestamps: int
    dates: int
    emails: int
    uuids: int
    uris: int
    phones: int
    countries: int
    currencies: int
    personal_texts: int
    least: float | None
    greatest: float | None
    longest: int | None
    different_texts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedText:
    """A text that a property takes: in how many events, said by how many people."""

    text: str
    events: int
    speakers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerEvidence:
    """What was seen inside the objects at one path (`address`, `items[]`, `items[].price`) of a property.

    `item`: of the path of an array, what its items are, objects or not.
    """

    path: str
    objects: int
    properties: Sequence[PropertyEvidence]
    item: PropertyEvidence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventEvidence:
    """What was seen of one event: `seen` in all, of which `events` were looked at."""

    call: Call
    name: str
    seen: int
    events: int
    properties: Sequence[PropertyEvidence]
    texts: Mapping[str, Sequence[RepeatedText]]
    inner: Sequence[InnerEvidence] = ()


def propose(evidence: EventEvidence, *, version: str = "v1", slug: str = "") -> Proposal:
    """The contract that the evidence speaks for, with the evidence as notes."""
    shown = [found for found in evidence.properties if is_shown_name(found.name)]
    only_null = [found.name for found in shown if not found.present]
    notes = [
        f"Proposed from {evidence.events:,} of {evidence.seen:,} events seen. Nobody has promised it yet: "
        "read, correct, describe.",
        f"Required: not null in at least {SHARE:.1%} of {FEWEST_EVENTS} or more events. Type and format: of at least "
        f"{SHARE:.1%} of the values.",
        f"Enumeration: at most {MOST_ENUM_VALUES} values, {EVENTS_A_VALUE} events a value, each said by "
        f"{FEWEST_SPEAKERS} people or more.",
    ]
    if len(shown) < len(evidence.properties):
        notes.append(
            f"{len(evidence.properties) - len(shown)} more properties have names that a contract cannot hold, or that "
            "look like data; they are not shown."
        )
    if len(evidence.properties) >= MOST_PROPERTIES:
        notes.append(f"Only the {MOST_PROPERTIES} most frequent properties were looked at: are names made up?")
    if only_null:
        notes.append(f"Only ever null, and left out: {', '.join(only_null)}.")
    return Proposal(
        slug=slug or slug_of(evidence.name),
        call=evidence.call,
        name=evidence.name,
        version=version,
        properties=tuple(
            _property(found, evidence.events, evidence.texts.get(found.name, ()), evidence.inner)
            for found in shown
            if found.present
        ),
        notes=tuple(notes),
    )


def is_shown_name(name: str) -> bool:
    """Whether a property's name may be shown: a contract can hold it, and it does not look like an identifier."""
    return (
        PROPERTY_NAME.fullmatch(name) is not None
        and LONG_NUMBER.search(name) is None
        and re.fullmatch(FORMAT_PATTERNS[Format.UUID], name) is None
    )


def is_shown_event(name: str) -> bool:
    """Whether an event's name may be shown and be promised: it looks like a name, not like data about a person."""
    return EVENT_NAME.fullmatch(name) is not None and LONG_NUMBER.search(name) is None


def _property(
    found: PropertyEvidence, events: int, texts: Sequence[RepeatedText], inner: Sequence[InnerEvidence]
) -> ProposedProperty:
    kind, agreeing = _type(found)
    pii = _personal(found)
    notes = [f"in {_share(found.present, events)} of events"]
    is_required = events >= FEWEST_EVENTS and found.present / events >= SHARE
    if is_required and found.present < events:
        notes.append(f"{events - found.present:,} events without it would wait")
    if found.nulls:
        notes.append(f"null in {_share(found.nulls, events)}")
    if agreeing < found.present:
        others = ", ".join(f"{count:,} {name}" for name, count in _kinds(found) if count)
        verdict = "would wait" if agreeing / found.present >= SHARE else "MIXED, decide: would wait"
        notes.append(f"{found.present - agreeing:,} of another type {verdict} ({others})")
    form = _format(found) if kind is PropertyType.STRING else None
    enum: tuple[str, ...] = ()
    if kind is PropertyType.STRING and not pii and form in (None, Format.COUNTRY, Format.CURRENCY):
        enum, why = _enum(found, texts)
        notes += [why] if why else []
    if kind in (PropertyType.INTEGER, PropertyType.NUMBER) and not pii:
        notes += _bounds(found)
    notes += [_inside(one) for one in inner if re.split(r"\[\]|\.", one.path)[0] == found.name]
    if pii:
        notes.append(f"pii is a guess: {pii}")
    places = {one.path: one for one in inner}
    rule = PropertyRule(
        name=found.name,
        type=kind,
        is_required=is_required,
        enum=enum,
        is_pii=bool(pii),
        format=form,
        properties=_members(found.name, places) if kind is PropertyType.OBJECT else (),
        items=_items(found.name, places) if kind is PropertyType.ARRAY else None,
    )
    return ProposedProperty(rule=rule, notes=tuple(notes))


def _members(path: str, places: Mapping[str, InnerEvidence]) -> tuple[PropertyRule, ...]:
    """What the keys inside the objects at a path promise: those that half of them have, and that are of one type."""
    inside = places.get(path)
    if inside is None:
        return ()
    found = [_inner_rule(one, f"{path}.{one.name}", places, inside.objects) for one in _told(inside)]
    return tuple(rule for rule in found if rule is not None)


def _items(path: str, places: Mapping[str, InnerEvidence]) -> PropertyRule | None:
    """What each item of the arrays at a path promises; None where they are of several types, or were never seen."""
    inside = places.get(f"{path}[]")
    if inside is None or inside.item is None or not inside.item.present:
        return None
    rule = _inner_rule(inside.item, f"{path}[]", places, 0)
    return None if rule is None else replace(rule, name="")


def _inner_rule(
    found: PropertyEvidence, path: str, places: Mapping[str, InnerEvidence], objects: int
) -> PropertyRule | None:
    """The rule for a key, or an item, inside a property; None where its values are of several types."""
    kind, agreeing = _type(found)
    if not found.present or agreeing < SHARE * found.present:
        return None
    return PropertyRule(
        name=found.name,
        type=kind,
        is_required=objects >= FEWEST_EVENTS and found.present >= SHARE * objects,
        is_pii=bool(_personal(found)),
        format=_format(found) if kind is PropertyType.STRING else None,
        properties=_members(path, places) if kind is PropertyType.OBJECT else (),
        items=_items(path, places) if kind is PropertyType.ARRAY else None,
    )


def _told(inner: InnerEvidence) -> list[PropertyEvidence]:
    """The keys that at least half of the objects have. A rarer key may itself be data."""
    return [found for found in inner.properties if is_shown_name(found.name) and found.present * 2 >= inner.objects]


def _inside(inner: InnerEvidence) -> str:
    """What stands inside objects, and what the items of an array are that are none."""
    told = _told(inner)
    if inner.item is not None and inner.item.objects < inner.item.present:
        kinds = ", ".join(f"{count:,} {name}" for name, count in _kinds(inner.item) if count)
        agreeing = _type(inner.item)[1]
        verdict = "" if agreeing >= SHARE * inner.item.present else "; MIXED, so no rule for items"
        items = f"items of {inner.path.removesuffix('[]')}: {kinds}{verdict}"
        if not inner.objects:
            return items
    else:
        items = ""
    keys = ", ".join(
        f"{found.name} {_type(found)[0].value} {_share(found.present, inner.objects)}"
        + (" pii?" if _personal(found) else "")
        for found in told
    )
    more = " and rarer keys" if len(told) < len(inner.properties) else ""
    said = f"inside {inner.path} ({inner.objects:,} objects): {keys or 'no key that half of them have'}{more}"
    mixed = [found.name for found in told if _type(found)[1] < SHARE * found.present]
    said += f"; of several types, so without a rule: {', '.join(mixed)}" if mixed else ""
    return f"{items}; {said}" if items else said


def _kinds(found: PropertyEvidence) -> list[tuple[str, int]]:
    return [
        ("string", found.texts),
        ("number", found.numbers),
        ("boolean", found.booleans),
        ("object", found.objects),
        ("array", found.arrays),
    ]


def _type(found: PropertyEvidence) -> tuple[PropertyType, int]:
    """The type most values have, the narrowest that nearly all of those keep, and how many values have it."""
    name, count = max(_kinds(found), key=lambda one: one[1])
    if name == "number":
        if found.integers >= SHARE * count:
            return PropertyType.INTEGER, found.integers
        return PropertyType.NUMBER, count
    if name == "string":
        if found.timestamps >= SHARE * count:
            return PropertyType.TIMESTAMP, found.timestamps
        if found.dates >= SHARE * count:
            return PropertyType.DATE, found.dates
    return PropertyType(name), count


def _format(found: PropertyEvidence) -> Format | None:
    """The format that nearly all texts have; country and currency by the name too: two letters may be anything."""
    name = snake(found.name)
    formats = (
        (Format.EMAIL, found.emails),
        (Format.UUID, found.uuids),
        (Format.URI, found.uris),
        (Format.PHONE, found.phones),
        (Format.COUNTRY, found.countries if "country" in name else 0),
        (Format.CURRENCY, found.currencies if "currency" in name else 0),
    )
    return next((form for form, count in formats if count and count >= SHARE * found.texts), None)


def _enum(found: PropertyEvidence, texts: Sequence[RepeatedText]) -> tuple[tuple[str, ...], str]:
    """The members of an enumeration, or none and why; a text is named only where every member may be."""
    different = min(found.different_texts, found.texts)  # the count is estimated
    if NAMING.search(snake(found.name)):
        return (), f"about {different:,} different texts that name something: no enumeration"
    if not texts or len(texts) > MOST_ENUM_VALUES:
        return (), f"about {different:,} different texts, the longest of {found.longest or 0:,} characters"
    if found.texts < EVENTS_A_VALUE * len(texts):
        return (), f"{len(texts)} different texts in {found.texts:,} events: too few for an enumeration"
    if any(text.speakers < FEWEST_SPEAKERS for text in texts):
        return (), f"{len(texts)} different texts, of which some are said by fewer than {FEWEST_SPEAKERS} people"
    if not all(WORD.fullmatch(text.text) and not LONG_NUMBER.search(text.text) for text in texts):
        return (), f"{len(texts)} different texts, of which some do not look like words of a program"
    ordered = sorted(texts, key=lambda text: (-text.events, text.text))
    return tuple(
        text.text for text in ordered
    ), f"each of {len(texts)} values in {min(t.events for t in texts):,} or more"


def _bounds(found: PropertyEvidence) -> list[str]:
    if found.least is None or found.greatest is None:
        return []
    low, high = _round_down(found.least), -_round_down(-found.greatest)
    return [f"within {low:,.10g} and {high:,.10g} (rounded outwards): minimum, maximum?"]


def _round_down(value: float) -> float:
    """The next of 0, ±1, ±2, ±5, ±10 … at or below a number: says how large, not how large exactly."""
    if value == 0 or not math.isfinite(value):
        return value
    size = 10.0 ** math.floor(math.log10(abs(value)))
    steps = [step * size for step in (1, 2, 5, 10)]
    if value > 0:
        return max(step for step in steps if step <= value or step == size)
    return -min(step for step in steps if step >= -value or step == steps[-1])


def _personal(found: PropertyEvidence) -> str:
    """Why a property may hold personal data; empty where nothing speaks for it."""
    if PERSONAL.search(snake(found.name)):
        return "by its name"
    if found.texts and found.personal_texts * 2 > found.texts:
        return "by the shape of its values"
    return ""


def snake(name: str) -> str:
    """A property's name in snake case."""
    return re.sub(r"[ -]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)).lower()


def _share(part: int, whole: int) -> str:
    """A share in per cent; 100 % only where it is all."""
    share = 100 * part / whole
    if part >= whole:  # a key that stands twice in one event counts twice
        return "100 %"
    return f"{min(share, 99.99):.2f} %" if share > 99 else f"{max(share, 0.1):.1f} %"
