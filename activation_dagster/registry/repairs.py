"""Reading a repair: a small reviewed YAML file, strictly, with all its faults at once."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field, JsonValue, model_validator

from activation_dagster.domain import repairs
from activation_dagster.domain.reasons import QuarantineReason
from activation_dagster.domain.repairs import CastTo, Repair, Selection, Step, TextStep
from activation_dagster.errors import Fault, RepairInvalid, WrongUse
from activation_dagster.registry.files import SENTENCES, read_shape, suggestion
from activation_dagster.registry.shapes import NAME, Shape

VERSION = r"^v[1-9][0-9]*$"
ENCODINGS = Literal["latin-1", "windows-1252", "utf-16-le", "utf-16-be"]


def _zoned(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("has no zone; write it as 2025-09-18T10:00:00Z")
    return instant.astimezone(UTC)


def _finite(value: JsonValue) -> JsonValue:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise ValueError("is no JSON value; NaN and infinity cannot be sent") from None
    return value


def _known(reason: str) -> str:
    known = [code.value for code in QuarantineReason]
    if reason not in known:
        raise ValueError(
            f"'{reason}' is no reason to wait; take one as `activation quarantine list` names it."
            + suggestion(reason, known)
        )
    return reason


Reason = Annotated[str, AfterValidator(_known)]
Instant = Annotated[datetime, Field(strict=False), AfterValidator(_zoned)]
Value = Annotated[JsonValue, AfterValidator(_finite)]
Key = Annotated[str, Field(min_length=1)]
FieldPath = Key | Annotated[list[Key], Field(min_length=1)]
"""`properties.age`, or a list of keys where a key holds a dot."""


class SelectShape(Shape):
    event: str | None = None
    reason: Reason | None = None
    field: str | None = None
    seen_from: Instant | None = None
    seen_before: Instant | None = None
    batches: tuple[str, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def selects(self) -> SelectShape:
        """A repair is for something: an event, a reason or a field must be named."""
        if self.event is None and self.reason is None and self.field is None:
            raise ValueError("selects everything that waits; name an event, a reason or a field")
        return self


class RenameShape(Shape):
    field: FieldPath
    to: str = Field(min_length=1)


class MoveShape(Shape):
    field: FieldPath
    to: FieldPath


class CastShape(Shape):
    field: FieldPath
    to: CastTo = Field(strict=False)


class DefaultShape(Shape):
    field: FieldPath
    value: Value


class MapValuesShape(Shape):
    field: FieldPath
    values: dict[str | bool | int | float, Value] = Field(min_length=1)


class DropShape(Shape):
    field: FieldPath


class SetVersionShape(Shape):
    to: str = Field(pattern=VERSION)


class RecodeShape(Shape):
    source: ENCODINGS = Field(alias="from")


class ReplaceTextShape(Shape):
    find: str = Field(min_length=1)
    to: str


class StepShape(Shape):
    """One step: exactly one of these keys."""

    recode: RecodeShape | None = None
    replace_text: ReplaceTextShape | None = None
    rename: RenameShape | None = None
    move: MoveShape | None = None
    cast: CastShape | None = None
    default: DefaultShape | None = None
    map_values: MapValuesShape | None = None
    drop: DropShape | None = None
    set_version: SetVersionShape | None = None

    @model_validator(mode="after")
    def is_one(self) -> StepShape:
        """Two steps in one entry would have no order."""
        named = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError(f"holds {len(named)} steps; write one step an entry, each under its own dash")
        return self


class RepairFile(Shape):
    id: str = Field(pattern=NAME)
    owner: str
    reason_for: str = Field(min_length=1)
    select: SelectShape
    steps: list[StepShape] = Field(min_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRepair:
    """A repair as read; `fingerprint` is of its text, `content` the text itself, to be kept."""

    repair: Repair
    fingerprint: str
    content: str


def read_repair(path: Path, *, owners: Collection[str]) -> ReadRepair:
    """The repair in a YAML file. Raises RepairInvalid with every fault, WrongUse without a file."""
    faults: list[Fault] = []
    if not path.is_file():
        raise WrongUse(f"There is no repair, at {path}. Name its file, such as repairs/prescreen_age.yaml.")
    if path.suffix != ".yaml":
        faults.append(Fault(file=path.name, path="", sentence="is no YAML file; name it <id>.yaml."))
        raise RepairInvalid(faults)
    shape = read_shape(path, path.parent, RepairFile, faults)
    if shape is None:
        raise RepairInvalid([_in_our_words(fault) for fault in faults])
    if shape.owner not in owners:
        close = suggestion(shape.owner, sorted(owners))
        sentence = f"'{shape.owner}' is no owner in contracts/owners.yaml; name the team that answers for it.{close}"
        faults.append(Fault(file=path.name, path="owner", sentence=sentence))
    repair = _repair(shape)
    is_text = [isinstance(step, TextStep) for step in repair.steps]
    if is_text != sorted(is_text, reverse=True):
        late = max(number for number, text in enumerate(is_text) if text)
        sentence = "is a step on the text after one on a field; put recode and replace_text first."
        faults.append(Fault(file=path.name, path=f"steps.{late}", sentence=sentence))
    if faults:
        raise RepairInvalid(faults)
    content = path.read_text(encoding="utf-8")
    return ReadRepair(repair=repair, fingerprint=hashlib.sha256(content.encode()).hexdigest()[:32], content=content)


def kept_steps(content: str) -> tuple[Step, ...]:
    """The steps of a repair whose text was kept."""
    faults: list[Fault] = []
    with tempfile.TemporaryDirectory(prefix="repair-") as folder:
        file = Path(folder) / "kept.yaml"
        file.write_text(content, encoding="utf-8")
        shape = read_shape(file, file.parent, RepairFile, faults)
    if shape is None:
        raise RepairInvalid(faults)
    return _repair(shape).steps


def _unlike(pattern: str) -> str:
    """How a text that a pattern refuses is told, wherever it stands."""
    return SENTENCES["string_pattern_mismatch"].format(pattern=pattern)


WORDS = (
    ("Input should be", "should be"),
    (_unlike(NAME), "is no name; write small letters, digits and _, a letter first"),
    (_unlike(VERSION), "is no version; write it as v2"),
    ("input was not a valid JSON value", "is no JSON value; write it in quotes"),
)
"""How pydantic begins a sentence, and how we do."""


def _in_our_words(fault: Fault) -> Fault:
    sentence = fault.sentence
    for theirs, ours in WORDS:
        sentence = sentence.replace(theirs, ours, 1) if sentence.startswith(theirs) else sentence
    return Fault(file=fault.file, path=fault.path, sentence=sentence)


def _path(written: str | list[str]) -> repairs.Path:
    return tuple(written.split(".")) if isinstance(written, str) else tuple(written)


def _repair(shape: RepairFile) -> Repair:
    select = shape.select
    return Repair(
        repair_id=shape.id,
        owner=shape.owner,
        reason_for=shape.reason_for,
        select=Selection(
            event=select.event,
            reason=select.reason,
            field=select.field,
            seen_from=select.seen_from,
            seen_before=select.seen_before,
            batches=select.batches,
        ),
        steps=tuple(_step(step) for step in shape.steps),
    )


def _step(shape: StepShape) -> Step:
    (found,) = (step for name in type(shape).model_fields if (step := getattr(shape, name)) is not None)
    match found:
        case RecodeShape(source=encoding):
            return repairs.Recode(encoding=encoding)
        case ReplaceTextShape(find=find, to=to):
            return repairs.ReplaceText(find=find, replacement=to)
        case RenameShape(field=field, to=to):
            return repairs.Rename(field=_path(field), to=to)
        case MoveShape(field=field, to=to):
            return repairs.Move(field=_path(field), to=_path(to))
        case CastShape(field=field, to=to):
            return repairs.Cast(field=_path(field), to=to)
        case DefaultShape(field=field, value=value):
            return repairs.Default(field=_path(field), value=value)
        case MapValuesShape(field=field, values=values):
            return repairs.MapValues(field=_path(field), values=tuple(cast("Mapping[Any, Any]", values).items()))
        case DropShape(field=field):
            return repairs.Drop(field=_path(field))
        case SetVersionShape(to=version):
            return repairs.SetVersion(version=version)
        case _:
            raise AssertionError(found)
