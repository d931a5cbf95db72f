"""What waits is repaired, replayed or dismissed once: it enters by the front door, and nothing counts twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from activation_dagster.domain.batches import Provenance
from activation_dagster.domain.repairs import Selection, narrowed
from activation_dagster.domain.sends import SendStatus
from activation_dagster.errors import RepairInvalid, RetryLater, WrongUse
from activation_dagster.lake.delta import hour_key
from activation_dagster.lake.tables import TABLES, VALIDATED
from activation_dagster.pipeline.contracts_in_force import contracts_today
from activation_dagster.pipeline.dismissal import dismiss, preview_dismissal
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.quarantine import listed, shown
from activation_dagster.pipeline.reentry import ReentryReport, finish_reentries, repair, replay, selection_text
from activation_dagster.pipeline.watch import totals
from activation_dagster.registry.repairs import ReadRepair, read_repair
from activation_dagster.state.quarantine import list_acts
from activation_dagster.state.tables import control_log
from tests.pipeline.small_shop import (
    NOW,
    Clock,
    bad_price,
    batches_of,
    buyer,
    event,
    lake_rows,
    land,
    ledger,
    purchase,
    work,
)

PRICE = """
id: dear_prices
owner: shop
reason_for: A till wrote a word where the price stands.
select: {event: product_purchased, reason: contract_violation, field: properties.price}
steps:
  - map_values: {field: properties.price, values: {dear: 900}}
"""


class Died(Exception):
    """What a test raises at a recovery point."""


def written(folder: Path, text: str = PRICE) -> Path:
    file = folder / "repair.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def read(places: Places, folder: Path, text: str = PRICE) -> ReadRepair:
    return read_repair(written(folder, text), owners=contracts_today(places).owners)


def later(places: Places, **more: int) -> None:
    assert isinstance(places.clock, Clock)
    places.clock.now += timedelta(**(more or {"hours": 2}))


def accepted(places: Places, message_id: str) -> Sequence[tuple[Any, ...]]:
    """The accepted rows of one message: (source, contract, occurred_at)."""
    names = [column.name for column in TABLES["validated_events"].columns]
    rows = [dict(zip(names, row, strict=True)) for row in lake_rows(places)["validated_events"]]
    return [(r["source"], r["contract"], r["occurred_at"]) for r in rows if r["message_id"] == message_id]


def test_a_repair_is_tried_without_changing_anything(places: Places, tmp_path: Path) -> None:
    land(places, bad_price("u1"), bad_price("u2") | {"properties": {"price": "cheap"}})
    work(places)
    before = listed(places)
    report = repair(places, read(places, tmp_path))
    assert (report.selected, report.passing, report.act_id, report.segments) == (2, 1, "", ())
    assert report.broken == {"contract_violation properties.currency: required": 1}
    good, bad = report.samples
    assert [(c.path, c.before, c.after) for c in good.changes] == [("properties.price", "<text of 4>", "<integer>")]
    assert bad.reason == "contract_violation"
    assert listed(places) == before
    assert work(places) == []


def test_repaired_events_enter_by_the_front_door_as_they_were(places: Places, tmp_path: Path) -> None:
    bought = bad_price("u1", at=NOW - timedelta(days=2))
    land(places, bought, purchase("u2"))
    work(places)
    later(places)
    report = repair(places, read(places, tmp_path), by="ann")
    assert (report.passing, len(report.segments)) == (1, 1)
    assert listed(places) == ()
    (batch,) = work(places)
    assert batch.provenance is Provenance.REPAIR
    assert accepted(places, bought["messageId"]) == [
        ("web", "product_purchased", (NOW - timedelta(days=2)).replace(tzinfo=None))
    ]
    (closed,) = shown(places, closed=True)
    assert closed.closed_by == "repair dear_prices"
    assert closed.became == f"{report.segments[0].partition('/')[2]}:0000001"
    found = totals(places)
    assert (found.received, found.accepted, found.quarantined, found.conserved) == (3, 2, 1, True)


def test_a_skewed_clock_is_corrected_by_when_the_original_was_received(places: Places, tmp_path: Path) -> None:
    skewed = bad_price("u1") | {"originalTimestamp": "2025-09-18T12:00:00Z", "sentAt": "2025-09-18T12:05:00Z"}
    land(places, skewed)
    work(places)
    later(places, days=3)
    repair(places, read(places, tmp_path), by="ann")
    work(places)
    ((_, _, occurred_at),) = accepted(places, skewed["messageId"])
    assert occurred_at == (NOW - timedelta(minutes=5)).replace(tzinfo=None)


def test_applying_twice_equals_once(places: Places, tmp_path: Path) -> None:
    land(places, bad_price("u1"), bad_price("u2"))
    work(places)
    later(places)
    first = repair(places, read(places, tmp_path), by="ann")
    assert first.passing == 2
    assert repair(places, read(places, tmp_path), by="bob").selected == 0
    work(places)
    before = lake_rows(places)
    assert repair(places, read(places, tmp_path), by="ann").selected == 0
    assert work(places) == []
    assert lake_rows(places) == before
    with places.state.read() as connection:
        assert [(act.kind, act.name, act.events, act.done_by) for act in list_acts(connection, limit=10)] == [
            ("repair", "dear_prices", 2, "ann")
        ]
        assert connection.execute(select(func.count()).select_from(control_log)).scalar_one() == 1


def test_the_segment_of_a_repair_never_joins_a_live_batch(places: Places, tmp_path: Path) -> None:
    land(places, bad_price("u1"))
    work(places)
    repair(places, read(places, tmp_path), by="ann")
    land(places, purchase("u2"), at=NOW + timedelta(seconds=1))
    land(places, purchase("u3"), at=NOW - timedelta(seconds=1))
    assert sorted(batch.provenance for batch in work(places)) == ["live", "repair"]
    assert totals(places).conserved


def test_what_a_repair_would_send_waits_for_a_named_person(places: Places, tmp_path: Path) -> None:
    person, _, allows = buyer("u1")
    land(places, person, bad_price("u1", at=NOW - timedelta(hours=1)), allows)
    work(places)
    sent = {send.send_key for send in ledger(places)}
    repair(places, read(places, tmp_path), by="ann")
    (batch,) = work(places)
    new = [send for send in ledger(places) if send.send_key not in sent]
    assert {send.batch_id for send in new} == {batch.batch_id}
    assert {(send.status, send.reason) for send in new} == {(SendStatus.HELD, "not_live")}
    assert totals(places).conserved


@pytest.mark.parametrize("days", [0, 30])
def test_an_original_that_was_sent_again_soundly_enters_as_a_duplicate_however_late(
    places: Places, tmp_path: Path, days: int
) -> None:
    bad = bad_price("u1")
    land(places, bad)
    work(places)
    land(places, purchase("u1") | {"messageId": bad["messageId"]})
    work(places)
    later(places, days=days)
    repair(places, read(places, tmp_path), by="ann")
    work(places)
    found = totals(places)
    assert (found.received, found.accepted, found.duplicate, found.quarantined) == (3, 1, 1, 1)
    assert found.conserved


def test_a_repair_is_narrowed_by_time_and_batch_and_it_is_kept_by_what(places: Places, tmp_path: Path) -> None:
    for hours in (30, 3, 0):
        land(places, bad_price(f"u{hours}"), at=NOW - timedelta(hours=hours))
        work(places)
    newest = batches_of(places)[-1].batch_id
    read_once = read(places, tmp_path)
    assert repair(places, read_once, only=Selection(batches=(newest,), seen_before=NOW)).selected == 0
    assert replay(places, Selection(seen_from=NOW - timedelta(hours=3))).selected == 2
    assert preview_dismissal(places, Selection(seen_before=NOW - timedelta(hours=3))).selected == 1
    only = Selection(seen_from=NOW - timedelta(hours=3), seen_before=NOW)
    report = repair(places, read_once, only=only, by="ann")
    assert (report.selected, report.passing) == (1, 1)
    assert repair(places, read_once, only=only, by="ann").selected == 0
    with places.state.read() as connection:
        (act,) = list_acts(connection, limit=10)
        detail = connection.execute(select(control_log.c.detail)).scalar_one()
    assert act.narrowed_to == selection_text(only)
    assert json.loads(detail)["narrowed_to"] == act.narrowed_to
    assert repair(places, read_once, only=Selection(batches=("b0",))).selected == 0
    assert repair(places, read_once).selected == 2


def test_a_file_and_a_command_that_name_different_batches_select_nothing() -> None:
    file = Selection(reason="not_json", batches=("b1", "b2"), seen_from=NOW)
    assert narrowed(file, Selection(batches=("b2", "b3"), seen_from=NOW - timedelta(hours=1))) == Selection(
        reason="not_json", batches=("b2",), seen_from=NOW
    )
    assert narrowed(file, Selection(batches=("b3",))).batches not in ((), ("b1", "b2"), ("b3",))


@pytest.mark.parametrize("days", [2, 400])
def test_what_was_accepted_under_an_old_hour_since_the_original_came_is_found(
    places: Places, tmp_path: Path, days: int
) -> None:
    bad = bad_price("u1")
    land(places, bad)
    work(places)
    later(places, days=2)  # the dedupe window has passed
    land(places, purchase("u1") | {"messageId": bad["messageId"]}, at=NOW - timedelta(days=days))  # a restored copy
    work(places)
    later(places, days=2)
    repair(places, read(places, tmp_path), by="ann")
    work(places)
    assert len(accepted(places, bad["messageId"])) == 1
    assert totals(places).duplicate == 1


def test_looking_for_later_acceptance_reads_no_hour_from_before_the_original(places: Places, tmp_path: Path) -> None:
    for days in (90, 60, 30):
        land(places, purchase("u0"), at=NOW - timedelta(days=days))
    assert isinstance(places.clock, Clock)
    places.clock.now = NOW - timedelta(days=30)
    work(places)
    places.clock.now = NOW
    land(places, bad_price("u1"))
    work(places)
    before = places.lake.source(VALIDATED)
    assert before.count(".parquet") == 3
    for file in (places.lake.path(VALIDATED)).glob("*/*.parquet"):
        file.unlink()  # reading any of them fails
    repair(places, read(places, tmp_path), by="ann")
    work(places)
    assert totals(places).accepted == 4


def test_looking_for_later_acceptance_reads_no_hour_that_the_index_of_message_ids_still_knows(
    places: Places, tmp_path: Path
) -> None:
    """What is repaired within a day reads hardly anything of the lake, and an old event as much as it is old."""
    assert isinstance(places.clock, Clock)
    start = places.clock.now
    bad = bad_price("u1")
    land(places, bad)
    work(places)
    for hour in range(1, 61):
        if hour % 6 == 0:
            land(places, purchase(f"u{hour}"), at=start + timedelta(hours=hour))
    land(places, purchase("u1") | {"messageId": bad["messageId"]}, at=start + timedelta(hours=58))
    places.clock.now = start + timedelta(hours=60)
    work(places)
    files = {
        file: start + timedelta(hours=hour)
        for hour in range(1, 61)
        for file in places.lake.path(VALIDATED).glob(
            f"arrival_hour={hour_key(start + timedelta(hours=hour))}/*.parquet"
        )
    }
    assert len(files) == 11
    known = [file for file, at in files.items() if at >= start + timedelta(hours=60) - places.dedupe_window]
    assert len(known) == 6
    for file in known:
        file.unlink()  # reading any of them fails
    repair(places, read(places, tmp_path), by="ann")
    work(places)
    assert totals(places).duplicate == 1


@pytest.mark.parametrize("point", ["reentry.recorded", "reentry.sealed", "reentry.confirmed"])
def test_dying_at_any_point_loses_nothing_and_doubles_nothing(places: Places, tmp_path: Path, point: str) -> None:
    bad = [bad_price(f"u{number}") for number in range(3)]
    land(places, *bad)
    work(places)

    def die(passed: str) -> None:
        if passed == point:
            raise Died

    with pytest.raises(Died):
        repair(replace(places, at=die), read(places, tmp_path), by="ann")
    later(places, minutes=5)
    work(places)  # the sensor may come before anybody tries again
    again = repair(places, read(places, tmp_path), by="ann")
    assert (again.selected, again.finished) == (0, 0 if point == "reentry.confirmed" else 1)
    assert finish_reentries(places) == 0
    work(places)
    assert [len(accepted(places, one["messageId"])) for one in bad] == [1, 1, 1]
    assert {batch.provenance for batch in batches_of(places)} == {Provenance.LIVE, Provenance.REPAIR}
    found = totals(places)
    assert (found.received, found.accepted, found.quarantined, found.conserved) == (6, 3, 3, True)


def test_two_at_once_close_each_event_once(places: Places, tmp_path: Path) -> None:
    land(places, bad_price("u1"), bad_price("u2"))
    work(places)

    def other_first(passed: str) -> None:
        if passed == "reentry.recorded":
            assert replay(places, Selection(), by="bob").selected == 0

    repair(replace(places, at=other_first), read(places, tmp_path), by="ann")
    work(places)
    assert totals(places).accepted == 2


def test_what_somebody_else_closed_meanwhile_is_not_closed_again(places: Places, tmp_path: Path) -> None:
    land(places, bad_price("u1"))
    work(places)
    calls: list[int] = []
    still = places.clock

    def clock() -> Any:
        calls.append(1)
        if len(calls) == 2:  # after the events were read, before they are closed
            dismiss(places, Selection(event="product_purchased"), by="bob", why="A till that was replaced.")
        return still()

    with pytest.raises(RetryLater, match="closed by somebody else"):
        repair(replace(places, clock=clock), read(places, tmp_path), by="ann")
    assert work(places) == []
    assert [sample.closed_by for sample in shown(places, closed=True)] == ["dismissal"]


def test_a_replay_lets_in_what_todays_contracts_accept(places: Places, tmp_path: Path) -> None:
    import shutil

    coupon = event("track", "u1", at=NOW - timedelta(days=1), event="Coupon Clipped", properties={"code": "X"})
    del coupon["messageId"]
    land(places, coupon, bad_price("u2"))
    work(places)
    assert replay(places, Selection()).broken == {
        "unknown_event": 1,
        "contract_violation properties.price: type number": 1,
    }
    root = tmp_path / "contracts"
    shutil.copytree(places.contracts_root, root)
    folder = root / "events" / "coupon_clipped"
    folder.mkdir()
    shutil.copy(root / "events" / "product_purchased" / "contract.yaml", folder / "contract.yaml")
    (folder / "v1.yaml").write_text("event_name: Coupon Clipped\nversion: v1\nproperties: {code: {type: string}}\n")
    today = replace(places, contracts_root=root)
    later(today)
    report = replay(today, Selection(), by="ann")
    assert (report.kind, report.selected, report.passing) == ("replay", 2, 1)
    (batch,) = work(today)
    assert batch.provenance is Provenance.REPLAY
    (closed,) = shown(today, closed=True)
    assert accepted(today, f"line:{closed.event_id}") == [
        ("web", "coupon_clipped", (NOW - timedelta(days=1)).replace(tzinfo=None))
    ]
    assert replay(today, Selection(), by="ann").passing == 0
    assert totals(today).conserved


def test_dismissing_needs_a_reason_a_name_and_a_selection_and_is_kept(places: Places) -> None:
    land(places, bad_price("u1"), b'{"type": "tra', b'{"type": "tra')
    work(places)
    for wrong in ({"by": "", "why": "x"}, {"by": "ann", "why": " "}):
        with pytest.raises(WrongUse, match="Give both"):
            dismiss(places, Selection(reason="not_json"), **wrong)
    with pytest.raises(WrongUse, match="by no selection"):
        dismiss(places, Selection(), by="ann", why="x")
    tried = preview_dismissal(places, Selection(reason="not_json"))
    assert (tried.selected, tried.by_group, len(tried.samples), tried.act_id) == (2, {"not_json": 2}, 2, "")
    done = dismiss(places, Selection(reason="not_json"), by="ann", why="A writer that stopped half-way.")
    assert (done.selected, done.by_group) == (2, {"not_json": 2})
    assert dismiss(places, Selection(reason="not_json"), by="ann", why="A writer that stopped half-way.").selected == 0
    assert [group.reason for group in listed(places)] == ["contract_violation"]
    assert [(s.closed_by, s.became) for s in shown(places, closed=True)] == [("dismissal", "")] * 2
    with places.state.read() as connection:
        (act,) = list_acts(connection, limit=10)
    assert (act.act_id, act.kind, act.events, act.reason, act.content) == (
        done.act_id, "dismissal", 2, "A writer that stopped half-way.", '{"reason": "not_json"}',
    )  # fmt: skip
    assert totals(places).quarantined == 3


def test_bytes_that_are_no_text_are_repaired_as_text(places: Places, tmp_path: Path) -> None:
    line = json.dumps(purchase("u1", product_id="M@sli")).encode().replace(b"@", b"\xfc")
    land(places, line, b"\xef\xbb\xbf" + json.dumps(purchase("u2")).encode())
    work(places)
    assert {group.reason for group in listed(places)} == {"not_utf8", "not_json"}
    recode = "id: umlauts\nowner: shop\nreason_for: A till writes Latin 1.\nselect: {reason: not_utf8}\n"
    repair(places, read(places, tmp_path, recode + "steps: [recode: {from: latin-1}]\n"), by="ann")
    mark = "id: marks\nowner: shop\nreason_for: A byte order mark.\nselect: {reason: not_json}\n"
    repair(places, read(places, tmp_path, mark + 'steps: [replace_text: {find: "\\ufeff", to: ""}]\n'), by="ann")
    work(places)
    assert totals(places).accepted == 2
    assert listed(places) == ()


def test_trend_counts_the_last_day_and_the_one_before(places: Places) -> None:
    for hours in (0, 1, 30, 100):
        land(places, bad_price("u1"), at=NOW - timedelta(hours=hours))
    work(places)
    (group,) = listed(places)
    assert (group.events, group.last_day, group.day_before) == (4, 2, 1)


def test_values_that_many_share_are_shown_and_rare_ones_are_not(places: Places) -> None:
    rare = bad_price("u") | {
        "properties": {"product_id": "s", "price": "ann@x.example", "quantity": 1, "currency": "USD"}
    }
    land(places, *(bad_price(f"u{number}") for number in range(25)), rare)
    work(places)
    assert [(group.value, group.events) for group in listed(places, by_value=True)] == [('"dear"', 25), (None, 1)]


def test_a_repair_reports_all_its_faults_at_once(places: Places, tmp_path: Path) -> None:
    text = PRICE.replace("owner: shop", "owner: shp").replace("steps:", "steps:\n  - drop: {field: a}") + (
        "  - replace_text: {find: x, to: y}\n"
    )
    with pytest.raises(RepairInvalid) as refused:
        read(places, tmp_path, text)
    assert [fault.path for fault in refused.value.faults] == ["owner", "steps.2"]
    assert "Did you mean 'shop'?" in str(refused.value)


def test_a_report_adds_up(places: Places, tmp_path: Path) -> None:
    land(places, bad_price("u1"), bad_price("u2") | {"properties": {"price": "cheap"}})
    work(places)
    report: ReentryReport = repair(places, read(places, tmp_path), by="ann")
    assert report.selected == report.passing + sum(report.broken.values())
