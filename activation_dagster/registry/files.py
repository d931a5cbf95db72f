"""Reading one contract file into its shape, or into the list of all its faults."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import yaml
from pydantic import BaseModel, ValidationError

from activation_dagster.errors import Fault

S = TypeVar("S", bound=BaseModel)

SENTENCES = {
    "missing": "is missing; add it",
    "extra_forbidden": "is not a key of this file; remove it",
}


if TYPE_CHECKING:
    from yaml import SafeLoader as _Loader
else:
    # libyaml reads a version of 200 properties in 6 ms, the Python loader in 49; wheels of PyYAML bring it.
    _Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _OneKeyOnce(_Loader):
    """YAML that refuses a key written twice instead of taking the last."""


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
        annotation = field.annotation if field is not None else None
        for inner in [annotation, *getattr(annotation, "__args__", ())]:
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                found = inner
    return list(found.model_fields)


def parsed(text: str, *, is_json: bool) -> Any:
    """What a JSON or YAML text says, each key once. Raises ValueError or yaml.YAMLError where it is not sound."""
    return json.loads(text, object_pairs_hook=_pairs) if is_json else yaml.load(text, Loader=_OneKeyOnce)


def sentences_of(error: ValidationError, shape: type[BaseModel]) -> list[tuple[str, str]]:
    """Each mistake that a shape found: its path inside the file, and a sentence saying what to do."""
    found: list[tuple[str, str]] = []
    for mistake in error.errors(include_url=False, include_input=False):
        where = mistake["loc"]
        sentence = SENTENCES.get(mistake["type"], mistake["msg"])
        if mistake["type"] == "extra_forbidden":
            sentence += "." + suggestion(str(where[-1]), _known_keys(shape, where[:-1]))
        if not sentence.endswith("?"):
            sentence = sentence.rstrip(".") + "."
        found.append((".".join(str(step) for step in where), sentence))
    return found


def read_shape(path: Path, root: Path, shape: type[S], faults: list[Fault]) -> S | None:
    """The file at `path` (JSON or YAML) in its shape; None after adding every fault found to `faults`."""
    name = path.relative_to(root).as_posix()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        faults.append(Fault(file=name, path="", sentence="cannot be read as UTF-8 text; write it again."))
        return None
    try:
        content = parsed(text, is_json=path.suffix == ".json")
    except (ValueError, yaml.YAMLError) as error:
        kind = "JSON" if path.suffix == ".json" else "YAML"
        why = " ".join(str(error).split())
        faults.append(Fault(file=name, path="", sentence=f"is no sound {kind} ({why}); mend it there."))
        return None
    try:
        return shape.model_validate(content)
    except ValidationError as error:
        faults += [Fault(file=name, path=where, sentence=said) for where, said in sentences_of(error, shape)]
        return None
