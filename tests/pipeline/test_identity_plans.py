"""History adjudicated again: what a plan says is what apply does, and what was undone is as if it had never been."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some
from sqlalchemy import select

from activation_dagster.commands.printing import plain
from activation_dagster.domain.separations import Pair
from activation_dagster.pipeline.identity_apply import apply_plan, plan_apply
from activation_dagster.pipeline.identity_unmerge import unmerge
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.work import work_batch
from activation_dagster.state.adjudications import all_separations
from activation_dagster.state.engine import open_state
from activation_dagster.state.tables import profile_redirects
from tests.pipeline.identity_stories import (
    CONTRACTS,
    Seen,
    contracts_at,
    cut,
    held,
    land_batches,
    stories,
    unlike,
    write_contract,
)
from tests.pipeline.small_shop import batches_of, lake_rows, places_at, work

SEARCH = settings(
    max_examples=2,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
)


@contextmanager
def environment(folder: Path, url: str, contract: str) -> Generator[Places]:
    """An environment of one batch a segment, under one of the contracts."""
    folder.mkdir(parents=True, exist_ok=True)
    state = open_state(url)
    try:
        yield replace(places_at(folder, state, contracts=contracts_at(folder, contract)), batch_max_bytes=1)
    finally:
        state.close()


LEFT_OUT = ("separated", "blocked_value")
"""Reasons of links that a history without the link has not, or has for want of another identifier."""

Told = list[list[tuple[Seen, int]]]


@pytest.fixture
def new_url(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Callable[[], str]:
    """Makes fresh databases with today's schema."""

    def copy() -> str:
        file = tmp_path_factory.mktemp("state") / "state.db"
        shutil.copy(migrated_sqlite, file)
        return f"sqlite:///{file}"

    return copy


def as_planned(places: Places) -> dict[str, object]:
    return json.loads(json.dumps(plain(plan_apply(places, None))))


@SEARCH
@given(
    some.lists(stories, min_size=15, max_size=30),
    some.sampled_from(sorted(CONTRACTS)),
    some.sampled_from(sorted(CONTRACTS)),
)
def test_what_is_applied_is_what_was_planned_and_what_the_rules_make_of_it_from_the_first_event(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path, told: Told, before: str, after: str
) -> None:
    folder = tmp_path_factory.mktemp("applied")
    for name in ("then", "new"):
        shutil.copy(migrated_sqlite, folder / f"{name}.db")
    batches = cut(told)
    with (
        environment(folder / "then", f"sqlite:///{folder}/then.db", before) as places,
        environment(folder / "new", f"sqlite:///{folder}/new.db", after) as fresh,
    ):
        for one in (places, fresh):
            land_batches(one, batches)
            work(one)
        as_it_was, lake = held(places), lake_rows(places)
        write_contract(places.contracts_root, after)
        plan = as_planned(places)
        assert held(places) == as_it_was
        applied = apply_plan(places, plan, by="bob", why="A better contract.")
        assert {name: list(rows) for name, rows in applied.rows.items()} == plan["rows"]
        from_scratch = held(fresh)
        assert unlike(held(places), from_scratch) == {}
        assert as_planned(places)["is_empty"]
        for batch in batches_of(places):
            work_batch(places, batch)
        assert lake_rows(places) == lake  # as it was known
        assert unlike(held(places), from_scratch) == {}


@SEARCH
@given(some.lists(stories, min_size=15, max_size=30), some.sampled_from(sorted(CONTRACTS)))
def test_a_merge_that_is_undone_is_as_if_it_had_never_been(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path, told: Told, contract: str
) -> None:
    folder = tmp_path_factory.mktemp("undone")
    for name in ("then", "new"):
        shutil.copy(migrated_sqlite, folder / f"{name}.db")
    batches = cut(told)
    with (
        environment(folder / "then", f"sqlite:///{folder}/then.db", contract) as places,
        environment(folder / "new", f"sqlite:///{folder}/new.db", contract) as fresh,
    ):
        land_batches(places, batches)
        work(places)
        with places.state.read() as connection:
            losers = sorted(connection.execute(select(profile_redirects.c.from_profile)).scalars())
        if not losers:
            return
        lake = lake_rows(places)
        for loser in losers[:: max(1, len(losers) // 3)]:
            with places.state.read() as connection:
                lost = select(profile_redirects.c.to_profile).where(profile_redirects.c.from_profile == loser)
                if connection.execute(lost).one_or_none() is None:
                    continue
            tried = unmerge(places, profile=loser, dry_run=True)
            done = unmerge(places, profile=loser, by="bob", why="A tablet of two people.")
            assert done.plan == tried.plan
            assert done.pairs
        with places.state.read() as connection:
            pairs: frozenset[Pair] = all_separations(connection)
        land_batches(fresh, [[seen.without(sorted(pairs)) for seen in batch] for batch in batches])
        work(fresh)
        from_scratch = held(fresh, but_for=LEFT_OUT)
        assert unlike(held(places, but_for=LEFT_OUT), from_scratch) == {}
        for batch in batches_of(places):
            work_batch(places, batch)
        assert lake_rows(places) == lake
        assert unlike(held(places, but_for=LEFT_OUT), from_scratch) == {}
