"""Whatever stands in a contract file ends in faults that name it, never in a crash."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activation_dagster.errors import ContractsInvalid
from activation_dagster.registry.loading import load_contracts
from activation_dagster.registry.published import report_against

REPOSITORY = Path(__file__).resolve().parent.parent.parent
FILES = sorted(
    path.relative_to(REPOSITORY / "contracts").as_posix()
    for path in (REPOSITORY / "contracts").rglob("*")
    if path.suffix in (".yaml", ".json")
)
EVENT_FILES = [name for name in FILES if name.startswith("events/")]

SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["v1", "string", "object", "array", "enum", "[", "(?<", "2026-13-01", "", " ", "\x00", "growth"]),
    st.dates(),
    st.datetimes(),
    st.binary(max_size=4),
)  # fmt: skip
WORDS = st.sampled_from(
    ["type", "properties", "required", "items", "enum", "values", "format", "pattern", "minimum", "owner", "default",
     "pii", "identifier", "versions", "lifecycle", "pinned", "breaking", "valid", "invalid", "event", "violates"]
)  # fmt: skip
JUNK: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=4),
        st.dictionaries(st.one_of(st.integers(0, 5), st.none(), st.booleans(), st.dates()), inner, max_size=2),
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def contracts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's contracts, copied: each example of a test mends what it broke."""
    copied = tmp_path_factory.mktemp("hostile") / "contracts"
    shutil.copytree(REPOSITORY / "contracts", copied)
    return copied


def loads_or_tells(contracts: Path, name: str, content: bytes) -> None:
    """The contracts load with the file like that, or every fault has a file and a sentence. Nothing else is raised."""
    file = contracts / name
    kept = file.read_bytes()
    file.write_bytes(content)
    try:
        load_contracts(contracts, environment="demo")
    except ContractsInvalid as invalid:
        told = invalid.faults
        assert told
    else:
        told = ()
    finally:
        against = report_against(contracts, {name: kept}, "ref", published="before", consumers={}, owners=())
        file.write_bytes(kept)
    assert all(fault.file and fault.sentence for fault in (*told, *against.faults))


def places_in(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a parsed file with a key of it."""
    found: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += [(value, key), *places_in(inner)]
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            found += [(value, place), *places_in(inner)]
    return found


PATIENT = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@settings(max_examples=60, suppress_health_check=PATIENT)
@given(st.data())
def test_junk_anywhere_in_a_contract_file_is_told(contracts: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(FILES) | st.sampled_from(EVENT_FILES))
    content = copy.deepcopy(yaml.safe_load((contracts / name).read_text(encoding="utf-8")))
    for _ in range(data.draw(st.integers(1, 3))):
        places = places_in(content)
        if not places or data.draw(st.integers(0, 9)) == 0:
            content = data.draw(JUNK)
            break
        held, key = data.draw(st.sampled_from(places))
        if data.draw(st.booleans()) or not isinstance(held, dict):
            held[key] = data.draw(JUNK)
        else:
            held[data.draw(WORDS | st.text(max_size=4))] = held.pop(key)
    loads_or_tells(contracts, name, yaml.safe_dump(content, allow_unicode=True).encode("utf-8", "replace"))


@settings(max_examples=40, suppress_health_check=PATIENT)
@given(
    st.sampled_from(FILES),
    st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")),
)
def test_any_bytes_in_a_contract_file_are_told(contracts: Path, name: str, content: bytes) -> None:
    loads_or_tells(contracts, name, content)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00", b"a: *nowhere", b"a: &x [*x]", b"&a [*a, *a]", b"!!python/object:os.system {}",
        b"a: 1\na: 2\n",
        b"a: !!binary x", b"? [1, 2]\n: 3\n", b"<<: 1\n", b"a: 1e999999", b"- " * 3000, b"[" * 3000, b"{a: " * 3000,
        b"a: 2026-02-30", b"a: 1:61:61", b"\xef\xbb\xbfowner: growth", b"owner: \x85", b"%YAML 9.9\n---\na",
        b"---\n---\n", b"",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "name",
    [
        "owners.yaml",
        "events/page/v1.yaml",
        "events/page/contract.yaml",
        "events/page/v1.examples.yaml",
        "identity.yaml",
    ],
)
def test_traps_of_yaml_are_told(contracts: Path, name: str, content: bytes) -> None:
    loads_or_tells(contracts, name, content)
