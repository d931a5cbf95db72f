"""Whose unknown events are kept: read as it is declared, every mistake told with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from activation_dagster.domain.contracts import Call
from tests.registry.spoiled import edit, faults, loaded


def test_whose_unknown_events_are_kept_is_read(contracts: Path) -> None:
    line = {"sources": ["till", "app"], "calls": ["track"], "environments": ["demo"], "why": "They are on their way."}
    edit(contracts / "unknown_events.yaml", lambda content: content["keep"].append(line))
    (kept,) = loaded(contracts).kept_unknown
    assert (kept.sources, kept.calls, kept.environments) == (("till", "app"), (Call.TRACK,), ("demo",))
    assert kept.keeps(call="track", source="till", environment="demo")
    for other in ({"call": "page"}, {"source": "web"}, {"environment": "production"}):
        assert not kept.keeps(**{"call": "track", "source": "till", "environment": "demo", **other})
    (contracts / "unknown_events.yaml").unlink()
    assert loaded(contracts).kept_unknown == ()


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"owner": "platfrom"}, "owner: names owner 'platfrom', which is not in owners.yaml. Did you mean 'platform'?"),
        ({"keeps": []}, "is not a key of this file; remove it. Did you mean 'keep'?"),
        ({"keep": [{"sources": ["till"]}]}, "keep.0.why: is missing; add it."),
        ({"keep": [{"sources": [], "why": "x"}]}, "keep.0.sources: "),
        ({"keep": [{"sources": ["a/b"], "why": "x"}]}, "keep.0.sources: names 'a/b', which no folder"),
        ({"keep": [{"sources": ["a"], "source": "b", "why": "x"}]}, "Did you mean 'sources'?"),
        ({"keep": [{"sources": ["a"], "calls": ["trak"], "why": "x"}]}, "keep.0.calls.0: "),
    ],
)
def test_every_mistake_in_the_declaration_of_unknown_events_is_told(
    contracts: Path, said: dict[str, Any], fault: str
) -> None:
    edit(contracts / "unknown_events.yaml", lambda content: content.update(said))
    assert any(one.startswith("unknown_events.yaml: ") and fault in one for one in faults(contracts)), faults(contracts)
