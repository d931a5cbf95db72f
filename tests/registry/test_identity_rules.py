"""An identity contract says everything of a kind, all its mistakes are told at once, and marked properties are read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from activation_dagster.domain.identifiers import (
    IdentityRules,
    OnConflict,
    Phone,
    Replace,
    Shared,
    Strength,
    Window,
    Winner,
)
from activation_dagster.domain.traits import TraitPolicy, TraitRule
from activation_dagster.errors import ContractsInvalid
from activation_dagster.registry.identity_rules import load_rules
from activation_dagster.registry.loading import load_contracts
from activation_dagster.registry.uses import Use, uses_of

REPOSITORY = Path(__file__).resolve().parent.parent.parent

WHOLE: dict[str, Any] = {
    "version": "v7",
    "owner": "platform",
    "kinds": {
        "user_id": {"paths": ["userId"], "normalise": ["trim"], "limit": 1},
        "email": {
            "paths": ["traits.email"],
            "owner": "crm",
            "normalise": ["email"],
            "shared": {"more_than": 4, "of": "user_id"},
            "limit": {"most": 2, "per": "month"},
            "unique": True,
        },
        "phone": {
            "paths": ["traits.phone"],
            "normalise": [{"replace": "^00", "by": "+"}, {"phone": "DE"}],
            "valid": "\\+[0-9]+",
            "blocked_values": ["null"],
            "blocked_patterns": ["^[+]0*$"],
            "strength": "weak",
            "time_to_live_days": 30,
        },
    },
    "rules": {"winner": "largest", "maximum_cluster": 50, "on_conflict": "quarantine"},
    "traits": {
        "default": {"source_priority": ["crm", "web"]},
        "policies": {"city": "most_frequent", "joined": "first", "plan": "latest"},
    },
}


def loaded(folder: Path, content: dict[str, Any]) -> IdentityRules:
    """The rules of a file with this content."""
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_rules(file)


def changed(*path: str, to: Any) -> dict[str, Any]:
    """The whole contract with one thing changed."""
    content: dict[str, Any] = yaml.safe_load(yaml.safe_dump(WHOLE))
    inside = content
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = to
    return content


def test_everything_a_contract_says_of_a_kind_is_read(tmp_path: Path) -> None:
    rules = loaded(tmp_path, WHOLE)
    assert (rules.winner, rules.maximum_cluster, rules.on_conflict) == (Winner.LARGEST, 50, OnConflict.QUARANTINE)
    user, email, phone = rules.kinds
    assert (user.limit, user.window, user.strength, user.owner) == (1, Window.EVER, Strength.STRONG, "platform")
    assert (email.limit, email.window, email.is_unique, email.owner) == (2, Window.MONTH, True, "crm")
    assert email.shared == Shared(more_than=4, of="user_id")
    assert phone.normalise == (Replace(pattern="^00", by="+"), Phone(region="DE"))
    assert (phone.strength, phone.time_to_live, phone.limit) == (Strength.WEAK, timedelta(days=30), 5)
    assert phone.read("0049 151 12345678") == phone.read("0151/12345678") == "+4915112345678"


def test_the_policy_of_each_trait_is_read(tmp_path: Path) -> None:
    traits = loaded(tmp_path, WHOLE).traits
    assert traits.default == TraitRule(policy=TraitPolicy.SOURCE_PRIORITY, sources=("crm", "web"))
    assert {name: rule.policy.value for name, rule in traits.named.items()} == {
        "city": "most_frequent",
        "joined": "first",
        "plan": "latest",
    }
    assert [traits.asks(name) for name in ("city", "other", "plan", "$country")] == [True, True, False, False]
    untold = {name: said for name, said in WHOLE.items() if name != "traits"}
    assert loaded(tmp_path, untold).traits.ask_nothing


def test_what_a_contract_does_not_say_is_as_in_segments_unify() -> None:
    rules = load_rules(REPOSITORY / "contracts" / "identity.yaml")
    assert [(kind.name, kind.priority, kind.limit) for kind in rules.kinds] == [
        ("user_id", 1, 1),
        ("email", 2, 5),
        ("anonymous_id", 3, 5),
    ]
    assert (rules.winner, rules.maximum_cluster) == (Winner.OLDEST, 1_000)
    assert rules.on_conflict is OnConflict.DROP_WEAKEST


def test_kinds_are_in_the_order_of_their_priorities(tmp_path: Path) -> None:
    content = changed("kinds", "user_id", "priority", to=3)
    content["kinds"]["email"]["priority"] = 1
    content["kinds"]["phone"]["priority"] = 2
    assert [kind.name for kind in loaded(tmp_path, content).kinds] == ["email", "phone", "user_id"]


MISTAKES: list[tuple[tuple[str, ...], Any, str, str]] = [
    (("kinds", "user_id", "limit"), 2, "kinds.user_id.limit", "must be 1 for ever"),
    (("kinds", "user_id", "limit"), {"most": 1, "per": "day"}, "kinds.user_id.limit", "must be 1 for ever"),
    (("kinds", "user_id", "strength"), "weak", "kinds.user_id.strength", "must be strong"),
    (("kinds", "user_id", "time_to_live_days"), 9, "kinds.user_id.time_to_live_days", "remove it"),
    (("kinds", "email", "normalise"), ["lowr"], "kinds.email.normalise.0", "Did you mean 'lower'?"),
    (("kinds", "email", "normalise"), [{"phone": "XX"}], "kinds.email.normalise.0", "region 'XX'"),
    (("kinds", "email", "normalise"), [{"fone": "DE"}], "kinds.email.normalise.0", "Did you mean 'phone'?"),
    (("kinds", "email", "normalise"), [{"replace": "(", "by": ""}], "kinds.email.normalise.0", "is no pattern"),
    (("kinds", "email", "normalise"), [{"replace": "(a)", "by": r"\1"}], "kinds.email.normalise.0", "puts a group"),
    (("kinds", "email", "valid"), "(", "kinds.email.valid", "cannot be a pattern"),
    (("kinds", "email", "blocked_patterns"), ["("], "kinds.email.blocked_patterns", "is no pattern"),
    (("kinds", "email", "paths"), ["trait.email"], "kinds.email.paths.0", "Did you mean 'traits'?"),
    (("kinds", "email", "paths"), ["userid"], "kinds.email.paths.0", "Did you mean 'userId'?"),
    (("kinds", "email", "limit"), {"most": 2, "per": "mont"}, "kinds.email.limit.per", "Did you mean 'month'?"),
    (("kinds", "email", "shared"), {"more_than": 2, "of": "userid"}, "kinds.email.shared.of", "'user_id'?"),
    (("kinds", "email", "shared"), {"more_than": 2, "of": "email"}, "kinds.email.shared.of", "its own kind"),
    (("kinds", "email", "strength"), "strng", "kinds.email.strength", "Did you mean 'strong'?"),
    (("kinds", "email", "priority"), 1, "kinds", "say it of all"),
    (("kinds", "Email"), {"paths": ["traits.email"]}, "kinds.Email", "lower case"),
    (("kinds",), {"a": {"paths": ["userId"], "strength": "weak"}}, "kinds", "make one strong"),
    (("kinds",), {}, "kinds", "add one"),
    (("rules", "winner"), "eldest", "rules.winner", "Did you mean 'oldest'?"),
    (("rules", "on_conflict"), "drop", "rules.on_conflict", "drop_weakest"),
    (("rules", "maximum_cluster"), 1, "rules.maximum_cluster", "2"),
    (("rules", "maximum"), 9, "rules.maximum", "Did you mean 'maximum_cluster'?"),
    (("traits", "defalt"), "first", "traits.defalt", "Did you mean 'default'?"),
    (("traits", "default"), "frist", "traits.default", "Did you mean 'first'?"),
    (("traits", "default"), "source_priority", "traits.default", "which source counts most"),
    (("traits", "default"), {"source_prioriti": ["crm"]}, "traits.default", "Did you mean 'source_priority'?"),
    (("traits", "policies", "city"), {}, "traits.policies.city", "must be one of"),
    (("traits", "policies", "city"), {"source_priority": []}, "traits.policies.city.source_priority", "no source"),
    (("traits", "policies", "city"), {"source_priority": ["a", "a"]}, "traits.policies.city", "twice"),
    (("traits", "policies", "$country"), "first", "traits.policies.$country", "remove it"),
    (("traits", "policies", "x" * 81), "first", "traits.policies.x", "rename it"),
]


@pytest.mark.parametrize(
    ("path", "to", "where", "sentence"), MISTAKES, ids=[str(number) for number in range(len(MISTAKES))]
)
def test_a_mistake_is_told_with_its_place_and_what_to_do(
    tmp_path: Path, path: tuple[str, ...], to: Any, where: str, sentence: str
) -> None:
    with pytest.raises(ContractsInvalid) as refused:
        loaded(tmp_path, changed(*path, to=to))
    faults = refused.value.faults
    assert any(fault.path.startswith(where) and sentence in fault.sentence for fault in faults), [*map(str, faults)]
    assert all(fault.sentence.endswith((".", "?")) for fault in faults), [*map(str, faults)]


def test_all_mistakes_of_a_contract_are_told_at_once(tmp_path: Path) -> None:
    content = changed("kinds", "user_id", "limit", to=3)
    content["kinds"]["email"]["strength"] = "strng"
    content["kinds"]["phone"]["paths"] = ["phone"]
    content["rules"]["winner"] = "eldest"
    content["traits"]["default"] = "newest"
    with pytest.raises(ContractsInvalid) as refused:
        loaded(tmp_path, content)
    assert [fault.path for fault in refused.value.faults] == [
        "kinds.email.strength",
        "kinds.phone.paths.0",
        "kinds.user_id.limit",
        "rules.winner",
        "traits.default",
    ]


def test_the_example_contract_is_sound_when_it_is_laid_over_the_contracts(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "contracts", tmp_path / "contracts")
    shutil.copytree(REPOSITORY / "deploy" / "examples" / "git_authors", tmp_path / "contracts", dirs_exist_ok=True)
    assert load_contracts(tmp_path / "contracts", environment="demo").identity.version == "git-authors-v1"


def test_a_policy_names_sources_and_traits_that_there_are(tmp_path: Path) -> None:
    root = shutil.copytree(REPOSITORY / "contracts", tmp_path / "contracts")
    said = yaml.safe_load((root / "identity.yaml").read_text())
    said["traits"] = {"default": {"source_priority": ["archive", "shopp"]}, "policies": {"citty": "first"}}
    (root / "identity.yaml").write_text(yaml.safe_dump(said, sort_keys=False))
    about = root / "events" / "identify" / "contract.yaml"
    about.write_text(about.read_text() + "undeclared: drop\n")
    with pytest.raises(ContractsInvalid) as refused:
        load_contracts(root, environment="demo")
    told = {fault.path: fault.sentence for fault in refused.value.faults if fault.file == "identity.yaml"}
    assert set(told) == {"traits.default.source_priority.1", "traits.policies.citty"}
    assert "Did you mean 'shop'?" in told["traits.default.source_priority.1"]
    assert "does not declare" in told["traits.policies.citty"]


# -- properties that event contracts mark -----------------------------------------------------------------------------


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    """A copy of the contracts that a test may spoil."""
    return shutil.copytree(REPOSITORY / "contracts", tmp_path / "contracts")


def mark(contracts: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the properties of the page event."""
    file = contracts / "events" / "page" / "v1.yaml"
    content = yaml.safe_load(file.read_text())
    change(content["properties"])
    file.write_text(yaml.safe_dump(content, sort_keys=False))


def test_a_marked_property_is_read_after_the_paths_of_its_kind(contracts: Path) -> None:
    def change(properties: dict[str, Any]) -> None:
        properties["contact"] = {"type": "string", "identifier": "email"}
        properties["form"] = {"type": "object", "properties": {"mail": {"type": "string", "identifier": "email"}}}

    mark(contracts, change)
    found = load_contracts(contracts, environment="demo")
    page = found.events["page"]
    paths = found.identifier_paths(page, page.newest)
    assert paths["email"][-2:] == ("properties.contact", "properties.form.mail")
    assert paths["email"][:-2] == found.identity.kind("email").paths
    assert paths["user_id"] == found.identity.kind("user_id").paths
    assert {
        Use(kind="identity", name="email", property="contact"),
        Use(kind="identity", name="email", property="form"),
    } <= set(uses_of(found, page))


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"type": "integer", "identifier": "email"}, "only a string"),
        ({"type": "array", "items": {"type": "string", "identifier": "email"}}, "in an array"),
        ({"type": "string", "identifier": "emial"}, "Did you mean 'email'?"),
    ],
)
def test_a_mark_that_cannot_be_read_is_a_mistake(contracts: Path, rule: dict[str, Any], sentence: str) -> None:
    mark(contracts, lambda properties: properties.update(contact=rule))
    with pytest.raises(ContractsInvalid, match=sentence.replace("?", r"\?")):
        load_contracts(contracts, environment="demo")
