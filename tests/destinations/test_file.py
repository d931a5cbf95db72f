"""The file destination, and what is its own: it survives torn lines, other writers and replaced files."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from activation_dagster.destinations.catalogue import KINDS, open_destination
from activation_dagster.destinations.file import FileDestination
from activation_dagster.destinations.protocol import Access, Destination
from activation_dagster.domain.destinations import Endpoint
from activation_dagster.domain.sends import Json, Outcome
from activation_dagster.errors import WrongUse
from tests.destinations.conformance import DestinationConformance, Effect, Place, numbered, outcomes
from tests.destinations.examples import TRACK, contract, message


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlace:
    destination: Destination
    path: Path

    def lines(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def effects(self, endpoint: Endpoint) -> list[Effect]:
        lines = [line for line in self.lines() if line["endpoint"] == endpoint.name]
        return [
            Effect(subject=line["subject"], profile_key=line["profile_key"], execution_input=line["execution_input"])
            for line in lines
        ]

    def profile_fields(self, profile_key: str) -> Mapping[str, Json]:
        [line] = [line for line in self.lines() if line["profile_key"] == profile_key]
        return line["profile_fields"]

    @contextmanager
    def unreachable(self) -> Generator[None]:
        folder, away = self.path.parent, self.path.parent.with_name("away")
        folder.rename(away)
        yield
        away.rename(folder)


@pytest.fixture
def file_place(tmp_path: Path) -> FilePlace:
    path = tmp_path / "outbox" / "messages.ndjson"
    path.parent.mkdir()
    return FilePlace(destination=open_destination(contract("file", TRACK), Access(address=str(path))), path=path)


class TestFileDestination(DestinationConformance):
    @pytest.fixture
    def place(self, file_place: FilePlace) -> Place:
        return file_place

    @pytest.fixture
    def endpoint(self) -> Endpoint:
        return TRACK


def test_a_line_that_a_crash_left_unfinished_is_cut_off_and_written_again(file_place: FilePlace) -> None:
    file_place.destination.deliver(TRACK, numbered(2, TRACK))
    whole = file_place.path.read_bytes()
    file_place.path.write_bytes(whole[:-20])
    reopened = FileDestination(file_place.destination.contract, Access(address=str(file_place.path)))
    assert outcomes(reopened.deliver(TRACK, numbered(2, TRACK))) == [Outcome.DELIVERED] * 2
    assert file_place.path.read_bytes() == whole


def test_two_writers_of_one_file_write_each_send_key_once(file_place: FilePlace) -> None:
    other = FileDestination(file_place.destination.contract, Access(address=str(file_place.path)))
    file_place.destination.deliver(TRACK, numbered(3, TRACK))
    other.deliver(TRACK, numbered(5, TRACK))
    file_place.destination.deliver(TRACK, numbered(6, TRACK))
    assert [effect.profile_key for effect in file_place.effects(TRACK)] == [f"person-{n}" for n in range(6)]


def test_a_file_taken_away_is_begun_again(file_place: FilePlace) -> None:
    file_place.destination.deliver(TRACK, numbered(1, TRACK))
    file_place.path.rename(file_place.path.with_suffix(".sent"))
    file_place.destination.deliver(TRACK, [message(7)])
    assert [effect.profile_key for effect in file_place.effects(TRACK)] == ["person-7"]


@pytest.mark.parametrize("content", [b"not ours", b"not ours\n", b'{"send_key":1}\n[]\n'])
def test_a_file_of_somebody_else_stops_the_destination_and_is_left_alone(file_place: FilePlace, content: bytes) -> None:
    file_place.path.write_bytes(content)
    assert outcomes(file_place.destination.deliver(TRACK, numbered(1, TRACK))) == [Outcome.STOPPED]
    assert file_place.path.read_bytes() == content


def test_an_unknown_kind_is_wrong_use_and_names_the_near_one() -> None:
    with pytest.raises(WrongUse, match="Did you mean 'file'"):
        open_destination(contract("fiel", TRACK), Access(address="x"))
    assert set(KINDS) == {"file", "iterable"}
