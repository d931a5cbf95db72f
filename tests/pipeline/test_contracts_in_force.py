"""What a batch ran under is published: edited files are refused, and the last good ones go on serving."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from activation_dagster.domain.reasons import IncidentKind
from activation_dagster.errors import ContractsInvalid
from activation_dagster.pipeline.contracts_in_force import check_against_state, contracts_serving, contracts_today
from activation_dagster.pipeline.people import person_named
from activation_dagster.pipeline.places import Places
from activation_dagster.state.incidents import list_incidents
from tests.pipeline.small_shop import batches_of, buyer, land, work


@pytest.fixture
def shop(places: Places, tmp_path: Path) -> Places:
    """An installation whose contracts are a copy that may be changed, with one batch worked."""
    contracts = tmp_path / "contracts-of-its-own"
    shutil.copytree(places.contracts_root, contracts)
    found = replace(places, contracts_root=contracts)
    land(found, *buyer("u1", price=10.0))
    work(found)
    return found


def refusals(places: Places, *, is_open: bool | None = None) -> list[str]:
    with places.state.read() as connection:
        found = list_incidents(connection, is_open=is_open, kind=IncidentKind.CONTRACTS_REFUSED)
    return [one.sentence for one in found]


def next_set(places: Places, user: str) -> str:
    """The contract set of a batch that is worked now."""
    land(places, *buyer(user, price=10.0))
    work(places)
    return batches_of(places)[-1].contract_set


def test_a_published_version_that_is_edited_is_refused_and_the_last_good_set_serves(shop: Places) -> None:
    good = contracts_today(shop).fingerprint
    version = shop.contracts_root / "events" / "product_purchased" / "v1.yaml"
    published = version.read_text()
    version.write_text(published.replace("quantity: {type: integer}", "quantity: {type: string}"))
    assert next_set(shop, "u2") == good
    assert next_set(shop, "u3") == good
    (sentence,) = refusals(shop)
    assert "events/product_purchased/v1.yaml" in sentence
    assert "is edited" in sentence
    assert good in sentence
    version.write_text(published)
    (shop.contracts_root / "audiences" / "recent_buyers.yaml").write_text(
        (shop.contracts_root / "audiences" / "recent_buyers.yaml").read_text() + "\n# changed\n"
    )
    assert next_set(shop, "u4") == contracts_today(shop).fingerprint != good


def test_a_published_version_that_is_gone_is_refused(shop: Places) -> None:
    good = contracts_today(shop).fingerprint
    shutil.rmtree(shop.contracts_root / "events" / "bad_debt_adjusted")
    assert next_set(shop, "u2") == good
    assert "bad_debt_adjusted/v1.yaml was published to the newest batch and is gone" in refusals(shop)[0]


def test_a_new_version_that_breaks_is_refused_until_it_says_so(shop: Places) -> None:
    good = contracts_today(shop).fingerprint
    folder = shop.contracts_root / "events" / "page"
    promise = {"event_name": "page", "version": "v2", "properties": {"url": {"type": "integer"}}, "required": ["url"]}
    (folder / "v2.json").write_text(json.dumps(promise))
    assert next_set(shop, "u2") == good
    assert "events/page/v2.json" in refusals(shop)[0]
    owners = list(contracts_today(shop).reading_owners(contracts_today(shop).events["page"]))
    declared = promise | {"breaking": {"migration": "Senders count pages from now on.", "owners": owners}}
    (folder / "v2.json").write_text(json.dumps(declared))
    assert next_set(shop, "u3") == contracts_today(shop).fingerprint != good


def test_files_that_cannot_be_read_are_refused_and_the_last_good_set_serves(shop: Places) -> None:
    good = contracts_today(shop).fingerprint
    (shop.contracts_root / "identity.yaml").write_text("version: [")
    assert next_set(shop, "u2") == good
    assert "identity.yaml" in refusals(shop)[0]


def test_the_incident_closes_when_a_batch_takes_the_mended_files_and_another_fault_opens_another(shop: Places) -> None:
    version = shop.contracts_root / "events" / "product_purchased" / "v1.yaml"
    published = version.read_text()
    version.write_text(published + "\n# edited\n")
    next_set(shop, "u2")
    identity = shop.contracts_root / "identity.yaml"
    promised = identity.read_text()
    version.write_text(published)
    identity.write_text("version: [")
    next_set(shop, "u3")
    told = refusals(shop, is_open=True)
    assert len(told) == 1
    assert "identity.yaml" in told[0]
    identity.write_text(promised)
    assert next_set(shop, "u4") == contracts_today(shop).fingerprint
    assert refusals(shop, is_open=True) == []
    assert len(refusals(shop)) == 2
    version.write_text(published + "\n# edited\n")
    next_set(shop, "u5")
    assert len(refusals(shop, is_open=True)) == 1


def test_what_stops_no_batch_stops_no_delivery_and_no_answer(shop: Places) -> None:
    good = contracts_today(shop)
    assert contracts_serving(shop) == good
    (shop.contracts_root / "consent.yaml").write_text("purposes: [")
    assert contracts_serving(shop).fingerprint == good.fingerprint
    assert contracts_serving(shop) is contracts_serving(shop), "read once"
    assert person_named(shop, "user_id:u1").members


def test_the_check_against_state_tells_what_the_next_batch_would_refuse(shop: Places) -> None:
    def faults() -> tuple[str, ...]:
        return tuple(
            f"{fault.file} {fault.sentence}" for fault in check_against_state(shop, consumers={}, owners=()).faults
        )

    assert faults() == ()
    page = shop.contracts_root / "events" / "page"
    published = (page / "v1.yaml").read_text()
    (page / "v1.yaml").unlink()
    assert "is gone" in faults()[0]
    (page / "v1.yaml").write_text(published.replace("type: string", "type: integer", 1))
    assert "is edited" in faults()[0]
    (page / "v1.yaml").write_text(published)
    promise = {"event_name": "page", "version": "v2", "properties": {"url": {"type": "integer"}}, "required": ["url"]}
    (page / "v2.json").write_text(json.dumps(promise))
    assert "events/page/v2.json is not compatible with v1" in faults()[0]
    report = check_against_state(shop, consumers={}, owners=())
    assert (report.ref, report.new) == ("state", ("events/page/v2.json",))
    assert report.published > 5


def test_before_the_first_batch_nothing_is_published_in_state(places: Places) -> None:
    report = check_against_state(places, consumers={}, owners=())
    assert (report.published, report.faults) == (0, ())


def test_without_a_batch_before_there_is_nothing_to_serve(places: Places, tmp_path: Path) -> None:
    contracts = tmp_path / "contracts-of-its-own"
    shutil.copytree(places.contracts_root, contracts)
    (contracts / "identity.yaml").write_text("version: [")
    broken = replace(places, contracts_root=contracts)
    land(broken, *buyer("u1", price=10.0))
    with pytest.raises(ContractsInvalid):
        work(broken)
