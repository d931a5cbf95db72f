"""What the environment may say, and the sentence for each thing that it may not."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from activation_dagster.errors import SettingsInvalid
from activation_dagster.settings import Settings, load_settings, variable

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("ACTIVATION_")]:
        monkeypatch.delenv(name)


def refusal() -> str:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings()
    return str(caught.value)


def test_an_empty_environment_gives_the_demo_under_the_current_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.home == tmp_path / ".activation"
    assert settings.landing_root == tmp_path / ".activation" / "landing" / "demo"
    assert settings.lake_root == tmp_path / ".activation" / "lake" / "demo"
    assert settings.resolved_state_url == f"sqlite:///{tmp_path}/.activation/state/demo.db"
    assert settings.contracts == REPOSITORY / "contracts"
    assert settings.sql == REPOSITORY / "sql"
    assert settings.iterable_base_url == "http://127.0.0.1:8085"
    assert settings.iterable_api_key.get_secret_value() == ""
    assert settings.dedupe_window_hours == 24
    assert settings.batch_max_bytes == 134_217_728
    assert settings.lease_seconds == 60
    assert settings.send_claim_size == 200


def test_every_setting_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folders = {field: tmp_path / field for field in ("home", "contracts", "sql")}
    for folder in folders.values():
        folder.mkdir()
    said = {field: str(folder) for field, folder in folders.items()} | {
        "environment": "prod_eu",
        "state_url": "postgresql+psycopg://u:p@db/state",
        "iterable_base_url": "https://api.iterable.com/",
        "iterable_api_key": "k",
        "dedupe_window_hours": "48",
        "batch_max_bytes": "1024",
        "lease_seconds": "5",
        "send_claim_size": "7",
        "collector_max_event_bytes": "2048",
        "collector_max_batch_bytes": "4096",
        "collector_max_batch_events": "10",
        "collector_seal_seconds": "2.5",
        "collector_seal_bytes": "1024",
        "collector_shed_bytes": "2048",
        "collector_shed_seconds": "1.5",
        "collector_client_address": "off",
    }
    assert said.keys() == Settings.model_fields.keys()
    for field, value in said.items():
        monkeypatch.setenv(variable(field), value)
    settings = load_settings()
    assert settings.model_dump() == {
        **said,
        **folders,
        "iterable_base_url": "https://api.iterable.com",
        "iterable_api_key": SecretStr("k"),
        "dedupe_window_hours": 48,
        "batch_max_bytes": 1024,
        "lease_seconds": 5,
        "send_claim_size": 7,
        "collector_max_event_bytes": 2048,
        "collector_max_batch_bytes": 4096,
        "collector_max_batch_events": 10,
        "collector_seal_seconds": 2.5,
        "collector_seal_bytes": 1024,
        "collector_shed_bytes": 2048,
        "collector_shed_seconds": 1.5,
    }
    assert settings.resolved_state_url == "postgresql+psycopg://u:p@db/state"


def test_a_relative_home_keeps_its_place_when_the_current_folder_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTIVATION_HOME", "here")
    settings = load_settings()
    monkeypatch.chdir("/")
    assert settings.home == tmp_path / "here"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIVATION_STATE_URL", "")
    monkeypatch.setenv("ACTIVATION_LEASE_SECONDS", "")
    assert load_settings().state_url is None
    assert load_settings().lease_seconds == 60


def test_settings_cannot_be_changed() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.environment = "other"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("home", "what?"),
        ("environment", "Prod"),
        ("environment", "../prod"),
        ("environment", "a" * 32),
        ("state_url", "postgresql://u@db/state"),
        ("state_url", "mysql://u@db/state"),
        ("contracts", "/nowhere/contracts"),
        ("sql", "/nowhere/sql"),
        ("iterable_base_url", "api.iterable.com"),
        ("dedupe_window_hours", "0"),
        ("dedupe_window_hours", "a day"),
        ("batch_max_bytes", "64 MiB"),
        ("lease_seconds", "-1"),
        ("lease_seconds", "1.5"),
        ("send_claim_size", "5001"),
    ],
)
def test_a_wrong_value_gives_a_sentence_with_its_variable_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, field: str, value: str
) -> None:
    monkeypatch.setenv(variable(field), value)
    sentence = refusal()
    assert sentence.startswith(f"The environment variable {variable(field)} is wrong: ")
    assert "Write " in sentence
    assert "\n" not in sentence


def test_all_faults_come_at_once_and_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIVATION_LEASE_SECONDS", "soon")
    monkeypatch.setenv("ACTIVATION_ENVIRONMENT", "Prod")
    monkeypatch.setenv("ACTIVATION_STATE_URI", "sqlite:///x")
    lines = refusal().splitlines()
    assert len(lines) == 3
    assert lines == sorted(lines)


def test_a_misspelt_variable_is_a_fault_with_a_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIVATION_STATE_URI", "postgresql+psycopg://u:hunter2@db/state")
    sentence = refusal()
    assert "ACTIVATION_STATE_URI" in sentence
    assert "Did you mean ACTIVATION_STATE_URL?" in sentence
    assert "hunter2" not in sentence


def test_a_variable_of_the_tests_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIVATION_TEST_DATA", "/anywhere")
    load_settings()


@pytest.mark.parametrize("field", ["state_url", "iterable_base_url"])
@given(secret=st.from_regex(r"[A-Za-z0-9]{12,40}", fullmatch=True))
def test_a_refused_value_that_may_hold_a_password_is_never_shown(field: str, secret: str) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(variable(field), f"odd://user:{secret}@host/database")
        sentence = refusal()
    assert variable(field) in sentence
    assert secret not in sentence


def test_printing_settings_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIVATION_STATE_URL", "postgresql+psycopg://u:hunter2@db/state")
    monkeypatch.setenv("ACTIVATION_ITERABLE_BASE_URL", "https://u:hunter2@proxy")
    monkeypatch.setenv("ACTIVATION_ITERABLE_API_KEY", "hunter2")
    settings = load_settings()
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings)


def test_every_setting_has_its_row_and_default_in_the_production_guide() -> None:
    guide = (REPOSITORY / "deploy" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(ACTIVATION_[A-Z_]+)` \| (.+?) \| .+ \|$", guide, flags=re.MULTILINE)
    assert [name for name, _ in rows] == [variable(field) for field in Settings.model_fields]
    shown = dict(rows)
    for field in ("environment", "iterable_base_url", "dedupe_window_hours", "batch_max_bytes", "lease_seconds"):
        assert shown[variable(field)] == f"`{Settings.model_fields[field].default}`"
    assert shown["ACTIVATION_SEND_CLAIM_SIZE"] == f"`{Settings.model_fields['send_claim_size'].default}`"
