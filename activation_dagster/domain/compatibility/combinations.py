"""Rules on combined schemas: allOf (products), anyOf and oneOf (sums), not, if/then/else, unevaluated keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from activation_dagster.domain.compatibility.changes import NEITHER, Child, Direction, Finding, Pair, Rule
from activation_dagster.domain.compatibility.disjoint import are_disjoint
from activation_dagster.domain.compatibility.documents import Schema, conjunction
from activation_dagster.domain.compatibility.instances import candidates, sample
from activation_dagster.domain.compatibility.likeness import say_the_same

BACKWARD, FORWARD = Direction.BACKWARD, Direction.FORWARD
SUMS = ("anyOf", "oneOf")


def _is_kept(pair: Pair, *keywords: str) -> bool:
    """Whether some keywords (or all) say what they said."""
    old, new = ({key: side.get(key) for key in keywords} if keywords else side.body for side in (pair.old, pair.new))
    return say_the_same(pair.old.document, old, pair.new.document, new)


def _branches(pair: Pair, keyword: str) -> tuple[list[tuple[int, Schema]], list[tuple[int, Schema]]]:
    """The branches of the old and of the new side that have no equal on the other, each with its place."""
    olds, news = list(enumerate(pair.old.schemas(keyword))), list(enumerate(pair.new.schemas(keyword)))
    for mine in list(olds):
        for other in news:
            if say_the_same(mine[1].document, mine[1].body, other[1].document, other[1].body):
                olds.remove(mine)
                news.remove(other)
                break
    return olds, news


# -- sums -------------------------------------------------------------------------------------------------------------


def is_sum_covered(pair: Pair, keyword: str, direction: Direction) -> bool:
    """Whether everything the writer accepts satisfies some branch of the reader's anyOf or oneOf."""
    writer, reader = pair.writer(direction), pair.reader(direction)
    if keyword not in reader.body:
        return True
    branches = reader.schemas(keyword)

    def is_covered(one: Schema) -> bool:
        return any(pair.includes(one, branch) for branch in branches)

    if is_covered(writer.without(keyword)):
        return True
    offered = writer.alternatives()
    # The alternatives are those of anyOf where there is one; only then do places mean the same.
    is_same = keyword in writer.body and (keyword == "anyOf" or "anyOf" not in writer.body)
    own = writer.schemas(keyword) if is_same else offered
    return all(is_covered(one) or is_covered(own[place]) for place, one in enumerate(offered))


def _is_overlapping(pair: Pair, direction: Direction) -> bool:
    """Whether something the writer accepts might satisfy two branches of the reader's oneOf."""
    writer, reader = pair.writer(direction), pair.reader(direction)
    if "oneOf" not in reader.body:
        return False
    branches = reader.schemas("oneOf")
    own = writer.schemas("oneOf")
    if len(own) == len(branches) and all(
        pair.includes(theirs, mine) for mine, theirs in zip(own, branches, strict=True)
    ):
        return False
    # With an anyOf beside, alternatives() are those of the anyOf.
    offered = writer.without("anyOf").alternatives() if own else writer.alternatives()
    for place, one in enumerate(offered):
        met = [
            branch
            for branch in branches
            if not are_disjoint(one, branch)
            and not any(pair.includes(branch, mine) for other, mine in enumerate(own) if other != place)
        ]
        if len(met) > 1:
            return True
    return False


def _sum_finder(verb: str) -> Callable[[Pair], Iterator[Finding]]:
    def find(pair: Pair) -> Iterator[Finding]:
        for keyword in SUMS:
            had, has = keyword in pair.old.body, keyword in pair.new.body
            if not had and not has:
                continue
            gone, fresh = _branches(pair, keyword)
            count = abs(len(gone) - len(fresh))
            if had and has:
                found = "EXTENDED" if len(fresh) > len(gone) else "NARROWED" if len(gone) > len(fresh) else ""
                message = f"{keyword} has {count} {'more' if found == 'EXTENDED' else 'fewer'} to choose from"
            else:
                found = "ADDED" if has else "REMOVED"
                message = f"{keyword} is {'new' if has else 'gone'}"
            if found != verb:
                continue
            watched = {"EXTENDED": {FORWARD}, "NARROWED": {BACKWARD}, "ADDED": {BACKWARD}, "REMOVED": {FORWARD}}[found]
            yield Finding(
                message=message,
                breaks=frozenset(d for d in watched if not is_sum_covered(pair, keyword, d)),
                keywords=(keyword,),
                below=f"/{keyword}",
            )

    return find


def _overlap(pair: Pair) -> Iterator[Finding]:
    if _is_kept(pair):
        return
    breaks = frozenset(d for d in Direction if _is_overlapping(pair, d))
    if breaks:

        def proof(direction: Direction) -> Iterator[Any]:
            branches = pair.reader(direction).schemas("oneOf")
            for one in branches:
                for other in branches:
                    if one is not other:
                        yield from sample(conjunction(one.document, [one, other]))
                yield from candidates(one)

        yield Finding(
            message="what satisfied one branch of oneOf may satisfy two, which oneOf refuses",
            breaks=breaks,
            keywords=("oneOf",),
            proof=proof,
            below="/oneOf",
        )


# -- products ---------------------------------------------------------------------------------------------------------


def is_product_covered(pair: Pair, direction: Direction) -> bool:
    """Whether the writer implies every branch of the reader's allOf."""
    writer = pair.writer(direction)
    given = [*writer.schemas("allOf"), writer.without("allOf")]
    return all(any(pair.includes(one, branch) for one in given) for branch in pair.reader(direction).schemas("allOf"))


def _product_finder(verb: str) -> Callable[[Pair], Iterator[Finding]]:
    direction = BACKWARD if verb == "EXTENDED" else FORWARD

    def find(pair: Pair) -> Iterator[Finding]:
        gone, fresh = _branches(pair, "allOf")
        more = len(fresh) - len(gone) if verb == "EXTENDED" else len(gone) - len(fresh)
        if more <= 0:
            return
        yield Finding(
            message=f"allOf demands {more} {'more' if verb == 'EXTENDED' else 'fewer'}",
            breaks=NEITHER if is_product_covered(pair, direction) else frozenset({direction}),
            keywords=("allOf",),
            below="/allOf",
        )

    return find


# -- not, if, unevaluated ---------------------------------------------------------------------------------------------


def _not_is_broken(pair: Pair, direction: Direction) -> bool:
    writer, reader = pair.writer(direction), pair.reader(direction)
    if "not" not in reader.body:
        return False
    refused = reader.keyword("not")
    if "not" in writer.body and pair.includes(refused, writer.keyword("not")):
        return False
    return not are_disjoint(writer.without("not"), refused)


def _not_finder(verb: str) -> Callable[[Pair], Iterator[Finding]]:
    def find(pair: Pair) -> Iterator[Finding]:
        if ("not" not in pair.old.body and "not" not in pair.new.body) or _is_kept(pair, "not"):
            return
        had, has = "not" in pair.old.body, "not" in pair.new.body
        is_wider = has and (not had or pair.includes(pair.old.keyword("not"), pair.new.keyword("not")))
        is_narrower = had and (not has or pair.includes(pair.new.keyword("not"), pair.old.keyword("not")))
        found = "CHANGED" if is_wider == is_narrower else "EXTENDED" if is_wider else "NARROWED"
        if found != verb:
            return
        yield Finding(
            message={
                "EXTENDED": "more is refused by not",
                "NARROWED": "less is refused by not",
                "CHANGED": "something else is refused by not",
            }[verb],
            breaks=frozenset(d for d in Direction if _not_is_broken(pair, d)),
            keywords=("not",),
            below="/not",
        )

    return find


def _conditional(pair: Pair) -> Iterator[Finding]:
    parts = ("if", "then", "else")
    if _is_kept(pair, *parts):
        return
    had, has = "if" in pair.old.body, "if" in pair.new.body
    if not had and not has:
        return
    breaks: set[Direction] = set()
    for direction in Direction:
        writer, reader = pair.writer(direction), pair.reader(direction)
        if "if" not in reader.body:
            continue
        condition = reader.keyword("if")
        if "if" in writer.body and _is_kept(pair, "if"):
            is_kept = all(pair.includes(writer.keyword(part), reader.keyword(part)) for part in ("then", "else"))
        else:
            # Whatever the condition says, what the writer accepts satisfies both consequences.
            is_kept = all(pair.includes(writer, reader.keyword(part)) for part in ("then", "else"))
        is_kept = is_kept or (are_disjoint(writer, condition) and pair.includes(writer, reader.keyword("else")))
        if not is_kept:
            breaks.add(direction)
    yield Finding(
        message=f"the condition (if) is {'new' if not had else 'gone' if not has else 'another one'}"
        if not (had and has)
        else "the condition (if), or what follows from it, changed",
        breaks=frozenset(breaks),
        keywords=parts,
        below="/if",
    )


def _unevaluated(pair: Pair) -> Iterator[Finding]:
    keys = ("unevaluatedProperties", "unevaluatedItems")
    if not _is_kept(pair):
        breaks = frozenset(d for d in Direction if any(key in pair.reader(d).body for key in keys))
        yield Finding(message="what is left unevaluated may have changed, and is not compared", breaks=breaks)


RULES = (
    *(
        Rule(rule_id=f"SUM_TYPE_{verb}", purpose=purpose, keywords=frozenset(SUMS), find=_sum_finder(verb))
        for verb, purpose in {
            "EXTENDED": "anyOf or oneOf offers more: old readers refuse what only the new branch takes.",
            "NARROWED": "anyOf or oneOf offers less: old data of the branch that is gone is refused.",
            "ADDED": "A choice of branches is new: what stood there must satisfy one of them.",
            "REMOVED": "A choice of branches is gone.",
        }.items()
    ),
    Rule(
        rule_id="SUM_TYPE_OVERLAPS",
        purpose="oneOf refuses what satisfies two branches, so a wider or further branch can refuse old data.",
        keywords=frozenset({"oneOf"}),
        find=_overlap,
    ),
    *(
        Rule(rule_id=f"PRODUCT_TYPE_{verb}", purpose=purpose, keywords=frozenset({"allOf"}), find=_product_finder(verb))
        for verb, purpose in {
            "EXTENDED": "allOf demands more: old data that satisfies only the rest is refused.",
            "NARROWED": "allOf demands less: old readers still demand it.",
        }.items()
    ),
    *(
        Rule(rule_id=f"NOT_TYPE_{verb}", purpose=purpose, keywords=frozenset({"not"}), find=_not_finder(verb))
        for verb, purpose in {
            "EXTENDED": "not refuses more.",
            "NARROWED": "not refuses less.",
            "CHANGED": "not refuses something else.",
        }.items()
    ),
    Rule(
        rule_id="CONDITION_CHANGED",
        purpose="if/then/else is compared consequence by consequence under the same condition, else held to be broken.",
        keywords=frozenset({"if"}),
        find=_conditional,
    ),
    Rule(
        rule_id="UNEVALUATED_CHANGED",
        purpose="Which keys count as evaluated depends on the data: any change beside these keywords breaks.",
        keywords=frozenset({"unevaluatedProperties", "unevaluatedItems"}),
        find=_unevaluated,
    ),
)


def _same(parent: Schema, value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict):
        for full in sample(parent):
            if isinstance(full, dict):
                yield cast("dict[str, Any]", full) | cast("dict[str, Any]", value)


def children(pair: Pair) -> Iterator[Child]:
    """The branches that have no equal on the other side, one by one as far as there are two."""
    for keyword in ("allOf", *SUMS):
        if keyword in pair.old.body and keyword in pair.new.body:
            gone, fresh = _branches(pair, keyword)
            for (place, old), (_, new) in zip(gone, fresh, strict=False):
                yield Child(path=f"/{keyword}/{place}", old=old, new=new, lift=_same, group=keyword)


def is_covered(pair: Pair, group: str, direction: Direction) -> bool:
    """Whether, taken together, the branches of a group fit in one direction."""
    return is_product_covered(pair, direction) if group == "allOf" else is_sum_covered(pair, group, direction)
