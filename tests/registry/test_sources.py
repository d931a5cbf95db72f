"""Sources: their file is read strictly, written without touching the rest, and a key changes no promise."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from activation_dagster.domain.sources import Source, SourceKey, key_sha256
from activation_dagster.errors import ContractsInvalid, WrongUse
from activation_dagster.registry.contract_set import fingerprint
from activation_dagster.registry.front_desk import FrontDesk
from activation_dagster.registry.loading import load_contracts
from activation_dagster.registry.source_files import SOURCES_FILE, load_sources, with_keys, with_source

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HASH = "0" * 64
KEYED = "sources: {{web: {{owner: shop, environment: demo, keys: [{{sha256: {sha256}, made_at: {made_at}}}]}}}}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree("contracts", tmp_path / "contracts")
    return tmp_path / "contracts"


def write(root: Path, text: str) -> None:
    (root / SOURCES_FILE).write_text(text)


def key(text: str, *, until: datetime | None = None) -> SourceKey:
    return SourceKey(sha256=key_sha256(text), made_at=NOON, until=until)


def source(name: str = "web", **more: object) -> Source:
    said: dict[str, object] = {"name": name, "owner": "shop", "environment": "demo", "keys": (key("a"),), **more}
    return Source(**said)  # pyright: ignore[reportArgumentType]


def faults(root: Path) -> str:
    with pytest.raises(ContractsInvalid) as refused:
        load_contracts(root, environment="demo", needs_examples=False)
    return str(refused.value)


def test_a_source_is_read_as_it_was_written(root: Path) -> None:
    first = source(events=("page",), events_per_second=5.0, description="The shop: its pages")
    text = with_source(with_source("", first), source("app", keys=()))
    write(root, text)
    assert load_sources(root) == {"web": first, "app": source("app", keys=())}
    load_contracts(root, environment="demo", needs_examples=False)


@pytest.mark.parametrize("text", ["", "sources:\n", "sources: {}\n"])
def test_a_file_without_sources_takes_the_first(root: Path, text: str) -> None:
    write(root, with_source(text, source()))
    assert set(load_sources(root)) == {"web"}


def test_other_keys_change_nothing_else_in_the_file() -> None:
    text = (
        "# by hand\nsources:\n  a:  # the first\n    owner: shop\n    keys:\n"
        f"      - sha256: '{HASH}'\n        made_at: 2026-01-01T00:00:00Z\n    environment: demo  # here\n"
        "  b: {owner: shop, environment: demo}\n"
    )
    changed = with_keys(text, "a", [key("x")])
    line = f"      - {{sha256: {key_sha256('x')}, made_at: 2026-03-01T12:00:00Z}}\n"
    before, after = text.index("      - sha256"), text.index("    environment: demo  # here")
    assert changed == text[:before] + line + text[after:]
    with pytest.raises(WrongUse):
        with_keys(text, "nobody", [])
    with pytest.raises(WrongUse):
        with_source(text, source("a"))


def test_keys_come_where_there_were_none(root: Path) -> None:
    write(root, "sources:\n  web:\n    owner: shop\n    environment: demo")
    write(root, with_keys((root / SOURCES_FILE).read_text(), "web", [key("x"), key("y", until=NOON)]))
    assert load_sources(root)["web"].keys == (key("x"), key("y", until=NOON))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sources: {web: {owner: nobody, environment: demo}}", "owner"),
        ("sources: {web: {owner: shop}}", "environment"),
        ("sources: {web: {owner: shop, environment: demo, events: [pages]}}", "page"),
        ("sources: {web: {owner: shop, environment: demo, pinned: {page: v9}}}", "v9"),
        ("sources: {Web: {owner: shop, environment: demo}}", "Web"),
        (KEYED.format(sha256="abc", made_at="2026-01-01T00:00:00Z"), "sha256"),
        (KEYED.format(sha256=f"'{HASH}'", made_at="2026-01-01T00:00:00"), "zone"),
        ("sources: [", "sound YAML"),
        ("source: {}", "not a key"),
    ],
)
def test_a_mistake_is_told(root: Path, text: str, sentence: str) -> None:
    write(root, text)
    assert sentence in faults(root)


def test_one_key_opens_one_source(root: Path) -> None:
    write(root, with_source(with_source("", source()), source("app")))
    assert "is the key of source 'web' too" in faults(root)


def test_a_rotated_key_changes_no_contract_set_and_a_changed_promise_does(root: Path) -> None:
    write(root, with_source("", source()))
    before = fingerprint(root, "demo")
    write(root, with_keys((root / SOURCES_FILE).read_text(), "web", [key("b")]))
    assert fingerprint(root, "demo") == before
    assert load_contracts(root, environment="demo", needs_examples=False).fingerprint == before
    write(root, with_source("", source(events=("page",))))
    assert fingerprint(root, "demo") != before


def test_what_a_source_may_not_send_is_barred_and_its_pins_hold_in_its_own_environment_alone(root: Path) -> None:
    write(
        root,
        with_source("", source(events=("page",), environment="dev")).replace(
            "    keys:", "    pinned: {page: v1}\n    keys:"
        ),
    )
    demo = load_contracts(root, environment="demo", needs_examples=False)
    dev = load_contracts(root, environment="dev", needs_examples=False)
    assert all(not contract.barred_sources for contract in demo.events.values())
    assert dev.events["identify"].barred_sources == ("web",)
    assert (dev.events["page"].barred_sources, dev.events["page"].pinned["web"]) == ((), "v1")


def test_keys_overlap_and_end(root: Path) -> None:
    write(root, with_source("", source(keys=(key("old", until=NOON), key("new")))))
    desk = FrontDesk(root)

    def opens(said: str, at: datetime) -> bool:
        return desk.source_of(said, at) is not None

    before = NOON - timedelta(microseconds=1)
    assert [opens("old", before), opens("new", before), opens("old", NOON), opens("new", NOON)] == [
        True,
        True,
        False,
        True,
    ]
    assert not opens(key_sha256("new"), NOON)
