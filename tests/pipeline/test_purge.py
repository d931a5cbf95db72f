"""What waits is kept as long as its reason asks for, then removed for good; sums and the lake hold, nothing returns."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from sqlalchemy import func, select

from activation_dagster.domain.batches import Phase
from activation_dagster.domain.repairs import Selection
from activation_dagster.errors import RetryLater, WrongUse
from activation_dagster.lake.tables import QUARANTINED
from activation_dagster.pipeline.dismissal import dismiss
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.purge import purge
from activation_dagster.pipeline.quarantine import listed, shown
from activation_dagster.pipeline.reentry import finish_reentries, repair
from activation_dagster.pipeline.verify import verify
from activation_dagster.pipeline.watch import totals
from activation_dagster.pipeline.work import work_batch
from activation_dagster.registry.repairs import read_repair
from activation_dagster.state.batches import closed_phase
from activation_dagster.state.leases import acquire
from activation_dagster.state.quarantine import list_acts
from activation_dagster.state.tables import control_log, quarantine_closings
from tests.pipeline.small_shop import (
    NOW,
    Clock,
    bad_price,
    batches_of,
    lake_rows,
    land,
    purchase,
    work,
)
from tests.pipeline.test_reentry import Died, read, written

CUT = b'{"type": "track", "messa'
KEPT = {"not_json": 10, "contract_violation": 40}
"""Days that the contracts of these tests keep two of the reasons; the others are kept 100 days."""


@pytest.fixture
def shop(places: Places, tmp_path: Path) -> Places:
    """An environment in which two events of two reasons were quarantined at NOW, beside a good one."""
    root = tmp_path / "contracts"
    shutil.copytree(places.contracts_root, root)
    file = root / "failure_modes.yaml"
    text = file.read_text(encoding="utf-8").replace("keep_days: 365, ", "").replace("keep_days: 180", "keep_days: 100")
    for reason, days in KEPT.items():
        text = text.replace(f"{reason}: {{owner: platform,", f"{reason}: {{owner: platform, keep_days: {days},")
    file.write_text(text, encoding="utf-8")
    found = replace(places, contracts_root=root)
    land(found, bad_price("u1"), CUT, purchase("u2"), bad_price("u3"))
    work(found)
    return found


def after(places: Places, **time: float) -> None:
    assert isinstance(places.clock, Clock)
    places.clock.now = NOW + timedelta(**time)


def waiting(places: Places) -> Sequence[tuple[str, int]]:
    return sorted((group.reason, group.events) for group in listed(places))


def is_whole(places: Places) -> bool:
    """Both sums hold, and the lake is what state says, also when every phase is asked."""
    found = totals(places)
    assert (found.received, found.conserved) == (found.accepted + found.duplicate + found.quarantined, True)
    report = verify(places, rebuild=False, now=places.clock())
    return report.is_sound and not report.orphan_rows


def test_nothing_is_removed_before_its_time_is_over(shop: Places) -> None:
    after(shop, days=10)  # the hour that it came in is not over
    report = purge(shop, by="ann")
    assert (report.groups, report.removed, report.soon, report.act_id) == ((), 0, 1, "")
    assert waiting(shop) == [("contract_violation", 2), ("not_json", 1)]


def test_a_purge_is_tried_without_changing_anything(shop: Places) -> None:
    after(shop, days=11)
    before = lake_rows(shop)
    (group,) = purge(shop).groups
    assert (group.reason, group.keep_days, group.events, group.waiting, group.batches) == ("not_json", 10, 1, 1, 1)
    assert (group.first_seen_at, group.last_seen_at) == (NOW, NOW)
    assert lake_rows(shop) == before


def test_each_reason_goes_when_its_time_is_over_and_what_is_left_stays_as_it_was(shop: Places) -> None:
    before = {row[2]: row for row in lake_rows(shop)["quarantined_events"]}
    counted = totals(shop)
    after(shop, days=11)
    report = purge(shop, by="ann")
    assert (report.removed, report.entering, report.passed_over) == (1, 0, ())
    assert waiting(shop) == [("contract_violation", 2)]
    left = lake_rows(shop)["quarantined_events"]
    assert len(left) == 2
    assert all(before[row[2]] == row for row in left)
    assert is_whole(shop)
    after(shop, days=41)
    assert purge(shop, by="ann").removed == 2
    assert lake_rows(shop)["quarantined_events"] == []
    assert listed(shop) == shown(shop) == ()
    assert is_whole(shop)
    assert replace(totals(shop), watermark=None) == replace(counted, watermark=None)


def test_a_purge_is_kept_with_who_when_what_and_how_many(shop: Places) -> None:
    after(shop, days=41)
    report = purge(shop, by="ann")
    with shop.state.read() as connection:
        (act,) = list_acts(connection, limit=5)
        (row,) = connection.execute(select(control_log)).all()
    assert (act.act_id, act.kind, act.events, act.done_by, act.done_at) == (
        report.act_id, "purge", 3, "ann", NOW + timedelta(days=41),
    )  # fmt: skip
    detail = json.loads(row.detail)
    assert (row.actor, row.act, detail["events"], detail["keep_days"]) == (
        "ann", "quarantine.purge", {"contract_violation": 2, "not_json": 1}, KEPT,
    )  # fmt: skip
    assert detail["batch"] == batches_of(shop)[0].batch_id


def test_purging_twice_equals_once(shop: Places) -> None:
    after(shop, days=11)
    purge(shop, by="ann")
    before = lake_rows(shop)
    assert purge(shop, by="bob").removed == 0
    assert lake_rows(shop) == before
    with shop.state.read() as connection:
        assert [act.done_by for act in list_acts(connection, limit=5)] == ["ann"]


def test_a_batch_that_runs_again_does_not_bring_back_what_was_removed(shop: Places) -> None:
    after(shop, days=11)
    purge(shop, by="ann")
    before, counted = lake_rows(shop), totals(shop)
    (batch,) = batches_of(shop)
    work_batch(shop, batch)
    assert lake_rows(shop) == before
    assert totals(shop) == counted
    assert is_whole(shop)


def test_a_lost_file_is_rebuilt_without_what_was_removed(shop: Places) -> None:
    after(shop, days=11)
    purge(shop, by="ann")
    before = lake_rows(shop)
    shop.lake.vacuum(QUARANTINED, older_than_hours=0)
    (file,) = shop.lake.path(QUARANTINED).glob("*/*.parquet")
    file.unlink()
    report = verify(shop, rebuild=True, now=shop.clock())
    assert [(damage.table, damage.is_rebuilt) for damage in report.damaged] == [("quarantined_events", True)]
    assert lake_rows(shop) == before
    assert is_whole(shop)


def test_damage_is_never_taken_for_a_purge(shop: Places, tmp_path: Path) -> None:
    (file,) = shop.lake.path(QUARANTINED).glob("*/*.parquet")
    content = file.read_bytes()
    less = tmp_path / "less.parquet"
    with duckdb.connect(":memory:") as connection:
        kept = f"select * from read_parquet('{file}', hive_partitioning = false) where reason = 'not_json'"
        connection.execute(f"copy ({kept}) to '{less}' (format parquet)")
    file.write_bytes(less.read_bytes())
    after(shop, days=41)
    report = purge(shop, by="ann")
    assert report.passed_over == (batches_of(shop)[0].batch_id,)
    assert not verify(shop, rebuild=False, now=shop.clock()).is_sound
    file.write_bytes(content)
    assert purge(shop, by="ann").removed == 3


@pytest.mark.parametrize("point", ["purge.marked", "purge.forgotten", "purge.written"])
def test_dying_at_any_point_brings_nothing_back_and_the_next_purge_finishes(
    shop: Places, tmp_path: Path, point: str
) -> None:
    dismiss(shop, Selection(reason="not_json"), by="ann", why="A writer that stopped half-way.")
    after(shop, days=11)

    def die(passed: str) -> None:
        if passed == point:
            raise Died

    with pytest.raises(Died):
        purge(replace(shop, at=die), by="ann")
    assert waiting(shop) == [("contract_violation", 2)]
    assert shown(shop, closed=True) == ()
    assert verify(shop, rebuild=True, now=shop.clock()).is_sound
    with shop.state.read() as connection:
        assert {act.kind: act.events for act in list_acts(connection, limit=5)} == {"dismissal": 1, "purge": 1}
    purge(shop, by="bob")
    assert len(lake_rows(shop)["quarantined_events"]) == 2
    assert is_whole(shop)
    with shop.state.read() as connection:
        assert {act.kind: act.events for act in list_acts(connection, limit=5)} == {"dismissal": 1, "purge": 1}


def test_what_became_of_removed_events_goes_with_them_and_their_act_goes_on_counting(
    shop: Places, tmp_path: Path
) -> None:
    dismiss(shop, Selection(reason="not_json"), by="ann", why="A writer that stopped half-way.")
    repair(shop, read(shop, tmp_path), by="ann")
    work(shop)
    after(shop, days=11)
    purge(shop, by="ann")
    assert {sample.closed_by for sample in shown(shop, closed=True)} == {"repair dear_prices"}
    after(shop, days=41)
    purge(shop, by="ann")
    with shop.state.read() as connection:
        assert connection.execute(select(func.count()).select_from(quarantine_closings)).scalar_one() == 0
        acts = list_acts(connection, limit=5)
    assert sorted((act.kind, act.events, act.purged) for act in acts) == [
        ("dismissal", 1, 1), ("purge", 1, 1), ("purge", 2, 2), ("repair", 2, 2),
    ]  # fmt: skip
    assert is_whole(shop)


@pytest.mark.parametrize("point", ["reentry.recorded", "reentry.sealed"])
def test_nothing_is_removed_that_enters_again_and_is_not_worked_to_its_end(
    shop: Places, tmp_path: Path, point: str
) -> None:
    def die(passed: str) -> None:
        if passed == point:
            raise Died

    with pytest.raises(Died):
        repair(replace(shop, at=die), read(shop, tmp_path), by="ann")
    after(shop, days=41)
    report = purge(shop, by="bob")
    assert (report.removed, report.entering) == (1, 2)
    finish_reentries(shop)
    assert purge(shop, by="bob").entering == 2
    work(shop)
    assert purge(shop, by="bob").removed == 2
    assert totals(shop).accepted == 3
    assert is_whole(shop)


def test_a_repair_that_read_what_was_removed_meanwhile_changes_nothing(shop: Places, tmp_path: Path) -> None:
    after(shop, days=41)
    calls: list[int] = []

    def clock() -> datetime:
        calls.append(1)
        if len(calls) == 3:  # after the events were read, before they are closed
            assert purge(shop, by="bob").removed == 3
        return shop.clock()

    with pytest.raises(RetryLater, match="removed by retention"):
        repair(replace(shop, clock=clock), read_repair(written(tmp_path), owners=["shop"]), by="ann")
    assert work(shop) == []
    with shop.state.read() as connection:
        assert [act.kind for act in list_acts(connection, limit=5)] == ["purge"]


def test_a_batch_that_somebody_works_on_is_passed_over(shop: Places) -> None:
    (batch,) = batches_of(shop)
    after(shop, days=11)
    with shop.state.write() as connection:
        acquire(connection, f"batch:{batch.batch_id}", "somebody", now=shop.clock(), seconds=60)
    report = purge(shop, by="ann")
    assert (report.removed, report.passed_over) == (0, (batch.batch_id,))
    after(shop, days=12)
    assert purge(shop, by="ann").removed == 1


def test_the_bytes_of_removed_events_leave_the_disk(shop: Places) -> None:
    after(shop, days=41)
    purge(shop, by="ann")
    folder = shop.lake.path(QUARANTINED)
    assert len(list(folder.glob("*/*.parquet"))) == 1  # whoever listed it before may still read it
    assert shop.lake.vacuum(QUARANTINED, older_than_hours=0) == 1
    assert list(folder.glob("*/*.parquet")) == []
    assert is_whole(shop)


def test_without_a_time_in_the_contracts_everything_is_kept(shop: Places) -> None:
    file = shop.contracts_root / "failure_modes.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("quarantine_keep_days: 100\n", ""), encoding="utf-8")
    after(shop, days=4_000)
    assert {group.reason for group in purge(shop, by="ann").groups} == set(KEPT)
    assert [group.removed_from for group in listed(shop)] == []


def test_the_list_says_when_retention_begins_to_remove_a_group(shop: Places) -> None:
    assert {group.reason: group.removed_from for group in listed(shop)} == {
        reason: NOW + timedelta(days=days) for reason, days in KEPT.items()
    }


def test_a_purge_needs_a_name(shop: Places) -> None:
    with pytest.raises(WrongUse, match="nobody's name"):
        purge(shop, by=" ")


def test_the_copy_in_state_is_what_the_lake_holds(shop: Places) -> None:
    after(shop, days=11)
    purge(shop, by="ann")
    (batch,) = batches_of(shop)
    with shop.state.read() as connection:
        found = closed_phase(connection, batch.batch_id, Phase.VALIDATED)
    assert found is not None
    assert (found[0]["quarantined"], found[0]["quarantined:not_json"], found[1]["quarantined_events"].rows) == (3, 1, 2)
