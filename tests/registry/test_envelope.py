"""The envelope's contract: every mistake in its files is told, and it is guarded and shown like an event's."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from activation_dagster.registry.boundary import envelope_judged_at_boundary
from activation_dagster.registry.catalogue_pages import Catalogue, pages
from activation_dagster.registry.contract_set import readers_of_all
from activation_dagster.registry.published import check_against, report_against
from tests.registry.spoiled import CONTRACTS, edit, faults, loaded
from tests.registry.test_published import git


def test_a_call_as_segments_libraries_send_it_keeps_the_committed_envelope() -> None:
    envelope = loaded(CONTRACTS).envelope
    assert envelope is not None
    context = {
        "active": True,
        "app": {"name": "InitechGlobal", "version": "545", "build": "3.0.1.545"},
        "campaign": {"name": "TPS Innovation Newsletter", "source": "Newsletter"},
        "device": {"id": "B5372DB0-C21E-11E4-8DFC-AA07A5B093DB", "model": "iPhone7,2", "type": "ios"},
        "ip": "2001:db8::1",
        "library": {"name": "analytics.js", "version": "2.11.1"},
        "locale": "en-US",
        "location": {"city": "San Francisco", "latitude": 40.2964197},
        "network": {"bluetooth": False, "carrier": "T-Mobile US", "wifi": True},
        "os": {"name": "iPhone OS", "version": "8.1.3"},
        "page": {"path": "/academy/", "referrer": "", "search": "", "title": None, "url": "https://a.example/academy/"},
        "screen": {"width": 320, "height": 568, "density": 2},
        "groupId": "12345",
        "timezone": "Europe/Amsterdam",
        "userAgent": "Mozilla/5.0",
        "userAgentData": {"mobile": False},
        "traits": {"email": "ann@example.com"},
    }
    said = {
        "anonymousId": "507f191e810c19729de860ea",
        "context": context,
        "integrations": {"All": True, "Mixpanel": False},
        "event": "Report Submitted",
        "messageId": "022bb90c-bbac-11e4-8dfc-aa07a5b093db",
        "properties": {},
        "receivedAt": "2026-03-01T10:15:30.909Z",
        "sentAt": "2026-03-01T10:15:30.910Z",
        "timestamp": "2026-03-01T10:15:30.912Z",
        "type": "track",
        "userId": None,
        "version": 2,
        "_metadata": {"bundled": ["Segment.io"]},
    }
    assert envelope_judged_at_boundary(envelope.current, said) == ()


def test_without_an_envelope_folder_nothing_more_is_asked(contracts: Path) -> None:
    shutil.rmtree(contracts / "envelope")
    assert loaded(contracts).envelope is None


@pytest.mark.parametrize(
    ("file", "key", "said", "fault"),
    [
        (
            "contract.yaml",
            "owner",
            "platfrm",
            "owner: names owner 'platfrm', which is not in owners.yaml. Did you mean",
        ),
        (
            "contract.yaml",
            "consumers",
            ["crmm"],
            "consumers: names owner 'crmm', which is not in owners.yaml. Did you mean",
        ),
        ("contract.yaml", "pinned", {"web": "v9"}, "pinned.web: names version 'v9', which has no file."),
        ("contract.yaml", "pined", {"web": "v1"}, "is not a key of this file; remove it. Did you mean 'pinned'?"),
        ("contract.yaml", "versions", {"v9": {"lifecycle": "draft"}}, "versions.v9: names version 'v9'"),
        ("v1.yaml", "event_name", "every event", "event_name: must be 'envelope'"),
        ("v1.yaml", "version", "v2", "version: says 'v2', but the file is v1.yaml"),
        ("v1.yaml", "properties", {"sentAt": {"type": "timestmp"}}, "properties.sentAt.type: "),
        ("v1.yaml", "properties", {"x": {"type": "string", "default": "a"}}, "properties.x.default: is a default that"),
        (
            "v1.yaml",
            "required",
            ["messageid"],
            "names property 'messageid', which is not among its properties. Did you",
        ),
        ("v1.examples.yaml", "valid", [{"type": "track", "context": []}], "breaks its promise (context: type object)."),
        ("v1.examples.yaml", "invalid", [], "invalid: is empty; add one event that breaks the promise"),
    ],
)
def test_every_mistake_in_the_envelopes_files_is_told_with_its_place(
    contracts: Path, file: str, key: str, said: Any, fault: str
) -> None:
    edit(contracts / "envelope" / file, lambda content: content.update({key: said}))
    assert any(one.startswith(f"envelope/{file}") and fault in one for one in faults(contracts)), faults(contracts)


def test_an_envelope_needs_an_owner_a_version_and_examples(contracts: Path) -> None:
    folder = contracts / "envelope"
    shutil.copy(folder / "v1.examples.yaml", folder / "v2.examples.yaml")
    (folder / "v1.examples.yaml").unlink()
    assert [one.partition(": ")[0] for one in faults(contracts)] == ["envelope/v1", "envelope/v2.examples.yaml"]
    (folder / "contract.yaml").unlink()
    assert any("has no contract.yaml" in one for one in faults(contracts))


def test_a_published_envelope_is_guarded_like_an_event(tmp_path: Path) -> None:
    root = tmp_path / "repository" / "contracts"
    shutil.copytree(CONTRACTS, root)
    git(root.parent, "init", "--quiet", "--initial-branch", "main")
    git(root.parent, "add", ".")
    git(root.parent, "commit", "--quiet", "--message", "published")
    known = loaded(root)
    consumers, owners = readers_of_all(known), tuple(known.owners)
    version = root / "envelope" / "v1.yaml"
    published = version.read_text()
    newer = yaml.safe_load(published) | {"version": "v2", "required": ["type", "messageId"]}
    (root / "envelope" / "v2.yaml").write_text(yaml.safe_dump(newer))
    report = check_against(root, "main", consumers=consumers, owners=owners)
    assert report.new == ("envelope/v2.yaml",)
    (fault,) = report.faults
    assert "is not compatible with v1 in mode full" in str(fault)
    newer["breaking"] = {"migration": "Send a messageId.", "owners": ["platform"]}
    (root / "envelope" / "v2.yaml").write_text(yaml.safe_dump(newer))
    assert check_against(root, "main", consumers=consumers, owners=owners).faults == ()
    version.write_text(published.replace("max_length: 100}", "max_length: 90}"))
    (fault,) = check_against(root, "main", consumers=consumers, owners=owners).faults
    assert str(fault).startswith("envelope/v1.yaml: was published at main and is edited")
    kept = {"envelope/v1.yaml": published.encode(), "envelope/v3.yaml": b"{}"}
    report = report_against(root, kept, "before", published="before", consumers=consumers, owners=owners)
    named = {one.file for one in report.faults if one.file.startswith("envelope/")}
    assert named == {"envelope/v1.yaml", "envelope/v2.yaml", "envelope/v3.yaml"}


def test_the_catalogue_shows_what_holds_for_every_event(contracts: Path) -> None:
    edit(
        contracts / "unknown_events.yaml", lambda content: content["keep"].append({"sources": ["till"], "why": "New."})
    )
    edit(
        contracts / "events" / "page" / "contract.yaml",
        lambda content: content.update(late_data="state_only", late_after_hours=5, undeclared="drop"),
    )
    made = pages(Catalogue(contracts=loaded(contracts), examples={("envelope", "v1"): "an example"}))
    page = made["events/envelope.html"]
    assert "Every event&#x27;s envelope" in page
    assert "an example" in page
    assert "locale" in page
    assert 'href="events/envelope.html"' in made["index.html"]
    assert "Unknown events of till are kept: New." in made["index.html"]
    assert "received more than 5 hours after it happened, it counts for the profile" in made["events/page.html"]
    assert "dropped: the event is accepted, and nothing reads them" in made["events/page.html"]
    assert "waits in quarantine" in pages(Catalogue(contracts=loaded(CONTRACTS)))["index.html"]
