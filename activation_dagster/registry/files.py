"""Reading one contract file into its shape, or into the list of all its faults."""

from __future__ import annotations

import copy
import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import yaml
from pydantic import BaseModel, ValidationError

from activation_dagster.errors import Fault

S = TypeVar("S", bound=BaseModel)

SENTENCES = {
    "missing": "is missing; add it",
    "extra_forbidden": "is not a key of this file; remove it",
    "string_type": "is no text; write one, in quotes where YAML would read something else",
    "string_too_short": "is too short; write more",
    "too_short": "is empty, or holds too little; add to it",
    "list_type": "is no list; write one",
    "dict_type": "is no set of names and values; write one",
    "model_type": "is no set of names and values; write one",
    "bool_type": "is neither true nor false; write one of them",
    "int_type": "is no whole number; write one",
    "float_type": "is no number; write one",
    "greater_than_equal": "must be at least {ge}; write more",
    "greater_than": "must be more than {gt}; write more",
    "less_than_equal": "must be at most {le}; write less",
    "string_too_long": "is too long; write at most {max_length} characters",
    "string_pattern_mismatch": "is not written as it must be (the pattern {pattern}); write it so",
    "date_type": "is no date; write one as 2026-01-31",
    "date_from_datetime_parsing": "is no date; write one as 2026-01-31",
    "date_parsing": "is no date; write one as 2026-01-31",
    "datetime_type": "is no instant; write one as 2026-01-31T10:00:00Z",
    "datetime_parsing": "is no instant; write one as 2026-01-31T10:00:00Z",
    "datetime_from_date_parsing": "is no instant; write one as 2026-01-31T10:00:00Z",
}
_CHOICES = ("enum", "literal_error")
_LONGEST_WORD = 40
_MOST_TRIES = 30
"""So often a file is read again without what was wrong in it; each time at least one thing less is there."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names that a file gives, to look references up in; one that stands in what could not be read may be right."""

    known: tuple[str, ...]
    unread: str = ""

    def __contains__(self, name: object) -> bool:
        return name in self.known or (bool(self.unread) and isinstance(name, str) and name in self.unread)

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)


if TYPE_CHECKING:
    from yaml import SafeLoader as _Loader
else:
    # libyaml reads a version of 200 properties in 6 ms, the Python loader in 49; wheels of PyYAML bring it.
    _Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _OneKeyOnce(_Loader):
    """YAML that refuses a key written twice instead of taking the last, and reads a day as the text that JSON has."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way to say it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in _Loader.yaml_implicit_resolvers.items()
    }


def _mapping(loader: _OneKeyOnce, node: yaml.MappingNode) -> dict[Any, Any]:
    pairs = cast("list[tuple[yaml.Node, yaml.Node]]", node.value)
    keys: list[object] = [cast("Any", loader).construct_object(key) for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_OneKeyOnce.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for index, (key, _) in enumerate(pairs) if key in [before for before, _ in pairs[:index]])
        raise ValueError(f"the key {twice!r} stands twice")
    return found


def suggestion(wrong: str, known: list[str]) -> str:
    """` Did you mean …?` where something close is known, else nothing."""
    close = difflib.get_close_matches(wrong, known, n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def _known_keys(shape: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys that would have been right at the place where an unknown one was found."""
    found: type[BaseModel] = shape
    for step in path:
        field = found.model_fields.get(str(step))
        inner = _model_in(field.annotation) if field is not None else None
        found = inner or found
    return list(found.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The shape in what a key is annotated with: itself, an item of a list, a value of a mapping, or one of several."""
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation if issubclass(annotation, BaseModel) else None
    inner = [_model_in(one) for one in getattr(annotation, "__args__", ())]
    return next((one for one in inner if one is not None), None)


def parsed(text: str, *, is_json: bool) -> Any:
    """What a JSON or YAML text says, each key once. Raises ValueError or yaml.YAMLError where it is not sound."""
    return json.loads(text, object_pairs_hook=_pairs) if is_json else yaml.load(text, Loader=_OneKeyOnce)


def sentences_of(error: ValidationError, shape: type[BaseModel]) -> list[tuple[str, str]]:
    """Each mistake that a shape found: its path inside the file, and a sentence saying what to do."""
    found: list[tuple[str, str]] = []
    for mistake in error.errors(include_url=False):
        where, written = mistake["loc"], mistake["input"]
        known = SENTENCES.get(mistake["type"])
        sentence = known.format_map(mistake.get("ctx", {})) if known else mistake["msg"].removeprefix("Value error, ")
        choices = str(mistake.get("ctx", {}).get("expected", "")) if mistake["type"] in _CHOICES else ""
        if choices:
            is_word = isinstance(written, str) and len(written) <= _LONGEST_WORD
            sentence = (
                f"is '{written}', which is none of" if is_word else "is none of"
            ) + f" {choices}; write one of them."
            sentence += suggestion(str(written), re.findall("'([^']*)'", choices)) if is_word else ""
        if mistake["type"] == "extra_forbidden":
            sentence += "." + suggestion(str(where[-1]), _known_keys(shape, where[:-1]))
        if not sentence.endswith("?"):
            sentence = sentence.rstrip(".") + "."
        found.append((".".join(str(step) for step in where), sentence))
    return found


def read_shape(path: Path, root: Path, shape: type[S], faults: list[Fault]) -> S | None:
    """The file at `path` (JSON or YAML) in its shape; None after adding every fault found to `faults`."""
    found, is_whole = read_partly(path, root, shape, faults)
    return found if is_whole else None


def read_partly(
    path: Path, root: Path, shape: type[S], faults: list[Fault], *, stand_ins: Mapping[str, Any] | None = None
) -> tuple[S | None, bool]:
    """The file in its shape without what is wrong in it, so that the rest is looked at too; and whether it is whole.

    Every fault found is added to `faults`. `stand_ins` are put where a key that the file must have is missing or wrong,
    by its place (`sources.*.owner`).
    """
    name = path.relative_to(root).as_posix()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        faults.append(Fault(file=name, path="", sentence="cannot be read as UTF-8 text; write it again."))
        return None, False
    try:
        content = parsed(text, is_json=path.suffix == ".json")
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "YAML"
        why = " ".join(str(error).split())
        faults.append(Fault(file=name, path="", sentence=f"is no sound {kind} ({why}); mend it there."))
        return None, False
    try:
        return shape.model_validate(content), True
    except ValidationError as error:
        faults += [Fault(file=name, path=where, sentence=said) for where, said in sentences_of(error, shape)]
        return _rest(content, error, shape, stand_ins or {}), False


def _rest(content: Any, error: ValidationError, shape: type[S], stand_ins: Mapping[str, Any]) -> S | None:
    """What is left of a file once what is wrong in it is taken out; None where nothing can be."""
    if not isinstance(content, dict):
        return None
    left = cast("dict[Any, Any]", content)
    for _ in range(_MOST_TRIES):
        wrong: set[tuple[int | str, ...]] = set()
        for mistake in error.errors(include_url=False):
            place = mistake["loc"]
            reached = _reached(left, place)
            stands_in = _stand_in(place, stand_ins) if len(reached) == len(place) - 1 else None
            if stands_in is not None:
                _at(left, reached)[place[-1]] = copy.deepcopy(stands_in)
            elif not (whole := _without_number(reached)):
                return None
            else:
                wrong.add(whole)
        for reached in sorted(wrong, key=len, reverse=True):
            _take_out(left, reached)
        try:
            return shape.model_validate(left)
        except ValidationError as next_error:
            error = next_error
    return None


def _stand_in(place: tuple[int | str, ...], stand_ins: Mapping[str, Any]) -> Any:
    """What stands for a key that is not there: by its place, in which a `*` is any one step."""
    for said, value in stand_ins.items():
        steps = said.split(".")
        if len(steps) == len(place) and all(step in ("*", str(own)) for step, own in zip(steps, place, strict=True)):
            return value
    return None


def _at(content: Any, place: tuple[int | str, ...]) -> Any:
    for step in place:
        content = content[step]
    return content


def _reached(content: Any, place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """So much of a mistake's place as leads through names, and through items of lists, to something that is there."""
    held = content
    for depth, step in enumerate(place):
        if isinstance(held, list):
            items = cast("list[Any]", held)
            is_there = isinstance(step, int) and step < len(items)
        else:
            is_there = isinstance(held, dict) and step in held
        if not is_there:
            return place[:depth]
        held = cast("Any", held)[step]
    return place


def _without_number(reached: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """What is taken out: never one item of a list, because those behind it would change their numbers."""
    while reached and isinstance(reached[-1], int):
        reached = reached[:-1]
    return reached


def _take_out(content: dict[Any, Any], reached: tuple[int | str, ...]) -> None:
    """Take a key out, and a property out of what is required beside it."""
    held: list[Any] = [content]
    for step in reached[:-1]:
        held.append(held[-1][step])
    del held[-1][reached[-1]]
    if reached[-2:-1] == ("properties",) and isinstance(beside := held[-2].get("required"), list):
        beside[:] = [name for name in cast("list[Any]", beside) if name != reached[-1]]
