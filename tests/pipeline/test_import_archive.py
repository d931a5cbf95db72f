"""Importing an archive: each line lands once, wherever the import dies; what is broken lands, what cannot is said."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import zlib
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from activation_dagster.domain.batches import Provenance
from activation_dagster.errors import LeaseHeld, WrongUse
from activation_dagster.pipeline.import_archive import ImportReport, import_archive
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.plan import plan_batch
from activation_dagster.pipeline.work import drain
from activation_dagster.sources.archives import FolderArchive
from activation_dagster.state.engine import State
from activation_dagster.state.sends import list_sends
from tests.pipeline.small_shop import NOW, REPOSITORY, Clock, buyer, lines, places_at

SEGMENT = 300
POINTS = ("import.recorded", "import.sealed", "import.confirmed", "import.finished")


def tree(folder: Path, *, files: int = 3, each: int = 20) -> list[bytes]:
    """Segment's layout: a source, days, gzip NDJSON. Gives every line, in order."""
    written: list[bytes] = []
    for number in range(files):
        file = folder / "segment-logs" / "kd8dj2" / f"{1_700_000_000_000 + number * 86_400_000}" / f"{number}.gz"
        file.parent.mkdir(parents=True)
        here = [json.dumps({"file": number, "line": line}).encode() for line in range(each)]
        here[each // 2] = b'{"cut off'
        file.write_bytes(gzip.compress(b"".join(line + b"\n" for line in here)))
        written += here
    return written


def imported(places: Places, folder: Path, *, provenance: Provenance = Provenance.BACKFILL) -> ImportReport:
    return import_archive(
        places, FolderArchive(root=folder), source="web", provenance=provenance, segment_bytes=SEGMENT
    )


def landed(places: Places) -> list[bytes]:
    """Every line that stands in landing, in arrival order."""
    return [line for segment in places.landing.segments() for line in places.landing.read(segment).splitlines()]


def test_every_line_lands_as_it_is_in_order_and_under_the_hour_of_now(places: Places, tmp_path: Path) -> None:
    written = tree(tmp_path / "archive")
    report = imported(places, tmp_path / "archive")
    assert landed(places) == written
    assert {segment.arrival_hour for segment in places.landing.segments()} == {NOW.replace(minute=0)}
    assert (report.files, report.imported, report.known, report.troubles) == (3, 3, 0, ())
    assert (report.lines, report.segments) == (len(written), len(places.landing.segments()))
    assert report.segments > 3


def test_a_second_import_lands_nothing_also_from_another_folder(places: Places, tmp_path: Path) -> None:
    written = tree(tmp_path / "archive")
    imported(places, tmp_path / "archive")
    (tmp_path / "archive").rename(tmp_path / "moved")
    again = imported(places, tmp_path / "moved")
    assert landed(places) == written
    assert (again.known, again.imported, again.lines, again.segments) == (3, 0, 0, 0)


def test_a_file_that_grew_is_another_file(places: Places, tmp_path: Path) -> None:
    file = tmp_path / "day.ndjson"
    file.write_bytes(b"one\n")
    imported(places, tmp_path)
    file.write_bytes(b"one\ntwo\n")
    assert imported(places, tmp_path).lines == 2


class Died(BaseException):
    """Ends a program where it stands."""


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("occurrence", [1, 3])
def test_dying_at_any_point_loses_nothing_and_lands_nothing_twice(
    tmp_path: Path, state: State, point: str, occurrence: int
) -> None:
    written = tree(tmp_path / "archive")
    passed: Counter[str] = Counter()

    def die(name: str) -> None:
        passed[name] += 1
        if name == point and passed[name] == occurrence:
            raise Died

    clock = Clock()
    with pytest.raises(Died):
        imported(places_at(tmp_path, state, at=die, clock=clock), tmp_path / "archive")
    clock.now += timedelta(hours=5)
    places = places_at(tmp_path, state, clock=clock)
    imported(places, tmp_path / "archive")
    assert landed(places) == written
    if (point, occurrence) != (POINTS[-1], 3):  # what was not sealed before the crash belongs to the hour it landed in
        assert places.landing.segments()[-1].arrival_hour == clock.now.replace(minute=0)
    assert imported(places, tmp_path / "archive").known == 3


def test_what_a_batch_took_before_it_was_confirmed_is_not_landed_again(tmp_path: Path, state: State) -> None:
    written = tree(tmp_path / "archive", files=1)

    def die(name: str) -> None:
        if name == "import.sealed":
            raise Died

    with pytest.raises(Died):
        imported(places_at(tmp_path, state, at=die), tmp_path / "archive")
    places = places_at(tmp_path, state)
    batch = plan_batch(places, provenance=Provenance.LIVE, now=NOW)
    assert batch is not None
    assert batch.provenance is Provenance.BACKFILL
    (segment,) = places.landing.segments()
    first = landed(places)
    places.landing.path_of(segment).unlink()  # as a retention would
    imported(places, tmp_path / "archive")
    assert landed(places) == written[len(first) :]


def test_kill_9_at_every_point_in_turn(tmp_path: Path, migrated_sqlite: Path) -> None:
    written = tree(tmp_path / "archive", files=2)
    program = f"""
import os, signal, sys
from pathlib import Path
from tests.pipeline.test_import_archive import imported
from tests.pipeline.small_shop import places_at
from activation_dagster.state.engine import open_state
folder = Path(sys.argv[1])
for point in {POINTS * 2!r}:
    child = os.fork()
    if child == 0:
        state = open_state(f"sqlite:///{{folder}}/state.db")
        def die(name, point=point):
            if name == point:
                os.kill(os.getpid(), signal.SIGKILL)
        imported(places_at(folder, state, at=die), folder / "archive")
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert ended.stdout.split()[0] == str(-signal.SIGKILL)
    places = places_at(tmp_path, _opened(tmp_path))
    imported(places, tmp_path / "archive")
    assert sorted(landed(places)) == sorted(written)  # the clock stands still, so that files share their instant
    places.state.close()


def _opened(folder: Path) -> State:
    from activation_dagster.state.engine import open_state

    return open_state(f"sqlite:///{folder}/state.db")


def test_a_damaged_file_lands_as_far_as_it_can_be_read_is_told_every_time_and_stops_no_other(
    places: Places, tmp_path: Path
) -> None:
    packed = gzip.compress(b"".join(b'{"line": %d}\n' % number for number in range(2_000)))
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "1.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "archive" / "2.ndjson").write_bytes(b'{"whole": 1}\n')
    report = imported(places, tmp_path / "archive")
    unpacked = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(packed[: len(packed) // 2])
    assert landed(places) == [*unpacked.splitlines(), b'{"whole": 1}']
    (trouble,) = report.troubles
    assert "ends too early, at " in trouble.sentence
    assert (report.imported, imported(places, tmp_path / "archive").troubles) == (1, report.troubles)
    (tmp_path / "archive" / "1.gz").write_bytes(packed)
    whole = imported(places, tmp_path / "archive")
    assert (whole.imported, whole.lines, whole.troubles) == (1, 2_000, ())


def test_a_file_that_changes_while_it_is_read_is_not_taken_for_imported(places: Places, tmp_path: Path) -> None:
    file = tmp_path / "archive" / "1.ndjson"
    file.parent.mkdir()
    file.write_bytes(b"".join(b"line %d\n" % number for number in range(400_000)))
    archive = FolderArchive(root=file.parent)

    def write(_: object) -> None:
        file.write_bytes(b"another\n" * 10)

    report = import_archive(
        places, archive, source="web", provenance=Provenance.LIVE, segment_bytes=100_000, progress=write
    )
    assert "changed while it was read" in report.troubles[0].sentence
    assert imported(places, file.parent).imported == 1


def test_two_imports_into_one_source_do_not_meet(places: Places, tmp_path: Path) -> None:
    tree(tmp_path / "archive", files=1)
    with places.landing.held("import-web"), pytest.raises(LeaseHeld, match="import-web"):
        imported(places, tmp_path / "archive")
    assert imported(places, tmp_path / "archive").imported == 1


def test_nothing_to_import_and_no_name_are_wrong_use(places: Places, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    with pytest.raises(WrongUse, match="No file of events"):
        imported(places, tmp_path / "archive")
    with pytest.raises(WrongUse, match="no name of a source"):
        import_archive(places, FolderArchive(root=tmp_path), source="../etc", provenance=Provenance.LIVE)


@pytest.mark.parametrize(("provenance", "status"), [(Provenance.BACKFILL, "held"), (Provenance.LIVE, "pending")])
def test_what_an_archive_triggers_is_held_unless_it_is_the_way_in(
    places: Places, tmp_path: Path, provenance: Provenance, status: str
) -> None:
    file = tmp_path / "archive" / "1.ndjson"
    file.parent.mkdir()
    file.write_bytes(b"\n".join(lines(*buyer("ann", price=700.0))))
    imported(places, file.parent, provenance=provenance)
    drain(places, now=places.clock)
    with places.state.read() as connection:
        assert {send.status.value for send in list_sends(connection, limit=10)} == {status}


def test_live_events_and_an_archive_take_turns(places: Places, tmp_path: Path) -> None:
    tree(tmp_path / "archive", files=1)
    imported(places, tmp_path / "archive")
    turns: list[Provenance] = []
    for number in range(2):
        sealed_at = NOW + timedelta(minutes=number + 1)
        places.landing.seal("shop", [b"{}"], sealed_at=sealed_at, suffix="live")
        batch = plan_batch(places, provenance=Provenance.LIVE, now=NOW)
        assert batch is not None
        turns.append(batch.provenance)
    assert turns == [Provenance.LIVE, Provenance.BACKFILL]
