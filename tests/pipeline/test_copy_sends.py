"""The lake's copy of the ledger: it is what the ledger says of settled sends, whatever came in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable
from sqlalchemy import update

from activation_dagster.domain.sends import SETTLED, SendStatus
from activation_dagster.lake.delta import hour_key
from activation_dagster.lake.tables import SENDS
from activation_dagster.pipeline.copy_sends import LEASE, copy_sends
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.verify import verify
from activation_dagster.state.leases import acquire
from activation_dagster.state.send_copies import changed_batches, mark_changed
from activation_dagster.state.tables import sends
from tests.pipeline.small_shop import NOW, Clock, batches_of, buyer, land, ledger, send_out, work

POINTS = ("sends.copying", "sends.copy_written", "sends.copy_durable", "sends.copied")


class Died(Exception):
    """The process ends here."""


def dying_at(point: str) -> Callable[[str], None]:
    def at(name: str) -> None:
        if name == point:
            raise Died

    return at


@pytest.fixture
def places(worked: Places) -> Places:
    """Three batches in two hours, worked and delivered."""
    return worked


def in_the_lake(places: Places) -> list[tuple[Any, ...]]:
    """The copy, by key."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("set timezone = 'UTC'")
        found = connection.execute(
            f"select {', '.join(column.name for column in SENDS.columns)} from {places.lake.source(SENDS)} as s "
            "order by send_key"
        )
        return found.fetchall()


def in_the_ledger(places: Places) -> list[tuple[Any, ...]]:
    """What the copy should be, read from the ledger."""
    hours = {batch.batch_id: hour_key(batch.arrival_hour) for batch in batches_of(places)}
    return [
        (
            hours[send.batch_id],
            send.batch_id,
            send.send_key,
            send.workflow_id,
            send.audience_id,
            send.profile_id,
            send.destination,
            send.status.value,
            send.reason,
            None if send.claimed_at is None else send.claimed_at.replace(tzinfo=None),
            None if send.answered_at is None else send.answered_at.replace(tzinfo=None),
        )
        for send in ledger(places)
        if send.status in SETTLED
    ]


def commits(places: Places) -> int:
    return DeltaTable(str(places.lake.path(SENDS))).version()


def settle(places: Places, status: SendStatus, *, key: str) -> None:
    """The outcome of a send becomes another one."""
    with places.state.write() as connection:
        connection.execute(update(sends).where(sends.c.send_key == key).values(status=status.value))
        mark_changed(connection, [send.batch_id for send in ledger(places) if send.send_key == key])


def test_a_delivery_copies_what_is_settled(places: Places) -> None:
    assert in_the_lake(places) == in_the_ledger(places) != []
    assert {send.status for send in ledger(places)} >= {SendStatus.SENT}


def test_where_nothing_has_changed_nothing_is_written(places: Places, tmp_path: Path) -> None:
    before = commits(places)
    report = send_out(places, tmp_path)
    assert (report.copied.batches, report.copied.rows, commits(places)) == (0, 0, before)


def test_only_batches_whose_sends_have_changed_are_copied(places: Places, tmp_path: Path) -> None:
    before = commits(places)
    land(places, *buyer("u9", price=700.0))
    work(places)
    report = send_out(places, tmp_path)
    assert report.sent > 0
    assert (report.copied.batches, commits(places)) == (1, before + 1)
    assert in_the_lake(places) == in_the_ledger(places)


@pytest.mark.parametrize("point", POINTS)
def test_a_copy_that_was_broken_off_is_made_by_the_next_delivery(places: Places, tmp_path: Path, point: str) -> None:
    land(places, *buyer("u9", price=700.0))
    work(places)
    dying = replace(places, at=dying_at(point), holder="dying")
    with pytest.raises(Died):
        send_out(dying, tmp_path)
    assert verify(places, rebuild=False, now=NOW).is_sound  # neither half a copy nor an old one is damage
    send_out(places, tmp_path)
    assert in_the_lake(places) == in_the_ledger(places)
    assert verify(places, rebuild=False, now=NOW).orphan_rows == 0


def test_a_crash_before_the_copy_leaves_it_to_the_next_delivery(places: Places, tmp_path: Path) -> None:
    land(places, *buyer("u9", price=700.0))
    work(places)
    with pytest.raises(Died):
        send_out(replace(places, at=dying_at("sends.answered")), tmp_path)
    before = in_the_lake(places)
    send_out(places, tmp_path)
    assert in_the_lake(places) == in_the_ledger(places) != before


@pytest.mark.parametrize("status", [SendStatus.UNKNOWN, SendStatus.PENDING])
def test_an_outcome_that_changes_later_is_brought_over(places: Places, status: SendStatus) -> None:
    key = next(send.send_key for send in ledger(places) if send.status is SendStatus.SENT)
    settle(places, status, key=key)
    copy_sends(places)
    assert in_the_lake(places) == in_the_ledger(places)
    settle(places, SendStatus.SENT, key=key)
    copy_sends(places)
    assert in_the_lake(places) == in_the_ledger(places)
    assert key in {row[2] for row in in_the_lake(places)}


def test_an_outcome_that_changes_while_it_is_copied_is_not_missed(places: Places) -> None:
    key = next(send.send_key for send in ledger(places) if send.status is SendStatus.SENT)
    settle(places, SendStatus.UNKNOWN, key=key)
    changed: list[str] = []

    def change_once(name: str) -> None:
        if name == "sends.copy_written" and not changed:
            changed.append(name)
            settle(places, SendStatus.SENT, key=key)

    assert copy_sends(replace(places, at=change_once)).batches == 2
    assert in_the_lake(places) == in_the_ledger(places)


def test_what_somebody_else_copies_is_left_to_them_and_healed_later(places: Places) -> None:
    key = next(send.send_key for send in ledger(places) if send.status is SendStatus.SENT)
    settle(places, SendStatus.UNKNOWN, key=key)
    with places.state.write() as connection:
        acquire(connection, LEASE, "somebody else", now=places.clock(), seconds=60)
    assert "somebody else" in copy_sends(places).obstacle
    with places.state.read() as connection:
        assert len(changed_batches(connection)) == 1
    later = Clock(places.clock().replace(hour=23))
    assert copy_sends(replace(places, clock=later)).obstacle == ""
    assert in_the_lake(places) == in_the_ledger(places)


def test_a_copier_whose_lease_was_taken_over_writes_nothing_more(places: Places) -> None:
    key = next(send.send_key for send in ledger(places) if send.status is SendStatus.SENT)
    settle(places, SendStatus.UNKNOWN, key=key)

    def take_over(name: str) -> None:
        if name == "sends.copying":
            late = Clock(places.clock().replace(hour=23))
            settle(places, SendStatus.SENT, key=key)
            assert copy_sends(replace(places, holder="the next", clock=late)).batches == 1

    before = commits(places)
    assert "was lost" in copy_sends(replace(places, at=take_over, holder="held up")).obstacle
    assert commits(places) == before + 1
    assert in_the_lake(places) == in_the_ledger(places)


def test_sends_that_stood_before_there_were_copies_are_copied(places: Places) -> None:
    before = in_the_lake(places)
    folder = places.lake.path(SENDS)
    folder.rename(folder.with_name("elsewhere"))
    with places.state.write() as connection:
        mark_changed(connection, [batch.batch_id for batch in batches_of(places)])
    copy_sends(places)
    assert in_the_lake(places) == before
