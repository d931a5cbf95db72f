"""Contracts compiled to SQL: one typed extraction an event, one quick test, all violations of what fails it.

`domain/contracts.judge` is the readable meaning; a property-based test holds the two to the same violations. Versions
with names in common are judged in one pass, in which each test is made once however many of them ask for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from activation_dagster.domain.contracts import NUMBERS, LateData
from activation_dagster.domain.unknown_events import KeptUnknown
from activation_dagster.lake.contract_sql import amount, barred, is_kept, is_late, packed, undeclared
from activation_dagster.lake.engine import Engine
from activation_dagster.lake.leaves_sql import Leaves
from activation_dagster.lake.routing_sql import BASE, Asked, Numbered, routed
from activation_dagster.lake.rule_sql import Place, breaches, literal, violations
from activation_dagster.lake.soundness_sql import is_sound
from activation_dagster.lake.taken_sql import taken_leaves

READ = ("e.properties", "e.traits", "e.context", "e.user_id", "e.anonymous_id", "e.previous_id")
"""What rules and identifiers are read from."""

MAX_OTHER_NAMES = 60
"""How many names a group of versions may read beyond those of its largest, each for all their events."""

NO_TEXT, NO_AMOUNTS = "null::varchar", "null::bigint[]"


def judge_events(engine: Engine, asked: Numbered, *, environment: str = "") -> None:
    """Make `judged_events`: the events of all versions, with all violations of those that break their promise."""
    engine.make("screened_events", screened(asked, environment=environment))
    doubting = engine.rows("select distinct judge from screened_events where not is_sound")
    engine.make("broken_events", broken({judge: asked[judge] for (judge,) in doubting}))
    engine.view("validate/judged_events")


def _by_judge(found: Mapping[int, str], otherwise: str) -> str:
    """SQL that is, for the events of each judge, what was found for it; one judge alone asks for no case."""
    judges: dict[str, list[int]] = {}
    for judge, sql in found.items():
        judges.setdefault(sql, []).append(judge)
    if len(judges) == 1:
        return next(iter(judges))
    cases = [f"when {_is_of(numbers)} then {sql}" for sql, numbers in judges.items() if sql != otherwise]
    return f"case {' '.join(cases)} else {otherwise} end" if cases else otherwise


def _text_by_judge(texts: Mapping[int, str]) -> str:
    """SQL that is, for the events of each judge, its text: a list read by number, not a case that tries them."""
    if len(set(texts.values())) == 1:
        return literal(next(iter(texts.values())))
    every = (literal(texts[judge]) if judge in texts else "null" for judge in range(max(texts) + 1))
    return f"[{', '.join(every)}][e.judge + 1]"


def _is_of(judges: Iterable[int]) -> str:
    return f"e.judge in ({', '.join(map(str, judges))})"


def grouped(asked: Numbered) -> list[dict[int, Asked]]:
    """The versions in groups that are judged in one pass: those that read the same section, and many names in common.

    A name that an event has not costs little, a pass over the events of a few versions much more.
    """
    groups: list[tuple[str, int, set[str], dict[int, Asked]]] = []
    for judge, one in sorted(asked.items(), key=lambda pair: -len(pair[1].names)):
        for section, most, names, group in groups:
            if section == one.contract.section and len(names | one.names) <= most:
                names |= one.names
                group[judge] = one
                break
        else:
            groups.append((one.contract.section, len(one.names) + MAX_OTHER_NAMES, set(one.names), {judge: one}))
    return [dict(sorted(group.items())) for _, _, _, group in groups]


def _tests(group: Numbered, leaves: Leaves, top: Place) -> str:
    """SQL that is true only where an event breaks no rule of its version: each test is made once for all."""
    asking: dict[str, list[int]] = {}
    for judge, one in group.items():
        for rule in one.version.properties:
            test = is_sound(rule, leaves.top[rule.name], top.inside(rule.name, top.holder), inside=leaves.inside)
            asking.setdefault(test, []).append(judge)
    together: dict[tuple[int, ...], list[str]] = {}
    for test, judges in asking.items():
        together.setdefault(tuple(judges), []).append(test)
    found: list[str] = []
    # A case stops at what is decided, and asks the tests of some versions of their own events only; `and`, `or` do not.
    for judges, tests in together.items():
        passed = f"case when {' and '.join(tests)} then true else false end"
        is_of_all = len(judges) == len(group)
        found.append(passed if is_of_all else f"case when {_is_of(judges)} then {passed} else true end")
    return " and ".join(found) or "true"


def screened(asked: Numbered, *, environment: str = "") -> str:
    """A SELECT over `ingested_events` that tests the events of all versions, each group of versions in one pass.

    Gives the columns of `BASE`, `contract`, `contract_version`, `judge` (the version's number), `is_sound` (false where
    a rule may be broken), `undeclared` (one a line, sorted later; null when none), `barred` (a reason or null),
    `is_late`, `is_state_only`, `used_properties` (JSON or null), `measured` (what the event adds to each of `sums`, in
    millionths, or null), and a column `id_<kind>` for each of `identifiers`.
    """
    groups = grouped(asked)
    return "\nunion all\n".join(_screened(group, asked, environment, is_alone=len(groups) == 1) for group in groups)


def _screened(group: Numbered, asked: Numbered, environment: str, *, is_alone: bool) -> str:
    section = next(iter(group.values())).contract.section
    holder = f"e.{section}"
    names = sorted({name for one in group.values() for name in one.names})
    leaves = Leaves(section, names, [rule for one in group.values() for rule in one.version.properties])
    top = Place(path=(section,), holder=holder)
    used, measured, versions = dict[int, str](), dict[int, str](), dict[str, dict[int, str]]()
    for judge, one in group.items():
        contract, version = one.contract, one.version
        read = taken_leaves(contract, version, leaves.top, top)
        numbers = {rule.name for rule in version.properties if rule.type in NUMBERS}
        amounts = ", ".join(amount(measure, read, numbers) for measure in one.sums)
        used[judge] = packed({name: read[name] for name in one.used}) if one.used else NO_TEXT
        measured[judge] = f"[{amounts}]" if one.sums else NO_AMOUNTS
        for column, sql in {
            "undeclared": undeclared(contract, version),
            "barred": barred(contract, version, environment),
            "is_late": is_late(contract, LateData.QUARANTINE),
            "is_state_only": is_late(contract, LateData.STATE_ONLY),
        }.items():
            versions.setdefault(column, {})[judge] = sql
    kinds = {kind: {judge: one.identifiers[kind] for judge, one in group.items()} for kind in _kinds(group)}
    named = "".join(f", {_by_judge(found, NO_TEXT)} as id_{kind}" for kind, found in kinds.items())
    none = {"is_late": "false", "is_state_only": "false"}
    told = {column: _by_judge(found, none.get(column, NO_TEXT)) for column, found in versions.items()}
    contracts = _text_by_judge({judge: one.contract.slug for judge, one in group.items()})
    named_versions = _text_by_judge({judge: one.version.version for judge, one in group.items()})
    kept = [column for column in READ if column == holder or column in named]
    events = routed(asked, f"{BASE}, {', '.join(kept)}", None if is_alone else group)
    return (
        f"select {BASE}, {contracts} as contract, {named_versions} as contract_version, e.judge, "
        f"{_tests(group, leaves, top)} as is_sound, {told['undeclared']} as undeclared, "
        f"{told['barred']} as barred, {told['is_late']} as is_late, {told['is_state_only']} as is_state_only, "
        f"{_by_judge(used, NO_TEXT)} as used_properties, {_by_judge(measured, NO_AMOUNTS)} as measured{named}\n"
        f"from {leaves.source(events)} as e"
    )


def _kinds(group: Numbered) -> list[str]:
    return list(next(iter(group.values())).identifiers)


def broken(asked: Numbered) -> str:
    """A SELECT over `screened_events` of the events that did not pass the test: `ordinal`, and `violations`.

    Violations are one a line, sorted later; null where a value is sound that is seldom met. `asked` are the versions
    that some such event was tested by.
    """
    nothing = "select null::bigint as ordinal, null::varchar as violations where false"
    return "\nunion all\n".join(map(_broken, grouped(asked))) or nothing


def _broken(group: Numbered) -> str:
    section = next(iter(group.values())).contract.section
    rules = [rule for one in group.values() for rule in one.version.properties]
    leaves = Leaves(section, sorted({rule.name for rule in rules}), rules)
    top = Place(path=(section,), holder=f"e.{section}")
    asking: dict[str, list[int]] = {}
    for judge, one in group.items():
        for rule in one.version.properties:
            place = top.inside(rule.name, top.holder)
            said = violations(breaches(rule, leaves.top[rule.name], place, inside=leaves.inside))
            asking.setdefault(said, []).append(judge)
    texts = [
        said if len(judges) == len(group) else f"case when {_is_of(judges)} then {said} end"
        for said, judges in asking.items()
    ]
    all_said = f"nullif(concat_ws(chr(10), {', '.join(texts)}), '')" if texts else NO_TEXT
    # Few events of a batch are here: gathered, they fill a vector, where a filter would leave some in each.
    doubted = (
        f"(with doubted as materialized (select t.ordinal, t.judge, e.{section} from screened_events as t "
        f"join ingested_events as e on e.ordinal = t.ordinal "
        f"where not t.is_sound and t.judge in ({', '.join(map(str, group))})) select * from doubted)"
    )
    return f"select e.ordinal, {all_said} as violations from {leaves.source(doubted)} as e"


def unjudged(
    asked: Numbered,
    identifiers: Mapping[str, str] | None = None,
    *,
    kept: Sequence[KeptUnknown] = (),
    environment: str = "",
) -> str:
    """A SELECT over `ingested_events` of the events that no version judges, with the columns of `judged_events`, empty.

    Beside them `fault` and `is_kept`: whether the event is accepted if no contract is about it.
    """
    named = "".join(f", {sql if kept else NO_TEXT} as id_{kind}" for kind, sql in (identifiers or {}).items())
    events = routed(asked, ", ".join([BASE, "e.fault", *(column for column in READ if column in named)]), ())
    return (
        f"select {BASE}, null::varchar as contract, null::varchar as contract_version, null::varchar as violations, "
        f"null::varchar as undeclared, null::varchar as barred, false as is_late, false as is_state_only, "
        f"null::varchar as used_properties, null::bigint[] as measured{named}, e.fault, "
        f"{is_kept(kept, environment)} as is_kept\n"
        f"from {events} as e"
    )
