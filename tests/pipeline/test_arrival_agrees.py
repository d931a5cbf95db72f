"""The verdict that the collector stamps on an event is the one that the batch gives it."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.ingest import compute_ingested
from activation_dagster.pipeline.validate import _judge
from activation_dagster.registry.arrival import ArrivalJudge
from activation_dagster.registry.loading import load_contracts
from activation_dagster.sources.collector.lines import Arrival, landing_line
from activation_dagster.sources.simulator import simulate
from tests.sql.landed import NOW, ORDINAL, Batches, batches_under
from tests.sql.test_ingest_agrees import lines as any_lines

RECEIVED = datetime(2026, 3, 1, 10, 15, 30, 100_000, tzinfo=UTC)
ARRIVAL = Arrival(
    received_at="2026-03-01T10:15:30.100Z",
    made_id="made",
    sent_at="2026-03-01T10:15:30.000Z",
    max_event_bytes=4_000,
    max_events=1_000_000,
)


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batches]:
    with batches_under(tmp_path_factory.mktemp("landed")) as found:
        yield found


@pytest.fixture(scope="module")
def judge() -> ArrivalJudge:
    return ArrivalJudge(load_contracts(Path("contracts"), environment="demo"))


def by_batch(run: BatchRun) -> dict[int, str | None]:
    compute_ingested(run)
    _judge(run)
    rows = run.engine.rows("select ordinal, reason from event_verdicts")
    return {ordinal % ORDINAL: reason for ordinal, reason in rows}


def assert_agree(batches: Batches, judge: ArrivalJudge, items: list[bytes]) -> Counter[str | None]:
    def verdict(event: dict[str, object]) -> str | None:
        return judge(event, source="shop", received_at=RECEIVED)

    landed = [landing_line(item, ARRIVAL, 0, verdict) for item in items]
    with batches.of(b"".join(one.line + b"\n" for one in landed)) as run:
        said = by_batch(run)
    for number, one in enumerate(landed, start=1):
        assert said[number] == one.reason, one.line
        stamped = re.match(rb'{"collector":{[^}]*?"verdict":"([a-z_]+)"', one.line)
        if stamped is not None:
            assert stamped[1].decode() == (one.reason or "accepted")
    return Counter(one.reason for one in landed)


def test_the_shop_s_events_and_their_dirt_have_one_verdict(batches: Batches, judge: ArrivalJudge) -> None:
    lines = list(simulate(seed=3, people=60, events=3_000, now=NOW).lines)
    random.Random(1).shuffle(lines)
    found = assert_agree(batches, judge, lines)
    assert found[None] > 1_000
    assert len(found) > 5


@settings(max_examples=40)
@given(st.lists(any_lines, min_size=1, max_size=30))
def test_any_line_has_one_verdict(batches: Batches, judge: ArrivalJudge, items: list[bytes]) -> None:
    assert_agree(batches, judge, items)


def test_what_the_collector_alone_can_know_is_believed_where_it_speaks_and_nowhere_else(
    batches: Batches, judge: ArrivalJudge
) -> None:
    said = b'{"type":"page","userId":"u","properties":{"x":"%s"}}'
    found = assert_agree(
        batches, judge, [said % (b"y" * 5_000), said % b"y", b'{"collector":{"refused":"too_many"},"a":1}']
    )
    assert found["too_large"] == 1
    assert found["too_many"] == 0
    assert sum(found.values()) == 3
    with batches.of(
        b'{"collector":{"refused":"too_many","at":"x"},"type":"page","userId":"u"}\n'
        b'{"type":"page","collector":{"refused":"too_many"},"userId":"u"}\n'
        b'{"collector":{"at":"x","refused":"too_many"},"type":"page","userId":"u"}\n'
        b'{"collector":{"refused":"no_such_reason"},"type":"page","userId":"u"}\n'
    ) as run:
        verdicts = by_batch(run)
    assert verdicts[1] == "too_many"
    assert "too_many" not in (verdicts[2], verdicts[3], verdicts[4])
