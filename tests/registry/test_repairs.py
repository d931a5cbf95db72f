"""A repair file is read strictly: every mistake at once, each with what to do, and what was kept reads the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from activation_dagster.domain.repairs import Default, MapValues, Rename
from activation_dagster.errors import RepairInvalid
from activation_dagster.registry.repairs import kept_steps, read_repair

SOUND = """
id: ages
owner: research
reason_for: Words where ages stand.
select: {reason: contract_violation, seen_from: 2025-09-18T12:00:00+02:00, batches: [b1]}
steps:
  - recode: {from: latin-1}
  - map_values: {field: properties.age, values: {GONE: null, 7: 8, true: "x"}}
  - rename: {field: [properties, "a.b"], to: c}
  - default: {field: properties.day, value: 2025-01-01}
"""

FAULTY = """
id: Ages
owner: reserch
select: {reason: contract_violatoin, seen_from: 2025-09-18T10:00:00}
steps:
  - map_value: {field: properties.age, values: {GONE: null}}
  - cast: {field: properties.c, to: integr}
  - set_version: {to: "3"}
  - default: {field: a, value: .nan}
  - default: {field: a, value: !!set {b}}
"""


def file_of(folder: Path, text: str) -> Path:
    file = folder / "ages.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_keys_keep_their_types_and_what_was_kept_reads_the_same(tmp_path: Path) -> None:
    read = read_repair(file_of(tmp_path, SOUND), owners=["research"])
    _, values, name, day = read.repair.steps
    assert values == MapValues(field=("properties", "age"), values=(("GONE", None), (7, 8), (True, "x")))
    assert name == Rename(field=("properties", "a.b"), to="c")
    assert day == Default(field=("properties", "day"), value="2025-01-01")  # a day is the text that JSON has
    assert str(read.repair.select.seen_from) == "2025-09-18 10:00:00+00:00"
    assert kept_steps(read.content) == read.repair.steps


def test_every_mistake_is_named_at_once_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RepairInvalid) as refused:
        read_repair(file_of(tmp_path, FAULTY), owners=["research"])
    assert {fault.path: fault.sentence for fault in refused.value.faults} == {
        "id": "is no name; write small letters, digits and _, a letter first.",
        "reason_for": "is missing; add it.",
        "select.reason": "'contract_violatoin' is no reason to wait; take one as `activation quarantine list` names "
        "it. Did you mean 'contract_violation'?",
        "select.seen_from": "has no zone; write it as 2025-09-18T10:00:00Z.",
        "steps.0.map_value": "is not a key of this file; remove it. Did you mean 'map_values'?",
        "steps.1.cast.to": "is 'integr', which is none of 'string', 'integer', 'number', 'boolean' or 'timestamp'; "
        "write one of them. Did you mean 'integer'?",
        "steps.2.set_version.to": "is no version; write it as v2.",
        "steps.3.default.value": "is no JSON value; NaN and infinity cannot be sent.",
        "steps.4.default.value": "is no JSON value; write it in quotes.",
    }


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("owner: research", "owner: reserch", "Did you mean 'research'?"),
        ("{reason: contract_violation, ", "{", "selects everything that waits"),
        ("- rename: {", "- drop: {field: a}\n    rename: {", "holds 2 steps"),
        ("  - recode: {from: latin-1}\n", "", ""),
        ("to: c}\n", "to: c}\n  - replace_text: {find: x, to: y}\n", "put recode and replace_text first"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in SOUND
    file = file_of(tmp_path, SOUND.replace(old, new))
    if not sentence:
        assert read_repair(file, owners=["research"]).repair.repair_id == "ages"
        return
    with pytest.raises(RepairInvalid, match=sentence.replace("?", r"\?")):
        read_repair(file, owners=["research"])
