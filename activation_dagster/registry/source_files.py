"""contracts/sources.yaml: read strictly, fingerprinted without its keys, and changed without touching the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import yaml

from activation_dagster.domain.shedding import Sheddable
from activation_dagster.domain.sources import Forward, Source, SourceKey, Webhook
from activation_dagster.errors import ContractsInvalid, Fault, WrongUse
from activation_dagster.registry.files import read_shape
from activation_dagster.registry.shapes import SourcesFile, SourceShape

SOURCES_FILE = "sources.yaml"
SETTINGS_PREFIX = "ACTIVATION_"
HEADER = (
    "# Who may send events. Keys stand here as SHA-256 only: `activation sources create` and `rotate` write them.\n"
)


def sources_of(shape: SourcesFile, faults: list[Fault]) -> dict[str, Source]:
    """The sources by name; what contradicts among them is added to `faults`."""
    owned: dict[str, str] = {}
    for name, source in (shape.sources or {}).items():
        for path, variable in _variables(source):
            if variable.startswith(SETTINGS_PREFIX):
                sentence = f"'{variable}' would be a setting, and no setting has that name; name another variable."
                faults.append(Fault(file=SOURCES_FILE, path=f"sources.{name}.{path}", sentence=sentence))
        for number, key in enumerate(source.keys):
            if owned.setdefault(key.sha256, name) != name:
                sentence = (
                    f"is the key of source '{owned[key.sha256]}' too; make another with `activation sources rotate`."
                )
                faults.append(Fault(file=SOURCES_FILE, path=f"sources.{name}.keys.{number}", sentence=sentence))
    return {name: _source(name, source) for name, source in (shape.sources or {}).items()}


def _variables(source: SourceShape) -> list[tuple[str, str]]:
    """The environment variables that a source's secrets stand in, each with its place in the file."""
    webhook = [] if source.webhook is None else [("webhook.secret", source.webhook.secret)]
    return webhook if source.forward is None else [*webhook, ("forward.key", source.forward.key)]


def load_sources(root: Path) -> dict[str, Source]:
    """The sources under contracts/ by name, of which there may be none. Raises ContractsInvalid with every fault."""
    faults: list[Fault] = []
    path = root / SOURCES_FILE
    if not path.exists():
        return {}
    shape = read_shape(path, root, SourcesFile, faults)
    found = {} if shape is None else sources_of(shape, faults)
    if faults:
        raise ContractsInvalid(faults)
    return found


def _source(name: str, shape: SourceShape) -> Source:
    return Source(
        name=name,
        owner=shape.owner,
        environment=shape.environment,
        description=shape.description,
        events=tuple(shape.events),
        pinned=shape.pinned,
        events_per_second=shape.events_per_second,
        shed=shape.shed,
        keys=tuple(SourceKey(sha256=key.sha256, made_at=key.made_at, until=key.until) for key in shape.keys),
        webhook=None
        if shape.webhook is None
        else Webhook(secret=shape.webhook.secret, trusts_first_event=shape.webhook.trusts_first_event),
        forward=None
        if shape.forward is None
        else Forward(
            to=shape.forward.to.rstrip("/").removesuffix("/v1"),
            key=shape.forward.key,
            purpose=shape.forward.purpose,
            channel=shape.forward.channel,
        ),
    )


def without_keys(content: bytes) -> bytes:
    """What the file promises, in one spelling: a key that comes or goes changes no contract set."""
    try:
        said: Any = yaml.safe_load(content)
        for source in said["sources"].values():
            source.pop("keys", None)
        return json.dumps(said, sort_keys=True, default=str).encode()
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError):
        return content  # no sound file: loading says what is wrong with it


def with_source(text: str, source: Source) -> str:
    """The file's text with a new source at its end. Raises WrongUse where it stands already."""
    text = text or f"{HEADER}sources:\n"
    sources = _mapping(_root(text), "sources")
    if sources is not None and _mapping_value(sources, source.name) is not None:
        raise WrongUse(
            f"A source '{source.name}' stands already, in {SOURCES_FILE}. Rotate its key, or take another name."
        )
    said: dict[str, Any] = {"owner": source.owner, "environment": source.environment}
    if source.description:
        said["description"] = source.description
    if source.events:
        said["events"] = list(source.events)
    if source.events_per_second is not None:
        said["events_per_second"] = source.events_per_second
    if source.shed is not Sheddable.BEST_EFFORT:
        said["shed"] = source.shed.value
    body = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=110)
    lines = [f"  {source.name}:", *(f"    {line}" for line in body.splitlines()), "    keys:", *_key_lines(source.keys)]
    if sources is None or not sources.value:  # `sources: {}` or nothing behind the colon
        text = text.replace("sources: {}", "sources:", 1)
    return text.rstrip("\n") + "\n" + "\n".join(lines) + "\n"


def with_keys(text: str, name: str, keys: Sequence[SourceKey]) -> str:
    """The file's text with other keys for a source; all else stays as it is written."""
    sources = _mapping(_root(text), "sources")
    node = None if sources is None else _mapping_value(sources, name)
    if not isinstance(node, yaml.MappingNode):
        raise WrongUse(f"There is no source '{name}', in {SOURCES_FILE}. See `activation sources list`.")
    rows = text.splitlines(keepends=True)
    written = [f"{line}\n" for line in ["    keys:", *_key_lines(keys)]]
    for key, value in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
        if key.value == "keys":
            first, last = key.start_mark.line, _last_line(value)
            return "".join([*rows[:first], *written, *rows[last + 1 :]])
    last = max(_last_line(value) for _, value in cast("list[tuple[yaml.Node, yaml.Node]]", node.value))
    if not rows[last].endswith("\n"):
        rows[last] += "\n"
    return "".join([*rows[: last + 1], *written, *rows[last + 1 :]])


def _last_line(node: yaml.Node) -> int:
    """The last line that a value stands on; a block's own mark is behind the lines that follow it."""
    inside: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        inside = cast("list[yaml.Node]", node.value)
    elif isinstance(node, yaml.MappingNode):
        inside = [part for pair in cast("list[tuple[yaml.Node, yaml.Node]]", node.value) for part in pair]
    if inside and not cast("Any", node).flow_style:
        return max(map(_last_line, inside))
    end = node.end_mark
    return end.line - 1 if end.column == 0 and end.line > node.start_mark.line else end.line


def _key_lines(keys: Sequence[SourceKey]) -> list[str]:
    return [
        f"      - {{sha256: {key.sha256}, made_at: {_text(key.made_at)}"
        + (f", until: {_text(key.until)}}}" if key.until is not None else "}")
        for key in keys
    ] or ["      []"]


def _text(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _root(text: str) -> yaml.Node | None:
    return cast("yaml.Node | None", cast("Any", yaml).compose(text, Loader=yaml.SafeLoader))


def _mapping(node: yaml.Node | None, name: str) -> yaml.MappingNode | None:
    found = _mapping_value(node, name) if isinstance(node, yaml.MappingNode) else None
    return found if isinstance(found, yaml.MappingNode) else None


def _mapping_value(node: yaml.MappingNode, name: str) -> yaml.Node | None:
    pairs = cast("list[tuple[yaml.Node, yaml.Node]]", node.value)
    return next((value for key, value in pairs if key.value == name), None)
