"""The comparison of two versions: every rule at every place, what it breaks, and an example where one can be built.

What it calls compatible is compatible: where it cannot tell, a change counts as breaking, then without an example.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from activation_dagster.domain.compatibility import (
    arrays,
    combinations,
    limits,
    object_places,
    objects,
    other_keys,
    values,
)
from activation_dagster.domain.compatibility.acceptance import surely_accepts, surely_refuses, values_of
from activation_dagster.domain.compatibility.changes import (
    Change,
    Child,
    Direction,
    Example,
    Finding,
    Lift,
    Mode,
    Pair,
    Policy,
    Rule,
    Verdict,
)
from activation_dagster.domain.compatibility.documents import Document, Schema
from activation_dagster.domain.compatibility.instances import candidates
from activation_dagster.domain.compatibility.json_values import Undecided
from activation_dagster.domain.compatibility.likeness import are_alike
from activation_dagster.domain.compatibility.merging import merged
from activation_dagster.errors import WrongUse

RULES: tuple[Rule, ...] = (
    *values.CLOSING_RULES,
    *values.RULES,
    *limits.RULES,
    *objects.RULES,
    *other_keys.RULES,
    *arrays.RULES,
    *combinations.RULES,
)
"""Every rule, once."""

_BY_KEYWORD: dict[str, tuple[Rule, ...]] = {}
for _rule in RULES:
    for _keyword in _rule.keywords:
        _BY_KEYWORD[_keyword] = (*_BY_KEYWORD.get(_keyword, ()), _rule)
_FIRST = {rule.rule_id: place for place, rule in enumerate(RULES)}

_INSIDE_OBJECTS = frozenset(
    {"properties", "patternProperties", "additionalProperties", "propertyNames", "dependentSchemas"}
)
_INSIDE_ARRAYS = frozenset({"items", "prefixItems"})
_INSIDE_COMBINED = frozenset({"allOf", "anyOf", "oneOf"})
_DEEPEST = 60
_MOST_CANDIDATES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a change stands, and how a value of it becomes one of the whole."""

    pair: Pair
    path: str
    lift: Lift | None = None
    above: _Place | None = None

    def lifted(self, direction: Direction, value: Any) -> Iterator[Any]:
        if self.lift is None or self.above is None:
            yield value
            return
        for held in self.lift(self.above.pair.writer(direction), value):
            yield from self.above.lifted(direction, held)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    rule: Rule
    finding: Finding
    place: _Place
    breaks: frozenset[Direction]


class _Engine:
    """One comparison of two documents, with what it has already answered."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._answers: dict[tuple[int, int], tuple[Schema, Schema, bool]] = {}
        self._open: set[tuple[int, int]] = set()
        self._assumed = 0
        self._depth = 0

    def includes(self, writer: Schema, reader: Schema) -> bool:
        """Whether everything that the writer accepts is surely accepted by the reader."""
        if reader.is_true or writer.is_false:
            return True
        key = (id(writer.body), id(reader.body))
        if key in self._answers:
            return self._answers[key][2]
        if key in self._open:
            # A circle of references: values are finite, so what holds one level down holds here.
            self._assumed += 1
            return True
        if self._depth > _DEEPEST:
            return False
        before = self._assumed
        self._open.add(key)
        self._depth += 1
        try:
            pair = Pair(old=writer, new=reader, includes=self.includes, policy=self.policy)
            found = self.found(_Place(pair=pair, path=""), watched=frozenset({Direction.BACKWARD}))
            answer = not any(Direction.BACKWARD in one.breaks for one in found)
        except Undecided:
            answer = False
        finally:
            self._open.discard(key)
            self._depth -= 1
        # A yes that rests on an assumption higher up is not kept: the assumption may yet fail.
        if not answer or self._assumed == before or not self._open:
            self._answers[key] = (writer, reader, answer)
        return answer

    def found(self, place: _Place, watched: frozenset[Direction]) -> list[_Found]:
        """All changes at a place and below."""
        pair = place.pair
        old, new = pair.old, pair.new
        if old is new or are_alike(old, new):
            return []
        closing = [one for rule in values.CLOSING_RULES for one in self._by(rule, place)]
        if closing or (old.is_false and new.is_false):
            return closing
        keywords = dict.fromkeys([*old.body, *new.body, *_annotations(old), *_annotations(new)])
        rules = sorted(
            {rule.rule_id: rule for key in keywords for rule in _BY_KEYWORD.get(key, ())}.values(), key=_order
        )
        found = [one for rule in rules for one in self._by(rule, place)]
        grouped: dict[str, list[_Found]] = {}
        for child in _children(pair, keywords.keys()):
            below = self._below(place, child, watched)
            for direction in watched:
                if child.within and child.within not in pair.writer(direction).atoms:
                    below = _cleared(below, direction)  # a writer of no objects breaks nothing inside objects
            if child.group:
                grouped.setdefault(child.group, []).extend(below)
            else:
                found += below
        for group, inside in grouped.items():
            for direction in watched:
                if any(direction in one.breaks for one in inside) and combinations.is_covered(pair, group, direction):
                    inside = _cleared(inside, direction)
            found += inside
        for direction in watched:
            if any(direction in one.breaks for one in found) and self._holds_anyway(pair, direction):
                found = _cleared(found, direction)
        return found

    def _below(self, place: _Place, child: Child, watched: frozenset[Direction]) -> list[_Found]:
        key = (id(child.old.body), id(child.new.body))
        if key in self._open:
            self._assumed += 1
            return []
        if self._depth > _DEEPEST:
            raise Undecided
        self._open.add(key)
        self._depth += 1
        try:
            pair = Pair(old=child.old, new=child.new, includes=self.includes, policy=self.policy)
            inner = _Place(pair=pair, path=place.path + child.path, lift=child.lift, above=place)
            return self.found(inner, watched)
        finally:
            self._open.discard(key)
            self._depth -= 1

    def _by(self, rule: Rule, place: _Place) -> list[_Found]:
        return [
            _Found(rule=rule, finding=finding, place=place, breaks=finding.breaks) for finding in rule.find(place.pair)
        ]

    def _holds_anyway(self, pair: Pair, direction: Direction) -> bool:
        """A second look at what the rules, keyword by keyword, held to be broken."""
        writer, reader = pair.writer(direction), pair.reader(direction)
        listed = values_of(writer)
        if listed is not None and all(surely_refuses(writer, v) or surely_accepts(reader, v) for v in listed):
            return True
        if "allOf" in writer.body:
            whole = merged(writer)
            if whole is not None:
                return self.includes(whole, reader)
        alternatives = writer.alternatives()
        return alternatives[0] is not writer and all(self.includes(one, reader) for one in alternatives)


def _order(rule: Rule) -> int:
    return _FIRST[rule.rule_id]


def _annotations(schema: Schema) -> list[str]:
    return [key for key in values.ANNOTATIONS if key in schema.written]


def _children(pair: Pair, keywords: Any) -> Iterator[Child]:
    if not _INSIDE_OBJECTS.isdisjoint(keywords):
        yield from object_places.children(pair)
    if not _INSIDE_ARRAYS.isdisjoint(keywords):
        yield from arrays.children(pair)
    if not _INSIDE_COMBINED.isdisjoint(keywords):
        yield from combinations.children(pair)


def _cleared(found: list[_Found], direction: Direction) -> list[_Found]:
    return [replace(one, breaks=one.breaks - {direction}) for one in found]


def _example(found: _Found, root: _Place, directions: frozenset[Direction]) -> Example | None:
    """A value that proves a change: one version accepts it, the other refuses it, and so does this very part."""
    pair, finding = found.place.pair, found.finding
    is_whole = found.place.above is None  # what the place accepts or refuses, the whole does
    for direction in sorted(found.breaks & directions):
        writer, reader = pair.writer(direction), pair.reader(direction)
        part = finding.refused_by.get(direction) or (reader.only(*finding.keywords) if finding.keywords else reader)
        offered = itertools.chain(
            finding.proof(direction) if finding.proof is not None else (), candidates(part), candidates(writer),
            candidates(reader),
        )  # fmt: skip
        tries = 0
        for value in itertools.islice(offered, _MOST_CANDIDATES):
            if not surely_accepts(writer, value) or not surely_refuses(part, value):
                continue
            tries += 1
            for whole in itertools.islice(found.place.lifted(direction, value), 6):
                if is_whole or (
                    surely_accepts(root.pair.writer(direction), whole)
                    and surely_refuses(root.pair.reader(direction), whole)
                ):
                    return Example(instance=whole, refused_by="new" if direction is Direction.BACKWARD else "old")
            if tries > 8:
                break
    return None


def compare(
    old: Document, new: Document, *, mode: Mode = Mode.FULL, policy: Policy = Policy.STRICT, against: str = ""
) -> Verdict:
    """Compare two versions. Changes are sorted by path; each says what it breaks, and whether that counts in the mode.

    Raises WrongUse where a document is no JSON Schema, or refers to what is not in it.
    """
    engine = _Engine(policy)
    pair = Pair(old=old.root, new=new.root, includes=engine.includes, policy=policy)
    root = _Place(pair=pair, path="#")
    try:
        found = engine.found(root, frozenset(Direction))
    except (Undecided, RecursionError):
        raise WrongUse(
            f"The schema in {new.name or 'the new version'} is nested more than {_DEEPEST} deep, and is not compared. "
            "Split it into smaller schemas."
        ) from None
    changes = [
        Change(
            rule=one.rule.rule_id,
            path=one.place.path + one.finding.below,
            message=one.finding.message,
            breaks=one.breaks,
            is_breaking=bool(one.breaks & mode.directions),
            example=_example(one, root, mode.directions) if one.finding.is_provable else None,
            against=against,
        )
        for one in found
    ]
    return Verdict(mode=mode, changes=tuple(sorted(changes, key=lambda change: (change.path, change.rule))))


def compare_all(
    olds: Sequence[tuple[str, Document]], new: Document, *, mode: Mode = Mode.FULL, policy: Policy = Policy.STRICT
) -> Verdict:
    """Compare a version with earlier ones, oldest first: with all in a transitive mode, else with the newest alone."""
    looked_at = olds if mode.is_transitive else olds[-1:]
    verdicts = [compare(old, new, mode=mode, policy=policy, against=name) for name, old in looked_at]
    return Verdict(mode=mode, changes=tuple(change for verdict in verdicts for change in verdict.changes))
