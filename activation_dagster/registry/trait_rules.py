"""The policies of traits: from the identity contract's `traits:` to rules, with every mistake in it told at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from activation_dagster.domain.traits import DERIVED, LATEST, TraitPolicy, TraitRule, TraitRules
from activation_dagster.registry.files import suggestion
from activation_dagster.registry.shapes import IdentityFile

LONGEST_TRAIT = 80
"""Characters of a trait's name; longer ones are not kept."""

Tell = Callable[[str, str], None]
"""Takes a path inside the file and a sentence saying what to do."""


def trait_rules(shape: IdentityFile.Traits | None, tell: Tell) -> TraitRules:
    """The rules that the section says; none of it is `latest` of every trait."""
    if shape is None:
        return TraitRules()
    for trait in shape.policies:
        here = f"traits.policies.{trait}"
        if trait.startswith(DERIVED):
            tell(here, f"is of a trait that the platform derives ({DERIVED}…), of which the latest counts; remove it.")
        elif not 1 <= len(trait) <= LONGEST_TRAIT:
            tell(here, f"has a name that no trait has, which are kept up to {LONGEST_TRAIT} characters; rename it.")
    return TraitRules(
        default=_rule(shape.default, "traits.default", tell),
        named={trait: _rule(said, f"traits.policies.{trait}", tell) for trait, said in shape.policies.items()},
    )


def mistakes_of_sources(rules: TraitRules, known: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Sources that look like one of contracts/sources.yaml misspelt. Files and archives may come from others."""
    declared = sorted(known)
    for where, rule in (("default", rules.default), *((f"policies.{one}", rule) for one, rule in rules.named.items())):
        for number, source in enumerate(rule.sources):
            if source not in declared and (hint := suggestion(source, declared)):
                advice = "mend its name, or declare it there."
                yield (
                    f"traits.{where}.source_priority.{number}",
                    f"names source '{source}', which is not in sources.yaml; {advice}{hint}",
                )


def _rule(said: str | Mapping[str, list[str]], here: str, tell: Tell) -> TraitRule:
    known = [policy.value for policy in TraitPolicy]
    word = TraitPolicy.SOURCE_PRIORITY.value
    example = f"{{{word}: [crm, web]}}"
    if isinstance(said, str):
        if said not in known:
            tell(here, f"says '{said[:60]}', which is not one of {', '.join(known)}.{suggestion(said, known)}")
            return LATEST
        if said == word:
            tell(here, f"does not say which source counts most; write {example}.")
            return LATEST
        return TraitRule(policy=TraitPolicy(said))
    if set(said) != {word}:
        wrong = sorted(set(said) - {word})
        hint = suggestion(wrong[0], [word]) if wrong else ""
        tell(here, f"must be one of {', '.join(known[:-1])}, or {example}.{hint}")
        return LATEST
    sources = said[word]
    if not sources:
        tell(f"{here}.{word}", "names no source; name the one that counts most, or say `latest`.")
    for source in sorted({source for source in sources if sources.count(source) > 1}):
        tell(f"{here}.{word}", f"names source '{source[:60]}' twice; keep the first.")
    return TraitRule(policy=TraitPolicy.SOURCE_PRIORITY, sources=tuple(dict.fromkeys(sources)))
