"""The webhook beside the collector's own paths: which source, which secret and which environment contracts say."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest

from activation_dagster.commands.collector import application
from activation_dagster.errors import ContractsInvalid
from activation_dagster.registry.source_files import load_sources
from activation_dagster.sources.landing import Landing
from activation_dagster.sources.webhook import signature
from tests.pipeline.small_shop import REPOSITORY
from tests.sources.loopback import serving

SOURCES = """
sources:
  segment_web:
    owner: platform
    environment: shop
    webhook: {secret: SEGMENT_SECRET}
  forgotten:
    owner: platform
    environment: shop
    webhook: {secret: NOT_IN_THE_ENVIRONMENT}
  no_webhook:
    owner: platform
    environment: shop
"""
BODY = b'{"type":"track","messageId":"m-1","event":"Product Purchased","receivedAt":"2026-03-01T10:12:00.000Z"}'


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[httpx.Client]:
    shutil.copytree(REPOSITORY / "contracts", tmp_path / "contracts")
    (tmp_path / "contracts" / "sources.yaml").write_text(SOURCES)
    monkeypatch.setenv("ACTIVATION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ACTIVATION_CONTRACTS", str(tmp_path / "contracts"))
    monkeypatch.setenv("SEGMENT_SECRET", "known to both")
    with serving(application()) as address, httpx.Client(base_url=address) as client:
        yield client


def test_a_signed_event_lands_in_the_sources_environment_as_it_was_sent(client: httpx.Client, tmp_path: Path) -> None:
    signed = {"x-signature": signature("known to both", BODY)}
    assert client.post("/v1/webhooks/segment_web", content=BODY, headers=signed).status_code == 200
    for other in ("forgotten", "no_webhook", "nobody"):
        assert client.post(f"/v1/webhooks/{other}", content=BODY, headers=signed).status_code == 401
        empty = {"x-signature": signature("", BODY)}
        assert client.post(f"/v1/webhooks/{other}", content=BODY, headers=empty).status_code == 401
    opened = list((tmp_path / "home" / "landing" / "shop").rglob("*"))
    stored = b"".join(file.read_bytes() for file in opened if file.is_file())
    assert stored == BODY + b"\n"
    assert Landing(tmp_path / "home" / "landing" / "demo").segments() == []


def test_a_secret_cannot_stand_in_a_setting_nor_an_address_hold_one(tmp_path: Path) -> None:
    wrong = SOURCES.replace("SEGMENT_SECRET", "ACTIVATION_SECRET") + "    forward: {to: 'https://key@host', key: K}\n"
    (tmp_path / "sources.yaml").write_text(wrong)
    with pytest.raises(ContractsInvalid, match=r"no_webhook\.forward\.to"):
        load_sources(tmp_path)
    (tmp_path / "sources.yaml").write_text(wrong.replace("key@", ""))
    with pytest.raises(ContractsInvalid, match=r"segment_web\.webhook\.secret: 'ACTIVATION_SECRET' would be"):
        load_sources(tmp_path)
