"""Landing: a segment is sealed, durable and whole, or it is not there; and looking for new ones stays cheap."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activation_dagster.domain.landing import segment_from_path
from activation_dagster.errors import MendTheEnvironment, WrongUse
from activation_dagster.sources.landing import Landing, SealPoint

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TEN = datetime(2026, 3, 1, 10, 15, 30, 123_000, tzinfo=UTC)
EVENTS = [b'{"type":"page","anonymousId":"a"}', b"not json", b'{"name":"M\xc3\xbcsli"}']

# What a producer does that is killed at the point named by its second argument.
CHILD = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from activation_dagster.sources.landing import Landing

def die(point):
    if point == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

Landing(Path(sys.argv[1]), at=die).seal(
    "shop", [b"one", b"two"], sealed_at=datetime.fromisoformat(sys.argv[3]), suffix="a", compressed=sys.argv[4] == "gz"
)
"""

_opened: list[str] | None = None


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _opened is not None and event == "os.scandir":
        _opened.append(str(arguments[0]))


sys.addaudithook(_audit)


@contextmanager
def folders_opened() -> Generator[list[str]]:
    """The folders that are listed meanwhile, as the interpreter itself reports them."""
    global _opened
    _opened = []
    try:
        yield _opened
    finally:
        _opened = None


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path / "home" / "landing" / "demo")


def test_a_sealed_segment_lies_in_the_utc_hour_of_its_sealing_and_reads_as_it_came(landing: Landing) -> None:
    in_delhi = TEN.astimezone(timezone(timedelta(hours=5, minutes=30)))
    segment = landing.seal("shop", EVENTS, sealed_at=in_delhi, suffix="a")
    assert segment.path == "shop/2026/03/01/10/1772360130123-a.ndjson"
    assert (segment.arrival_hour, segment.sealed_at) == (TEN.replace(minute=0, second=0, microsecond=0), TEN)
    assert landing.read(segment) == b"".join(event + b"\n" for event in EVENTS)
    assert landing.path_of(segment).stat().st_size == segment.size_bytes
    assert landing.segments() == [segment]


def test_a_compressed_segment_is_plain_gzip_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    first, second = Landing(tmp_path / "a"), Landing(tmp_path / "b")
    sealed = [place.seal("shop", EVENTS, sealed_at=TEN, suffix="a", compressed=True) for place in (first, second)]
    assert sealed[0] == sealed[1]
    assert first.read(sealed[0]) == b"\n".join(EVENTS) + b"\n"
    assert gzip.decompress(first.path_of(sealed[0]).read_bytes()) == first.read(sealed[0])
    assert first.path_of(sealed[0]).read_bytes() == second.path_of(sealed[1]).read_bytes()


@pytest.mark.parametrize("compressed", [False, True])
def test_sealing_the_same_events_again_changes_nothing(landing: Landing, compressed: bool) -> None:
    first = landing.seal("shop", EVENTS, sealed_at=TEN, suffix="a", compressed=compressed)
    before = landing.path_of(first).stat()
    assert landing.seal("shop", iter(EVENTS), sealed_at=TEN, suffix="a", compressed=compressed) == first
    assert landing.path_of(first).stat() == before
    assert landing.segments() == [first]


def test_sealing_the_same_events_packed_differently_changes_nothing(landing: Landing) -> None:
    first = landing.seal("shop", EVENTS, sealed_at=TEN, suffix="a", compressed=True)
    packed = gzip.compress(landing.read(first), compresslevel=1, mtime=7)
    landing.path_of(first).write_bytes(packed)
    landing.seal("shop", EVENTS, sealed_at=TEN, suffix="a", compressed=True)
    assert landing.path_of(first).read_bytes() == packed


@pytest.mark.parametrize("compressed", [False, True])
def test_a_name_taken_by_other_events_is_refused_and_keeps_its_events(landing: Landing, compressed: bool) -> None:
    first = landing.seal("shop", EVENTS, sealed_at=TEN, suffix="a", compressed=compressed)
    with pytest.raises(WrongUse, match="holds other events"):
        landing.seal("shop", [b"{}"], sealed_at=TEN, suffix="a", compressed=compressed)
    assert landing.read(first) == b"\n".join(EVENTS) + b"\n"


def test_one_segment_id_names_one_file_among_all_sources_and_forms(landing: Landing) -> None:
    landing.seal("shop", EVENTS, sealed_at=TEN, suffix="a")
    for source, compressed in (("shop", True), ("crm", False), ("crm", True)):
        with pytest.raises(WrongUse, match="is taken, by shop/2026"):
            landing.seal(source, EVENTS, sealed_at=TEN, suffix="a", compressed=compressed)
    landing.seal("crm", EVENTS, sealed_at=TEN, suffix="b")
    assert len(landing.segments()) == 2


def test_of_two_who_seal_one_id_at_the_same_time_one_is_refused(landing: Landing) -> None:
    refused: list[WrongUse] = []

    def seal(source: str) -> None:
        try:
            Landing(landing.root).seal(source, [source.encode()], sealed_at=TEN, suffix="a")
        except WrongUse as error:
            refused.append(error)

    sealers = [threading.Thread(target=seal, args=(f"source{number}",)) for number in range(8)]
    for sealer in sealers:
        sealer.start()
    for sealer in sealers:
        sealer.join()
    assert len(refused) == 7
    assert len(landing.segments()) == 1


@pytest.mark.parametrize(
    ("source", "suffix"), [("", "a"), ("Shop", "a"), ("a/b", "a"), (".open", "a"), ("shop", ""), ("shop", "A-b")]
)
def test_what_names_no_segment_is_refused_and_leaves_nothing(landing: Landing, source: str, suffix: str) -> None:
    with pytest.raises(WrongUse, match="does not name a segment"):
        landing.seal(source, EVENTS, sealed_at=TEN, suffix=suffix)
    assert not landing.root.exists()


def test_an_instant_without_a_zone_is_refused(landing: Landing) -> None:
    without_zone = TEN.replace(tzinfo=None)
    with pytest.raises(WrongUse, match="without a zone"):
        landing.seal("shop", EVENTS, sealed_at=without_zone, suffix="a")
    with pytest.raises(WrongUse, match="without a zone"):
        landing.segments(since=without_zone)


@pytest.mark.parametrize(("events", "words"), [([], "without any event"), ([b"{}\n"], "newline")])
def test_no_events_and_two_lines_in_one_are_refused(landing: Landing, events: list[bytes], words: str) -> None:
    with pytest.raises(WrongUse, match=words):
        landing.seal("shop", events, sealed_at=TEN, suffix="a")
    assert landing.segments() == []


def test_a_producer_that_fails_midway_leaves_no_segment_and_no_open_file(landing: Landing) -> None:
    def failing() -> Iterator[bytes]:
        yield b"{}"
        raise ConnectionError("the producer went away")

    with pytest.raises(ConnectionError):
        landing.seal("shop", failing(), sealed_at=TEN, suffix="a")
    assert landing.segments() == []
    assert list((landing.root / ".open").glob("*-a-*")) == []


@pytest.mark.parametrize("form", ["plain", "gz"])
@pytest.mark.parametrize("point", list(SealPoint))
def test_a_kill_leaves_a_whole_segment_or_none_and_a_later_seal_works(
    landing: Landing, point: SealPoint, form: str
) -> None:
    repository = Path(__file__).parents[2]
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(landing.root), point, TEN.isoformat(), form],
        env={**os.environ, "PYTHONPATH": str(repository)},
        check=False,
        timeout=60,
    )
    assert child.returncode == -signal.SIGKILL
    survived = landing.segments()
    if point in (SealPoint.OPENED, SealPoint.WRITTEN):
        assert survived == []
    else:
        assert [landing.read(segment) for segment in survived] == [b"one\ntwo\n"]
    again = landing.seal("shop", [b"one", b"two"], sealed_at=TEN, suffix="a", compressed=form == "gz")
    assert landing.segments() == [again]
    assert landing.read(again) == b"one\ntwo\n"


def test_segments_come_in_the_order_of_their_arrival_whatever_their_source(landing: Landing) -> None:
    for minutes, source, suffix in (
        (70, "a", "x"),
        (0, "b", "y"),
        (5, "a", "z"),
        (5, "b", "y"),
        (-60 * 24 * 400, "b", "q"),
    ):
        landing.seal(source, EVENTS, sealed_at=TEN + timedelta(minutes=minutes), suffix=suffix)
    sealed = [(segment.sealed_at, segment.segment_id[14:]) for segment in landing.segments()]
    assert sealed == sorted(sealed)
    assert len(sealed) == 5


def test_only_folders_at_or_after_the_hour_asked_for_are_opened(landing: Landing) -> None:
    for hours in range(0, 24 * 500, 7):
        folder = landing.root / "shop" / f"{TEN - timedelta(hours=hours):%Y/%m/%d/%H}"
        folder.mkdir(parents=True)
        (folder / f"{(1772360130123 - hours * 3_600_000):013d}-a.ndjson").write_bytes(b"{}\n")
    since = TEN.replace(minute=0, second=0, microsecond=0) - timedelta(hours=14)
    with folders_opened() as opened:
        found = landing.segments(since=since)
    assert [segment.arrival_hour for segment in found] == [since + timedelta(hours=hours) for hours in (0, 7, 14)]
    listed = {str(Path(folder).relative_to(landing.root)) for folder in opened}
    days = {"shop/2026/02/28", "shop/2026/03/01"}
    hours = {"shop/2026/02/28/20", "shop/2026/03/01/03", "shop/2026/03/01/10"}
    assert listed == {".", "shop", "shop/2026", "shop/2026/02", "shop/2026/03"} | days | hours
    assert len(opened) == len(listed)


def test_an_hour_that_began_before_the_instant_asked_for_is_not_listed(landing: Landing) -> None:
    landing.seal("shop", EVENTS, sealed_at=TEN, suffix="a")
    later = landing.seal("shop", EVENTS, sealed_at=TEN + timedelta(hours=1), suffix="a")
    assert landing.segments(since=TEN) == [later]
    assert len(landing.segments(since=later.arrival_hour - timedelta(hours=1))) == 2


def test_open_temporary_and_foreign_files_are_passed_over(landing: Landing) -> None:
    segment = landing.seal("shop", EVENTS, sealed_at=TEN, suffix="a")
    hour = landing.path_of(segment).parent
    for name in ("notes.txt", "1772360130123-a.ndjson.tmp", "1772360130123-A.ndjson", "123-a.ndjson", ".hidden"):
        (hour / name).write_bytes(b"{}\n")
    (hour / "1772360130124-folder.ndjson").mkdir()
    (landing.root / ".open" / "1772360130125-x.ndjson").write_bytes(b"{}\n")
    (landing.root / "README").write_bytes(b"")
    (landing.root / "shop" / "latest").mkdir()
    for wrong in ("Shop/2026/03/01/10", "shop/2026/13/01/10", "shop/2026/3/1/10", "shop/2026/03/01/10/deeper"):
        folder = landing.root / wrong
        folder.mkdir(parents=True)
        (folder / "1772360130126-b.ndjson").write_bytes(b"{}\n")
    assert landing.segments() == [segment]


def test_an_empty_landing_has_no_segments(landing: Landing) -> None:
    assert landing.segments() == []


def test_a_segment_that_is_gone_or_damaged_is_said_to_be(landing: Landing) -> None:
    segment = landing.seal("shop", EVENTS * 50, sealed_at=TEN, suffix="a", compressed=True)
    path = landing.path_of(segment)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(MendTheEnvironment, match="cannot be decompressed"):
        landing.read(segment)
    path.unlink()
    with pytest.raises(MendTheEnvironment, match="is gone"):
        landing.read(segment)


def test_other_users_may_read_what_is_sealed(landing: Landing) -> None:
    segment = landing.seal("shop", EVENTS, sealed_at=TEN, suffix="a")
    assert landing.path_of(segment).stat().st_mode & 0o777 == 0o644


@given(
    source=st.from_regex(r"[a-z0-9_][a-z0-9_-]{0,20}", fullmatch=True),
    suffix=st.from_regex(r"[a-z0-9]{1,40}", fullmatch=True),
    # Up to the last year that an event's time may name (domain/times.py).
    sealed_at=st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=365 * 229)).map(EPOCH.__add__),
    compressed=st.booleans(),
)
def test_the_path_of_a_segment_says_all_that_the_segment_is(
    tmp_path_factory: pytest.TempPathFactory, source: str, suffix: str, sealed_at: datetime, compressed: bool
) -> None:
    landing = Landing(tmp_path_factory.mktemp("landing"))
    segment = landing.seal(source, [b"{}"], sealed_at=sealed_at, suffix=suffix, compressed=compressed)
    assert segment_from_path(segment.path, segment.size_bytes) == segment
    assert landing.segments() == [segment]
    assert landing.read(segment) == b"{}\n"
    assert segment.source == source
    assert segment.sealed_at == sealed_at.replace(microsecond=sealed_at.microsecond // 1000 * 1000)
    assert segment.arrival_hour == sealed_at.replace(minute=0, second=0, microsecond=0)
