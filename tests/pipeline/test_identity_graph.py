"""A person's graph tells every link that is there and every one that is not, with its reason, and can be drawn."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest

from activation_dagster.domain.links import LinkDecision
from activation_dagster.pipeline.identity.graph import graph_of
from activation_dagster.pipeline.identity.picture import as_html, as_svg
from activation_dagster.pipeline.places import Places
from activation_dagster.state.engine import State
from tests.pipeline.small_shop import land, places_at, work
from tests.pipeline.test_resolve import KINDS, contracts_with, name, seen, story


@pytest.fixture
def told(tmp_path: Path, state: State) -> Places:
    """The story of every rule, and two profiles that turn out to be one."""
    places = places_at(tmp_path, state, contracts=contracts_with(tmp_path, KINDS))
    land(places, *story(), seen("u8"), seen(phone="0151 99999999", anonymousId="u8"), seen("u8", phone="0151 99999999"))
    work(places)
    return places


def test_the_graph_names_what_is_there_and_what_is_not_on_both_sides(told: Places) -> None:
    first = graph_of(told, "user_id:u1", reveal=True)
    assert first.profile_id == name("user_id", "u1")
    assert {(one.kind, one.identifier) for one in first.identifiers} == {
        ("user_id", "u1"),
        ("email", "box@shop.test"),
        ("anonymous_id", "tablet"),
    }
    counts = Counter((link.decision, link.reason) for link in first.links)
    assert counts[LinkDecision.ACCEPTED, ""] == 3
    assert counts[LinkDecision.CONFLICT, "weak_elsewhere"] == 1  # u2 on the tablet: told here and there
    assert counts[LinkDecision.CONFLICT, "limit_reached"] == 1  # u3 with the address
    (box,) = [one for one in first.identifiers if one.kind == "email"]
    (since,) = {link.event_id for link in first.links if link.event_id == box.shared_since}
    assert since
    assert all(link.why.endswith(".") for link in first.links)
    second = graph_of(told, name("user_id", "u2"), reveal=False)
    (conflict,) = [link for link in second.links if link.decision is LinkDecision.CONFLICT]
    assert (conflict.profile_id, conflict.other_profile_id) == (second.profile_id, first.profile_id)


def test_former_profiles_and_the_event_that_joined_them_are_told(told: Places) -> None:
    found = graph_of(told, "user_id:u8", reveal=False)
    assert [one.profile_id for one in found.profiles] == [name("user_id", "u8"), name("phone", "+4915199999999")]
    assert [(one.from_profile, one.to_profile) for one in found.redirects] == [
        (found.profiles[1].profile_id, found.profiles[0].profile_id)
    ]


def test_values_are_shown_only_where_they_were_asked_for(told: Places) -> None:
    for hidden in (True, False):
        found = graph_of(told, "user_id:u1", reveal=not hidden)
        for text in (repr(found), as_svg(found), as_html(found)):
            assert ("box@shop.test" in text) is not hidden


def test_the_picture_is_sound_and_draws_every_identifier_and_profile(told: Places) -> None:
    found = graph_of(told, "user_id:u1", reveal=True)
    drawn = ET.fromstring(as_svg(found))
    texts = " ".join(drawn.itertext())
    for one in found.identifiers:
        assert f"{one.kind} {one.identifier}" in texts
    assert found.profile_id[:13] in texts
    assert "weak_elsewhere" in texts
    page = as_html(found)
    assert page.startswith("<!doctype html>")
    assert page.count("<tr>") == len(found.links) + 1
