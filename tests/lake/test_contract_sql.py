"""Contracts compiled to SQL say of every event exactly what the plain judge says, amounts and used properties included."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from activation_dagster.domain.audiences import Measure
from activation_dagster.domain.contracts import (
    Call,
    Criticality,
    EventContract,
    EventVersion,
    PropertyRule,
    PropertyType,
    Undeclared,
    judge,
    taken,
)
from activation_dagster.domain.formats import COUNTRIES, CURRENCIES, Format
from activation_dagster.domain.lexical import read_event
from activation_dagster.domain.patterns import fault_of_pattern
from activation_dagster.domain.reasons import QuarantineReason
from activation_dagster.domain.times import read_date, read_instant
from activation_dagster.lake.engine import Engine
from activation_dagster.lake.judging_sql import MAX_OTHER_NAMES, grouped, judge_events, unjudged
from activation_dagster.lake.routing_sql import BASE, Asked, numbered
from tests.domain.plain_job import millionths
from tests.domain.spellings import assembled_instants, dates, instants, no_instants

CARRIED = [part.strip().removeprefix("e.") for part in BASE.split(",")]
READ = ("ordinal", "event_type", "event_name")
SECTIONS = '{"type": "VARCHAR", "event": "VARCHAR", "properties": "JSON", "traits": "JSON", "context": "JSON"}'
"""As sql/ingest/ingested_events.sql reads them."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    found = Engine.in_memory(Path("sql"))
    yield found
    found.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One row of a compiled judgement."""

    contract: str
    version: str
    violations: tuple[str, ...]
    used: str | None
    measured: tuple[int, ...]


def in_bulk(
    engine: Engine,
    contracts: Sequence[EventContract],
    lines: Sequence[str],
    *,
    used: Sequence[str] = (),
    sums: Sequence[Measure] = (),
) -> dict[int, list[Judged]]:
    """What the compiled SQL of all versions of all contracts says, by the line's number; as pipeline/validate asks it."""
    engine.put("lines", {"ordinal": "INTEGER", "line": "VARCHAR"}, list(enumerate(lines)))
    others = "".join(f", null::varchar as {name}" for name in CARRIED if name not in READ)
    engine.make(
        "ingested_events",
        f"""
        select ordinal, fault{others}, e.type as event_type, e.event as event_name, e.properties, e.traits,
            case when contains(e.context, '"protocols"') then e.context->>'$.protocols.event_version' end as event_version
        from (select ordinal, null::varchar as fault, json_transform(line, '{SECTIONS}') as e from lines)
        """,
    )
    asked = numbered(
        [Asked(contract=one, version=version, used=used, sums=sums) for one in contracts for version in one.versions]
    )
    judge_events(engine, asked)
    engine.make("unjudged_events", unjudged(asked))
    counted = "select ordinal from judged_events union all select ordinal from unjudged_events order by ordinal"
    assert [row[0] for row in engine.rows(counted)] == list(range(len(lines)))  # each event has one place
    found: dict[int, list[Judged]] = {}
    for ordinal, contract, version, violations, packed, measured in engine.rows(
        "select ordinal, contract, contract_version, list_sort(string_split(violations, chr(10))), used_properties, "
        "measured from judged_events"
    ):
        row = Judged(
            contract=contract,
            version=version,
            violations=tuple(violations or ()),
            used=packed,
            measured=tuple(measured or ()),
        )
        found.setdefault(ordinal, []).append(row)
    return found


def contract_of(*versions: Sequence[PropertyRule], call: Call = Call.TRACK, name: str = "Thing Done") -> EventContract:
    """A contract of some versions, each given by its rules."""
    return EventContract(
        slug="thing_done",
        call=call,
        name=name,
        owner="shop",
        criticality=Criticality.STANDARD,
        description="",
        versions=tuple(
            EventVersion(version=f"v{number}", properties=tuple(rules))
            for number, rules in enumerate(versions, start=1)
        ),
    )


# -- generated contracts and values -----------------------------------------------------------------------------------

NAMES = [
    "price",
    "quantity",
    "a",
    "A b",
    "_x",
    "odd-name",
    "select",
    "x1",
    "Price",
    "PRICE",
    "leaves",
    "ordinal",
    "a  b ",
    "type",
    "key-",
]
names = st.sampled_from(NAMES) | st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_ -]{0,8}\Z")
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=5)
spelt = st.sampled_from(
    [
        "2026-03-01T10:15:30Z",
        "2026-03-01T10:15:30.5+01:00",
        "2026-02-29T10:15:30Z",
        "2024-02-29 00:00:00-0000",
        "2026-03-01",
        "2026-02-29",
        "2024-02-29",
        "2026-13-01",
        "1899-12-31",
        "2200-01-01",
        "2199-12-31",
        "2026-3-1",
        "2026-03-01T",
        "a",
        "b|c",
        "2026-03-01T10:15:30",
        "2026-03-01T25:15:30Z",
        "2026-03-01T10:15:30Z\n",
        " 2026-03-01",
        "2026-03-01 ",
        "GBP",
        "é",
        "'",
        '"',
    ]
)
numbers = (
    st.sampled_from(
        [0, 1, -1, 3.0, 0.1, 0.30000000000000004, 1e15, 1e-7, -0.0, 0.5, 2**53 - 1, 1 - 2**53, 1.5e-10, 5e-7]
    )
    | st.integers(-10, 10)
    | st.floats(-1e6, 1e6, allow_subnormal=False)
)
scalars = texts | spelt | numbers | st.booleans() | st.none()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2), max_leaves=3
)
enums = st.lists(
    (texts | spelt).filter(lambda text: all(character >= " " for character in text)), max_size=3, unique=True
).map(tuple)


patterns = st.sampled_from(
    [
        "",
        "a|b.c",
        "[A-Z]{3}",
        "[^a-z]*",
        ".+",
        "(?:a|é)*",
        r"\\",
        "'+",
        '"',
        "20[0-9]{2}-.*",
        "[ -~]{1,4}",
        r"a\.b",
        "😀?",
    ]
)
ESCAPED = ["\\", '"', "\n", "a\nb", "\t", "\x7f", "\u2028", "/", "😀", "e\u0301", "a.b", "axb", "<&>", "\x01"]
"""Texts that JSON may write with an escape, or whose length could be counted in other ways."""
FORMATTED = [
    "ann@example.com",
    "ann@example",
    "ann+x@mail.example.co.uk",
    "@example.com",
    "a@b.c\n",
    "ünn@example.com",
    "https://shop.example/mugs?a=1%20b",
    "/mugs",
    "mailto:a",
    "https://shop.example/é",
    "x:%zz",
    "123e4567-e89b-12d3-a456-426614174000",
    "123E4567-E89B-12D3-A456-426614174000",
    "123e4567e89b12d3a456426614174000",
    "+4915112345678",
    "+0015112345",
    "004915112345678",
    "GB",
    "UK",
    "gb",
    "ZW",
    "EUR",
    "eur",
    "XXX",
    "DEM",
]
lengths = st.none() | st.none() | st.integers(0, 4)


@st.composite
def rules(draw: st.DrawFn, depth: int = 0, name: str | None = None) -> PropertyRule:
    """A rule; of objects and arrays often with rules inside, down to three levels."""
    is_deep, is_item = draw(st.booleans()) and depth < 3, name == ""
    kinds = [*PropertyType, PropertyType.STRING, PropertyType.STRING, PropertyType.OBJECT, PropertyType.ARRAY]
    wanted = draw(st.sampled_from(kinds))
    is_text = wanted is PropertyType.STRING
    inside = wanted is PropertyType.OBJECT and is_deep
    return PropertyRule(
        name=draw(names) if name is None else name,
        type=wanted,
        is_required=not is_item and draw(st.booleans()),
        enum=draw(enums | st.just(())),
        minimum=draw(st.none() | st.none() | numbers.map(float)),
        maximum=draw(st.none() | st.none() | numbers.map(float)),
        format=draw(st.none() | st.sampled_from(Format)) if is_text else None,
        pattern=draw(st.none() | patterns) if is_text else None,
        min_length=draw(lengths) if is_text else None,
        max_length=draw(lengths) if is_text else None,
        is_nullable=draw(st.sampled_from([None, None, None, True, False])),
        properties=draw(st.lists(rules(depth + 1), max_size=3, unique_by=_name).map(tuple)) if inside else (),
        items=draw(rules(depth + 1, "")) if wanted is PropertyType.ARRAY and is_deep else None,
        default=draw(st.none() | st.none() | defaults(wanted)),
    )


def defaults(wanted: PropertyType) -> st.SearchStrategy[Any]:
    """Defaults of a type, as the contract check asks for."""
    match wanted:
        case PropertyType.NUMBER | PropertyType.INTEGER:
            return numbers
        case PropertyType.BOOLEAN:
            return st.booleans()
        case PropertyType.OBJECT:
            return st.dictionaries(names, scalars, max_size=2)
        case PropertyType.ARRAY:
            return st.lists(scalars | st.dictionaries(names, scalars, max_size=1), max_size=2)
        case _:
            return spelt | texts | st.sampled_from(ESCAPED)


def _name(rule: PropertyRule) -> str:
    return rule.name


rule_lists = st.lists(rules(), max_size=5, unique_by=_name).map(tuple)


def fitting(rule: PropertyRule) -> st.SearchStrategy[Any]:
    """Values that often are of the type that a rule asks for, and often at its edges."""
    edges = [edge for edge in (rule.minimum, rule.maximum) if edge is not None]
    match rule.type:
        case PropertyType.NUMBER | PropertyType.INTEGER:
            return numbers | st.sampled_from([*edges, 0])
        case PropertyType.BOOLEAN:
            return st.booleans()
        case PropertyType.OBJECT:
            return members(rule.properties) if rule.properties else st.dictionaries(texts, scalars, max_size=2)
        case PropertyType.ARRAY:
            return st.lists(scalars if rule.items is None else fitting(rule.items) | scalars, max_size=3)
        case _:
            return spelt | texts | st.sampled_from([*rule.enum, "", *ESCAPED]) | st.sampled_from(FORMATTED)


@st.composite
def members(draw: st.DrawFn, asked: Sequence[PropertyRule]) -> dict[str, Any]:
    """An object with mostly fitting values."""
    found: dict[str, Any] = {}
    for rule in asked:
        if draw(st.integers(0, 4)):
            found[rule.name] = draw(fitting(rule) | fitting(rule) | values)
    return found | draw(st.dictionaries(names, values, max_size=1))


@st.composite
def sections(draw: st.DrawFn, asked: Sequence[PropertyRule]) -> Any:
    """What stands where an event's properties should: mostly an object with mostly fitting values."""
    if draw(st.integers(0, 20)) == 0:
        return draw(st.none() | st.just({}))
    return draw(members(asked))


def written(draw: st.DrawFn, event: dict[str, Any]) -> str:
    """An event as JSON, by one of several writers; what the lexical rules refuse never comes so far."""
    text = json.dumps(event, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, None, 1])))
    text = text.replace("\n", " ")
    read = read_event(text.encode("utf-8", "surrogatepass"))
    assume(not isinstance(read, QuarantineReason))
    return text


@st.composite
def cases(draw: st.DrawFn) -> tuple[EventContract, list[str], tuple[str, ...], tuple[Measure, ...]]:
    asked = draw(rule_lists)
    call = draw(st.sampled_from([Call.TRACK, Call.TRACK, Call.IDENTIFY, Call.GROUP, Call.PAGE]))
    contract = replace(
        contract_of(asked, call=call, name="Thing Done" if call is Call.TRACK else call.value),
        undeclared=draw(st.sampled_from(Undeclared)),
    )
    events = [
        {"type": call.value, "event": "Thing Done", contract.section: draw(sections(asked))}
        for _ in range(draw(st.integers(1, 12)))
    ]
    known = st.sampled_from([rule.name for rule in asked]) if asked else names
    used = draw(st.lists(known | names, max_size=3, unique=True))
    sums = draw(
        st.lists(
            st.builds(Measure, event_name=st.just("Thing Done"), sum_of=known, times=st.just("") | known), max_size=2
        )
    )
    return contract, [written(draw, event) for event in events], tuple(sorted(used)), tuple(sums)


def rule(name: str, kind: PropertyType, **more: Any) -> PropertyRule:
    return PropertyRule(name=name, type=kind, is_required=False, **more)


def required(name: str, kind: PropertyType) -> PropertyRule:
    return PropertyRule(name=name, type=kind, is_required=True)


def event(**properties: Any) -> str:
    return json.dumps({"type": "track", "event": "Thing Done", "properties": properties})


TEXT_WITH_BOUNDS = contract_of(
    [rule("a", PropertyType.STRING, minimum=3.0), rule("b", PropertyType.BOOLEAN, minimum=1.0)]
)
SAME_BUT_FOR_CASE = contract_of([rule("price", PropertyType.NUMBER), rule("Price", PropertyType.STRING)])


@settings(max_examples=200)
@given(cases())
@example((TEXT_WITH_BOUNDS, [event(a="x", b=False)], (), ()))
@example((SAME_BUT_FOR_CASE, [event(price=1, Price="x"), event(price="x", Price=1)], ("Price", "price"), ()))
def test_compiled_contracts_give_the_plain_judges_violations(
    engine: Engine, case: tuple[EventContract, list[str], tuple[str, ...], tuple[Measure, ...]]
) -> None:
    """What an event adds to a sum matters only where it is accepted."""
    contract, lines, used, sums = case
    found = in_bulk(engine, [contract], lines, used=used, sums=sums)
    for number, line in enumerate(lines):
        said = json.loads(line).get(contract.section) or {}
        assert len(found[number]) == 1, line
        judged = found[number][0]
        assert judged.violations == judge(contract, contract.newest, said), line
        read = taken(contract, contract.newest, said)
        if not judged.violations:
            assert judged.measured == tuple(millionths(measure, read) for measure in sums), line
            if used:
                assert judged.used is not None
                assert same(json.loads(judged.used), {name: read.get(name) for name in used}), line
        if not used:
            assert judged.used is None


def same(one: Any, other: Any) -> bool:
    """Equal as JSON, with true apart from 1 and 1.0 together with 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)


@settings(max_examples=60)
@given(st.lists(assembled_instants | instants | no_instants | dates, min_size=1, max_size=60))
def test_every_spelling_of_a_time_and_a_date_is_taken_or_refused_alike(engine: Engine, said: list[str]) -> None:
    contract = contract_of([rule("at", PropertyType.TIMESTAMP), rule("on", PropertyType.DATE)])
    found = in_bulk(engine, [contract], [event(at=text, on=text) for text in said])
    for number, text in enumerate(said):
        refused = {"at": read_instant(text) is None, "on": read_date(text) is None}
        wanted = {"at": "properties.at: type timestamp", "on": "properties.on: type date"}
        assert found[number][0].violations == tuple(wanted[name] for name in wanted if refused[name]), text


def test_nested_paths_and_the_first_broken_items_are_listed_alike(engine: Engine) -> None:
    price = PropertyRule(name="price", type=PropertyType.NUMBER, is_required=True, minimum=0.0)
    address = rule("address", PropertyType.OBJECT, properties=(required("city", PropertyType.STRING),))
    items = rule("items", PropertyType.ARRAY, items=rule("", PropertyType.OBJECT, properties=(price, address)))
    contract = contract_of([address, items])
    said: list[dict[str, Any]] = [
        {"address": {}, "items": [{"price": 1}, {"price": "1", "address": {"city": 5}}, 3, None]},
        {"items": [{"price": 1}, *({"price": -number} for number in range(1, 30))]},
        {"items": [{"price": 1}] * 30, "address": {"city": "Cork"}},
        {"items": {}, "address": []},
    ]
    found = in_bulk(engine, [contract], [event(**one) for one in said])
    assert [found[number][0].violations for number in range(len(said))] == [
        (
            "properties.address.city: required",
            "properties.items[1].address.city: type string",
            "properties.items[1].price: type number",
            "properties.items[2]: type object",
        ),
        tuple(sorted(f"properties.items[{number}].price: minimum 0" for number in range(1, 11))),
        (),
        ("properties.address: type object", "properties.items: type array"),
    ]
    for number, one in enumerate(said):
        assert found[number][0].violations == judge(contract, contract.newest, one)


def test_null_counts_as_absent_unless_a_property_says_nullable(engine: Engine) -> None:
    asked = [
        replace(rule(f"{word}_{said}", PropertyType.STRING), is_required=word == "required", is_nullable=nullable)
        for word in ("required", "optional")
        for said, nullable in (("default", None), ("yes", True), ("no", False))
    ]
    contract = contract_of(asked)
    nulls = dict.fromkeys((rule.name for rule in asked), None)
    found = in_bulk(engine, [contract], [event(**nulls), event()])
    assert found[0][0].violations == judge(contract, contract.newest, nulls)
    assert found[0][0].violations == (
        "properties.optional_no: nullable false",
        "properties.required_default: required",
        "properties.required_no: nullable false",
    )
    assert found[1][0].violations == judge(contract, contract.newest, {})
    assert found[1][0].violations == (
        "properties.required_default: required",
        "properties.required_no: required",
        "properties.required_yes: required",
    )


@pytest.mark.parametrize("wanted", Format)
def test_every_format_takes_and_refuses_the_same_texts(engine: Engine, wanted: Format) -> None:
    contract = contract_of([rule("x", PropertyType.STRING, format=wanted)])
    letters = [one + other for one in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    said = [*FORMATTED, *ESCAPED, *letters, *COUNTRIES, *CURRENCIES, *(f"{code}X" for code in COUNTRIES)]
    found = in_bulk(engine, [contract], [event(x=text) for text in said])
    taken = {text for number, text in enumerate(said) if not found[number][0].violations}
    assert taken == {text for text in said if not judge(contract, contract.newest, {"x": text})}
    expected = {
        Format.EMAIL: {"ann@example.com", "ann+x@mail.example.co.uk"},
        Format.URI: {"https://shop.example/mugs?a=1%20b", "mailto:a"},
        Format.UUID: {"123e4567-e89b-12d3-a456-426614174000", "123E4567-E89B-12D3-A456-426614174000"},
        Format.PHONE: {"+4915112345678"},
        Format.COUNTRY: set(COUNTRIES),
        Format.CURRENCY: set(CURRENCIES),
    }
    assert taken == expected[wanted]


written_patterns = st.from_regex(r"\A[ab(|)\[\]*+?{}1,2.^$\\é-]{1,10}\Z")


@settings(max_examples=300)
@given(written_patterns, st.lists(st.text(st.sampled_from("ab12é-.\\\n{}|"), max_size=6), min_size=1, max_size=12))
@example(r"[\-a]+", ["-a-"])
@example(r"a{2,}b?", ["aab", "ab"])
@example(".", ["\n", "é", "\u2028"])
def test_a_pattern_that_is_taken_means_the_same_in_python_and_in_sql(
    engine: Engine, pattern: str, said: list[str]
) -> None:
    assume(fault_of_pattern(pattern) is None)
    contract = contract_of([rule("x", PropertyType.STRING, pattern=pattern)])
    found = in_bulk(engine, [contract], [event(x=text) for text in said])
    for number, text in enumerate(said):
        assert found[number][0].violations == judge(contract, contract.newest, {"x": text}), (pattern, text)


# -- amounts ----------------------------------------------------------------------------------------------------------

PRICE_TIMES_QUANTITY = Measure(event_name="Thing Done", sum_of="price", times="quantity")
PRICE = Measure(event_name="Thing Done", sum_of="price")


@settings(max_examples=100)
@given(st.lists(st.tuples(st.floats(-1e9, 1e9) | numbers, st.integers(-1000, 1000) | numbers), min_size=1, max_size=50))
def test_amounts_are_millionths_rounded_half_away_from_zero(engine: Engine, bought: list[tuple[float, float]]) -> None:
    contract = contract_of([rule("price", PropertyType.NUMBER), rule("quantity", PropertyType.NUMBER)])
    lines = [event(price=price, quantity=quantity) for price, quantity in bought]
    found = in_bulk(engine, [contract], lines, sums=(PRICE_TIMES_QUANTITY, PRICE))
    for number, (price, quantity) in enumerate(bought):
        wanted = tuple(
            millionths(measure, {"price": price, "quantity": quantity}) for measure in (PRICE_TIMES_QUANTITY, PRICE)
        )
        assert found[number][0].measured == wanted


def test_an_amount_that_no_bigint_holds_adds_nothing(engine: Engine) -> None:
    contract = contract_of([rule("price", PropertyType.NUMBER)])
    assert in_bulk(engine, [contract], [event(price=9e15)], sums=(PRICE,))[0][0].measured == (0,)
    assert millionths(PRICE, {"price": 9e15}) == 0
    assert math.isinf(1e308 * 1e6)


# -- versions ---------------------------------------------------------------------------------------------------------

FIRST = (rule("old", PropertyType.STRING),)
SECOND = (rule("new", PropertyType.INTEGER),)
TENTH = (rule("newest", PropertyType.BOOLEAN),)


def naming(version: Any, **properties: Any) -> str:
    """An event that names a version, in one of the ways in which producers do."""
    said = {"type": "track", "event": "Thing Done", "properties": properties}
    if version is not ...:
        said["context"] = {"protocols": {"event_version": version}}
    return json.dumps(said)


@pytest.mark.parametrize(
    ("version", "judged_by"),
    [
        (..., "v3"),
        (None, "v3"),
        ("v1", "v1"),
        ("1", "v1"),
        (1, "v1"),
        ("v2", "v2"),
        ("2", "v2"),
        (2, "v2"),
        ("v3", "v3"),
        (3, "v3"),
        ("v4", None),
        (0, None),
        ("", None),
        ("V1", None),
        ("01", None),
        ("v01", None),
        (" v1", None),
        (1.0, None),
        (True, None),
        ("1.0.0", None),
        ({"v": 1}, None),
        (["v1"], None),
        ("vv1", None),
    ],
)
def test_an_event_is_judged_by_the_version_it_names_and_by_the_newest_where_it_names_none(
    engine: Engine, version: Any, judged_by: str | None
) -> None:
    contract = contract_of(FIRST, SECOND, TENTH)
    found = in_bulk(engine, [contract], [naming(version, old=1, new="x", newest="x")])
    wanted = contract.version(
        None if version in (..., None) else version if isinstance(version, str) else json.dumps(version)
    )
    assert (None if wanted is None else wanted.version) == judged_by
    if judged_by is None:
        assert found == {}
        return
    assert [one.version for one in found[0]] == [judged_by]
    assert wanted is not None
    assert found[0][0].violations == judge(contract, wanted, {"old": 1, "new": "x", "newest": "x"})
    assert len(found[0][0].violations) == 1


@settings(max_examples=80)
@given(st.lists(rule_lists, min_size=1, max_size=3), st.data())
def test_several_versions_live_at_once_and_each_event_meets_one(
    engine: Engine, versions: list[tuple[PropertyRule, ...]], data: st.DataObject
) -> None:
    contract = contract_of(*versions)
    named = data.draw(st.lists(st.sampled_from([..., None, "v1", "2", "v3", 1, 9, "v1.0"]), min_size=1, max_size=8))
    asked = [rule for version in versions for rule in version]
    said = [data.draw(sections(asked)) or {} for _ in named]
    lines = [naming(version, **properties) for version, properties in zip(named, said, strict=True)]
    found = in_bulk(engine, [contract], lines)
    for number, (version, properties) in enumerate(zip(named, said, strict=True)):
        wanted = contract.version(None if version in (..., None) else str(version))
        judged = found.get(number, [])
        if wanted is None:
            assert judged == []
        else:
            violations = judge(contract, wanted, properties)
            assert [(one.version, one.violations) for one in judged] == [(wanted.version, violations)]


def test_each_call_is_judged_by_its_own_contract_and_no_other(engine: Engine) -> None:
    tracked = contract_of([rule("a", PropertyType.STRING)])
    identified = contract_of([rule("a", PropertyType.INTEGER)], call=Call.IDENTIFY, name="identify")
    lines = [
        json.dumps(said)
        for said in (
            {"type": "track", "event": "Thing Done", "properties": {"a": 1}, "traits": {"a": "x"}},
            {"type": "identify", "properties": {"a": 1}, "traits": {"a": "x"}},
            {"type": "track", "event": "identify", "properties": {"a": 1}},
            {"type": "track", "event": "thing done", "properties": {"a": 1}},
            {"type": "page", "event": "Thing Done", "properties": {"a": 1}},
        )
    ]
    found = in_bulk(engine, [tracked, identified], lines)
    assert {number: [one.violations for one in rows] for number, rows in found.items()} == {
        0: [("properties.a: type string",)],
        1: [("traits.a: type integer",)],
    }


@settings(max_examples=25)
@given(st.lists(rule_lists, min_size=2, max_size=3), st.data())
def test_contracts_judged_in_one_pass_share_tests_and_keep_their_own_verdicts(
    engine: Engine, asked: list[tuple[PropertyRule, ...]], data: st.DataObject
) -> None:
    contracts = [replace(contract_of(rules), slug=f"done_{n}", name=f"Done {n}") for n, rules in enumerate(asked)]
    together = [rule for rules in asked for rule in rules]
    which = data.draw(st.lists(st.integers(0, len(asked)), min_size=1, max_size=10))
    _each_is_judged_by_its_own(engine, contracts, [(n, data.draw(sections(together)) or {}) for n in which])


def test_contracts_with_too_many_names_of_their_own_are_judged_apart(engine: Engine) -> None:
    contracts = [
        replace(
            contract_of(
                [
                    required("a", kind),
                    *(rule(f"own {n} {number}", PropertyType.STRING) for number in range(MAX_OTHER_NAMES + 1)),
                ]
            ),
            slug=f"done_{n}",
            name=f"Done {n}",
        )
        for n, kind in enumerate((PropertyType.STRING, PropertyType.INTEGER))
    ]
    assert len(grouped(numbered([Asked(contract=one, version=one.newest) for one in contracts]))) == 2
    said = [{"a": 1}, {"a": "x"}, {"a": "x", "own 0 1": 1, "own 1 1": 1}, {}]
    _each_is_judged_by_its_own(engine, contracts, [(n, one) for n in range(3) for one in said])


def _each_is_judged_by_its_own(
    engine: Engine, contracts: Sequence[EventContract], said: Sequence[tuple[int, dict[str, Any]]]
) -> None:
    lines = [json.dumps({"type": "track", "event": f"Done {n}", "properties": one}) for n, one in said]
    found = in_bulk(engine, contracts, lines)
    for place, (n, one) in enumerate(said):
        wanted = [(f"done_{n}", judge(contracts[n], contracts[n].newest, one))] if n < len(contracts) else []
        assert [(row.contract, row.violations) for row in found.get(place, [])] == wanted, lines[place]
