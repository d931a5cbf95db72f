"""`activation sources`: who may send events, and by which keys."""

from __future__ import annotations

import fcntl
import os
import secrets
import string
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from activation_dagster.commands.installation import read_settings
from activation_dagster.commands.printing import AsJson, print_json, print_table, say, shown
from activation_dagster.domain.shedding import Sheddable
from activation_dagster.errors import ContractsInvalid, WrongUse

if TYPE_CHECKING:
    from activation_dagster.domain.sources import Source, SourceKey

app = typer.Typer(help="Who may send events.", no_args_is_help=True)

ALPHABET = string.ascii_letters + string.digits
KEY_LENGTH = 32
OVERLAP_HOURS = 24

Name = Annotated[str, typer.Argument(help="The source's name, which is its folder in landing.")]


@app.command()
def create(
    name: Name,
    *,
    owner: Annotated[str, typer.Option(help="Who answers for it: a name in owners.yaml.")],
    environment: Annotated[str, typer.Option(help="Where its events go, whatever the collector's own environment is.")],
    event: Annotated[list[str] | None, typer.Option(help="An event it may send; all where none is named.")] = None,
    per_second: Annotated[float | None, typer.Option(min=0.001, help="Events a second; no limit without.")] = None,
    shed: Annotated[
        Sheddable, typer.Option(help="How far events may be shed when there are too many: up to this criticality.")
    ] = Sheddable.BEST_EFFORT,
    as_json: AsJson = False,
) -> None:
    """Write a new source into contracts/sources.yaml and print its write key, once."""
    from activation_dagster.domain.sources import Source
    from activation_dagster.registry.source_files import with_source

    now = _now()
    key, known = _new_key(now)
    source = Source(
        name=name,
        owner=owner,
        environment=environment,
        events=tuple(event or ()),
        events_per_second=per_second,
        shed=shed,
        keys=(known,),
    )
    _write(lambda text: with_source(text, source), environment)
    _tell(name, key, as_json=as_json)


@app.command()
def rotate(
    name: Name,
    *,
    overlap_hours: Annotated[
        float, typer.Option(min=0, help="How long the keys before are taken beside the new one.")
    ] = OVERLAP_HOURS,
    as_json: AsJson = False,
) -> None:
    """Give a source a new write key, printed once; those before end after the overlap."""
    from activation_dagster.registry.source_files import with_keys

    now = _now()
    source = _source(name)
    end = now + timedelta(hours=overlap_hours)
    key, known = _new_key(now)
    before = [
        old if old.until is not None and old.until <= end else replace(old, until=end)
        for old in source.keys
        if old.opens(now)
    ]
    kept = [old for old in before if old.opens(now)]
    _write(lambda text: with_keys(text, name, [*kept, known]), source.environment)
    _tell(name, key, as_json=as_json)


@app.command(name="list")
def list_them(*, as_json: AsJson = False) -> None:
    """List sources and how many keys open each; no key can be shown again."""
    from activation_dagster.registry.source_files import load_sources

    now = _now()
    found = load_sources(read_settings().contracts)
    if as_json:
        print_json([_plain(source, now) for source in found.values()])
        return
    print_table(
        ["source", "environment", "owner", "events", "a second", "shed", "keys", "newest key", "ends"],
        [_row(source, now) for source in found.values()],
        empty="There is no source. Make one with `activation sources create`.",
        may_go=("events", "a second"),
    )


def _row(source: Source, now: datetime) -> list[object]:
    said = _plain(source, now)
    return [
        source.name,
        source.environment,
        source.owner,
        ", ".join(source.events) or "all",
        source.events_per_second or "",
        source.shed.value,
        said["keys"],
        "" if said["newest_key_made_at"] is None else shown(said["newest_key_made_at"]),
        "" if said["next_key_ends_at"] is None else shown(said["next_key_ends_at"]),
    ]


def _plain(source: Source, now: datetime) -> dict[str, object]:
    keys = [key for key in source.keys if key.opens(now)]
    return {
        "name": source.name,
        "environment": source.environment,
        "owner": source.owner,
        "events": list(source.events),
        "pinned": dict(source.pinned),
        "events_per_second": source.events_per_second,
        "shed": source.shed,
        "keys": len(keys),
        "newest_key_made_at": max((key.made_at for key in keys), default=None),
        "next_key_ends_at": min((key.until for key in keys if key.until is not None), default=None),
    }


def _now() -> datetime:
    from activation_dagster.wiring import utc_now

    return utc_now().replace(microsecond=0)


def _new_key(now: datetime) -> tuple[str, SourceKey]:
    from activation_dagster.domain.sources import SourceKey, key_sha256

    key = "".join(secrets.choice(ALPHABET) for _ in range(KEY_LENGTH))
    return key, SourceKey(sha256=key_sha256(key), made_at=now)


def _source(name: str) -> Source:
    from activation_dagster.registry.files import suggestion
    from activation_dagster.registry.source_files import load_sources

    found = load_sources(read_settings().contracts)
    if name not in found:
        raise WrongUse(f"There is no source '{name}', in contracts/sources.yaml.{suggestion(name, list(found))}")
    return found[name]


def _write(change: Callable[[str], str], environment: str) -> None:
    """Change the file, whole or not at all, and only where the contracts are sound with it."""
    from activation_dagster.registry.loading import load_contracts
    from activation_dagster.registry.source_files import SOURCES_FILE

    root = read_settings().contracts
    path = root / SOURCES_FILE
    with _alone(root):
        before = path.read_text(encoding="utf-8") if path.exists() else None
        written = path.with_suffix(".new")
        written.write_text(change(before or ""), encoding="utf-8")
        written.replace(path)
        try:
            load_contracts(root, environment=environment, needs_examples=False)
        except ContractsInvalid:
            if before is None:
                path.unlink()
            else:
                path.write_text(before, encoding="utf-8")
            raise


@contextmanager
def _alone(root: Path) -> Generator[None]:
    """Two people who make sources at once must not lose one."""
    descriptor = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _tell(name: str, key: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"source": name, "write_key": key})
        return
    say(f"The write key of source '{name}', shown this once:")
    say(key, indent=4)
