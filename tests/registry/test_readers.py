"""A reader of what no accepted event can have is a mistake, and so is a choice that nobody made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.registry.spoiled import edit, faults


@pytest.mark.parametrize("undeclared", ["drop", "quarantine", "keep"])
def test_a_reader_of_an_undeclared_trait_is_a_mistake_unless_it_is_kept(contracts: Path, undeclared: str) -> None:
    """Under keep a trait may be read that nobody declared; under the others nobody would ever have it."""
    edit(contracts / "events" / "identify" / "contract.yaml", lambda content: content.update(undeclared=undeclared))
    edit(
        contracts / "audiences" / "recent_buyers.yaml",
        lambda content: content["conditions"].append({"trait": "contry", "is_in": ["GB"]}),
    )
    edit(contracts / "workflows" / "welcome_back.yaml", lambda content: content["data_fields"].update(x="traits.plan"))
    edit(contracts / "consent.yaml", lambda content: content["country_from"].append("traits.land"))
    edit(contracts / "identity.yaml", lambda content: content["kinds"]["email"]["paths"].append("traits.mail"))
    found = faults(contracts)
    if undeclared == "keep":
        assert found == []
        return
    why = "takes it out" if undeclared == "drop" else "lets such events wait"
    assert all(f"'identify' does not declare, and `undeclared: {undeclared}` {why}" in one for one in found), found
    assert [one.split(": ")[0] for one in found] == [
        "audiences/recent_buyers.yaml",
        "consent.yaml",
        "identity.yaml",
        "workflows/welcome_back.yaml",
    ]
    assert "Did you mean 'country'?" in found[0]


def test_a_choice_that_is_dropped_or_has_a_default_is_a_mistake(contracts: Path) -> None:
    folder = contracts / "events" / "user_profile_updated"
    mapping = contracts / "consent_mappings" / "profile_consent_status.yaml"
    edit(mapping, lambda content: content.update(path="properties.consent"))
    assert faults(contracts) == []
    edit(folder / "contract.yaml", lambda content: content.update(undeclared="drop"))
    (fault,) = faults(contracts)
    assert fault.startswith("consent_mappings/profile_consent_status.yaml: path: reads 'properties.consent', which")
    edit(mapping, lambda content: content.update(path="properties.consent_status"))
    version = json.loads((folder / "v2.json").read_text())
    version["properties"]["consent_status"]["default"] = True
    (folder / "v2.json").write_text(json.dumps(version))
    (fault,) = faults(contracts)
    assert "has a default in v2, and a choice that nobody made is none" in fault
