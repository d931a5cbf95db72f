"""The catalogue: what a contract says is shown as text, whoever wrote it, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.domain.contracts import EventVersion, PropertyRule, PropertyType
from activation_dagster.registry.catalogue_look import SCRIPT, STYLE
from activation_dagster.registry.catalogue_pages import Catalogue, Seen, pages
from activation_dagster.registry.catalogue_trend import SeenOn, bars, days
from activation_dagster.registry.contract_set import ContractSet, Owner
from activation_dagster.registry.html_elements import element, render
from activation_dagster.registry.loading import load_contracts
from activation_dagster.registry.uses import Use, uses_of

OURS = load_contracts(Path(__file__).resolve().parent.parent.parent / "contracts", environment="demo")
EVIL = "</style></script><script>alert(1)</script><img src=x onerror=alert(1)>\" onload='x' &amp; '"


class Read(HTMLParser):
    """A page as a browser takes it: its elements with their attributes, its texts, its scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.raw: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            self.raw.append(data)
        else:
            self.text += data


def read(page: str) -> Read:
    """A page, after what holds for every page was asserted."""
    found = Read(page)
    assert found.open == []
    assert set(found.raw) <= {SCRIPT, STYLE}
    names = {name for name, _ in found.elements}
    assert not names & {"img", "iframe", "object", "embed", "link", "form", "base", "svg"}
    for _, attributes in found.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "style", "srcset")]
        address = attributes.get("href") or "#"
        assert re.fullmatch(r"#|\.\./index\.html|(events/)?[a-z0-9_]+\.html|mailto:[\w.+@-]+", address), address
    policies = [attributes["content"] for _, attributes in found.elements if "http-equiv" in attributes]
    assert len(policies) == 1
    assert (policies[0] or "").startswith("default-src 'none'; script-src 'sha256-")
    return found


def spoiled(text: str) -> ContractSet:
    """Our contracts with a text wherever a person can write one."""
    rule = PropertyRule(
        name="x", type=PropertyType.STRING, is_required=True, enum=(text, "b"), is_pii=True, description=text
    )
    events = {
        slug: replace(
            contract,
            name=text,
            description=text,
            versions=(
                EventVersion(version="v1", properties=()),
                EventVersion(version="v2", properties=(rule, replace(rule, name=text))),
            ),
        )
        for slug, contract in OURS.events.items()
    }
    owners = {slug: Owner(slug=slug, name=text, contact=text) for slug in OURS.owners}
    return replace(OURS, events=events, owners=owners)


def test_every_event_has_a_page_and_every_link_leads_to_one() -> None:
    made = pages(Catalogue(contracts=OURS))
    assert set(made) == {"index.html", "events/envelope.html", *(f"events/{slug}.html" for slug in OURS.events)}
    links = {attributes["href"] for _, attributes in read(made["index.html"]).elements if "href" in attributes}
    assert links == set(made) - {"index.html"}
    for page in made.values():
        read(page)


@pytest.mark.parametrize("text", [EVIL, "javascript:alert(1)", "a@b.example", "]]><!--", "\x00\u202e"])
def test_whatever_a_contract_says_is_shown_as_text(text: str) -> None:
    contracts = spoiled(text)
    examples = {(slug, "v2"): text for slug in contracts.events}
    for name, page in pages(Catalogue(contracts=contracts, examples=examples)).items():
        found = read(page)
        assert "<script>alert" not in page
        assert text.replace("\x00", "") in found.text.replace("\x00", "").replace("\ufffd", ""), name


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), max_size=40))
def test_a_text_is_read_back_as_it_was(text: str) -> None:
    found = Read(render(element("p", text, title=text)))
    assert found.text == text
    assert found.elements == [("p", {"title": text})]


def test_every_word_that_one_would_search_by_stands_in_the_row() -> None:
    found = read(pages(Catalogue(contracts=OURS))["index.html"])
    rows = [attributes["data-text"] or "" for _, attributes in found.elements if "data-text" in attributes]
    assert len(rows) == len(OURS.events)
    (purchased,) = [row for row in rows if row.startswith("product_purchased")]
    for word in ("product purchased", "shop", "critical", "shipping_state", "high_value_users", "invoice"):
        assert word in purchased


def test_a_version_shows_what_differs_from_the_one_before() -> None:
    text = read(pages(Catalogue(contracts=OURS))["events/user_profile_updated.html"]).text
    assert "added consent_status: boolean, optional" in text
    assert "changed updated_at: required: no → yes" in text
    assert text.index("Version v2") < text.index("Since v1") < text.index("Version v1")


def test_counts_are_shown_where_there_are_any_and_left_out_otherwise() -> None:
    seen = {("product_purchased", "v1"): Seen(accepted=9_999, waiting=1, last_on="2026-03-01")}
    made = pages(Catalogue(contracts=OURS, seen=seen))
    assert "10,000 events; 1 of them (0.01 %) wait" in read(made["events/product_purchased.html"]).text
    assert "no event yet" in read(made["events/page.html"]).text
    assert "In quarantine" in read(made["index.html"]).text
    without = pages(Catalogue(contracts=OURS))
    assert "In quarantine" not in read(without["index.html"]).text
    assert "judged" not in read(without["events/page.html"]).text


def test_examples_are_shown_under_their_version() -> None:
    examples = {("page", "v1"): "valid:\n  - url: /shoes\n"}
    assert "url: /shoes" in read(pages(Catalogue(contracts=OURS, examples=examples))["events/page.html"]).text


def test_who_reads_a_property_is_known() -> None:
    purchased = set(uses_of(OURS, OURS.events["product_purchased"]))
    assert Use(kind="audience", name="high_value_users", property="price") in purchased
    assert Use(kind="audience", name="recent_buyers", property="") in purchased
    identify = set(uses_of(OURS, OURS.events["identify"]))
    assert Use(kind="identity", name="email", property="email") in identify
    assert Use(kind="workflow", name="welcome_back", property="first_name") in identify
    chosen = set(uses_of(OURS, OURS.events["consent_preference_updated"]))
    assert Use(kind="workflow", name="welcome_back", property="incentive") in chosen
    assert Use(kind="consent", name="marketing_email", property="") in chosen


def test_whatever_the_platform_uses_of_an_event_has_a_reader_in_the_catalogue() -> None:
    for contract in OURS.events.values():
        named = {use.property for use in uses_of(OURS, contract)}
        promised = {rule.name for version in contract.versions for rule in version.properties}
        assert {name for name in OURS.used_properties(contract) if name in promised} <= named, contract.slug


def test_each_day_has_a_bar_as_high_as_its_events_and_a_foot_for_those_that_wait() -> None:
    trend = [
        SeenOn(day="2026-03-01", accepted=0, waiting=0),
        SeenOn(day="2026-03-02", accepted=9_999, waiting=1),
        SeenOn(day="2026-03-03", accepted=2_500, waiting=2_500),
    ]
    drawn = re.findall(r'<rect x="(\d+)" y="[\d.]+" width="6" height="([\d.]+)" class="(bar[ a-z]*)">', bars(trend))
    assert drawn == [
        ("0", "1", "bar"), ("8", "28", "bar"), ("8", "2", "bar waits"), ("16", "14", "bar"), ("16", "7", "bar waits"),
    ]  # fmt: skip
    assert "3 days to 2026-03-03: 15,000 judged, 2,501 in quarantine" in bars(trend)
    told = days(trend)
    assert told is not None
    assert [told.index(share) for share in ("50.00 %", "0.01 %")] == sorted(
        told.index(s) for s in ("50.00 %", "0.01 %")
    )
    assert "2026-03-01" not in told
    assert days(trend[:1]) is None
    assert "–" in bars(trend[:1])
