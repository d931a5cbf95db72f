"""Rules on arrays: what may stand at which place, how often, and what must be among the items."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, cast

from activation_dagster.domain.compatibility.acceptance import surely_accepts
from activation_dagster.domain.compatibility.changes import NEITHER, Child, Direction, Finding, Pair, Rule
from activation_dagster.domain.compatibility.documents import Schema
from activation_dagster.domain.compatibility.instances import candidates, items, sample
from activation_dagster.domain.compatibility.keywords import IDLE_ITEMS
from activation_dagster.domain.compatibility.likeness import are_alike, say_the_same


def _unique_finder(verb: str) -> Callable[[Pair], Iterator[Finding]]:
    direction = Direction.BACKWARD if verb == "ADDED" else Direction.FORWARD

    def find(pair: Pair) -> Iterator[Finding]:
        writer, reader = pair.writer(direction), pair.reader(direction)
        if not reader.get("uniqueItems") or writer.get("uniqueItems"):
            return
        may_repeat = "array" in writer.atoms and writer.get("maxItems", 2) > 1
        yield Finding(
            message=f"items {'may not' if verb == 'ADDED' else 'may'} repeat now",
            breaks=frozenset({direction}) if may_repeat else NEITHER,
            keywords=("uniqueItems",),
        )

    return find


_CONTAINS = ("contains", "minContains", "maxContains")


def _is_kept(pair: Pair) -> bool:
    old, new = ({key: side.get(key) for key in _CONTAINS} for side in (pair.old, pair.new))
    return say_the_same(pair.old.document, old, pair.new.document, new)


def _contains_is_broken(pair: Pair, direction: Direction) -> bool:
    writer, reader = pair.writer(direction), pair.reader(direction)
    if "contains" not in reader.body or "array" not in writer.atoms:
        return False
    least, most = reader.get("minContains", 1), reader.get("maxContains")
    if "contains" not in writer.body:
        return least > 0 or most is not None
    given, wanted = writer.keyword("contains"), reader.keyword("contains")
    is_enough = least <= 0 or (writer.get("minContains", 1) >= least and pair.includes(given, wanted))
    is_few = most is None or (writer.get("maxContains", most + 1) <= most and pair.includes(wanted, given))
    return not (is_enough and is_few)


def _contains_finder(verb: str) -> Callable[[Pair], Iterator[Finding]]:
    def find(pair: Pair) -> Iterator[Finding]:
        had, has = "contains" in pair.old.body, "contains" in pair.new.body
        found = "CHANGED" if had and has else "ADDED" if has else "REMOVED" if had else ""
        if found != verb or _is_kept(pair):
            return

        def proof(direction: Direction) -> Iterator[Any]:
            writer = pair.writer(direction)
            held = [writer.keyword("contains"), pair.reader(direction).keyword("contains"), writer.keyword("items")]
            values = list(itertools.islice(itertools.chain.from_iterable(map(candidates, held)), 60))
            yield []
            for value in values:
                for length in (1, 2, 3, 5):
                    yield [value] * length

        yield Finding(
            message={
                "ADDED": "a certain item must be among the items now",
                "REMOVED": "no certain item need be among the items any more",
                "CHANGED": "what must be among the items, or how often, changed",
            }[verb],
            breaks=frozenset(d for d in Direction if _contains_is_broken(pair, d)),
            keywords=_CONTAINS,
            proof=proof,
        )

    return find


def _idle_items(pair: Pair) -> Iterator[Finding]:
    old, new = pair.old.keyword(IDLE_ITEMS), pair.new.keyword(IDLE_ITEMS)
    if not are_alike(old, new):
        pairs = {Direction.BACKWARD: (old, new), Direction.FORWARD: (new, old)}
        yield Finding(
            message="additionalItems, which only some validators look at beside no tuple, changed",
            breaks=frozenset(d for d, (writer, reader) in pairs.items() if not pair.includes(writer, reader)),
            below="/additionalItems",
        )


RULES = (
    Rule(
        rule_id="ADDITIONAL_ITEMS_CHANGED",
        purpose="additionalItems without a tuple before it: some validators apply it, so narrowing it breaks for them.",
        keywords=frozenset({IDLE_ITEMS}),
        find=_idle_items,
    ),
    *(
        Rule(
            rule_id=f"UNIQUE_ITEMS_{verb}",
            purpose=purpose,
            keywords=frozenset({"uniqueItems"}),
            find=_unique_finder(verb),
        )
        for verb, purpose in {
            "ADDED": "Old arrays that repeat an item are refused.",
            "REMOVED": "Old readers refuse arrays that repeat an item.",
        }.items()
    ),
    *(
        Rule(rule_id=f"CONTAINS_{verb}", purpose=purpose, keywords=frozenset({"contains"}), find=_contains_finder(verb))
        for verb, purpose in {
            "ADDED": "Old arrays without the item are refused.",
            "REMOVED": "Old readers refuse arrays without the item.",
            "CHANGED": "Another item must be there, or another number of them.",
        }.items()
    ),
)


def _at(place: int) -> Callable[[Schema, Any], Iterator[Any]]:
    def lift(parent: Schema, value: Any) -> Iterator[Any]:
        rest = parent.keyword("items")
        kept = [one for one in itertools.islice(candidates(rest), 40) if surely_accepts(rest, one)]
        least = int(parent.get("minItems", 0))
        for length in dict.fromkeys((place + 1, max(place + 1, least))):
            made = [value] if length == 1 else items(parent, length, kept, 1)
            if made is not None:
                yield [*made[:place], value, *made[place + 1 :]]
        for full in sample(parent):
            if isinstance(full, list) and place < len(cast("list[Any]", full)):
                yield [*full[:place], value, *full[place + 1 :]]

    return lift


def children(pair: Pair) -> Iterator[Child]:
    """The places inside an array: each of the first ones by itself, then all the others."""
    old, new = pair.old, pair.new
    most = max(len(old.get("prefixItems", [])), len(new.get("prefixItems", [])))
    for place in range(most):
        yield Child(
            within="array", path=f"/items/{place}", old=old.of_item(place), new=new.of_item(place), lift=_at(place)
        )
    yield Child(within="array", path="/items", old=old.keyword("items"), new=new.keyword("items"), lift=_at(most))
