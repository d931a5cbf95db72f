"""Promise 7, as known: a batch that runs again, whole or one verb of it, changes nothing and sends nothing.

Three batches of a small shop are worked and delivered once. Whatever runs again afterwards, in whatever order, reads
its own batch as it was known: every table of the lake and of state stays what it is, and the far end hears nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest
import yaml
from hypothesis import Phase as Stage
from hypothesis import given, settings
from hypothesis import strategies as some
from sqlalchemy import select

from activation_dagster.domain.batches import Batch, Phase
from activation_dagster.domain.consent import ConsentStatus
from activation_dagster.errors import ContractsInvalid
from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.pipeline.contracts_in_force import contracts_today
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.work import VERBS, work_batch
from activation_dagster.settings import Settings
from activation_dagster.state.batches import all_finished, load_batches
from activation_dagster.state.consent import record_choice
from activation_dagster.state.message_ids import MessageIds
from activation_dagster.state.suppressions import suppress
from activation_dagster.state.tables import sends
from tests.databases import DIALECTS, Postgres
from tests.destinations.far_end import FarEnd
from tests.guarantees.landings import land_everything
from tests.guarantees.shop import NOW, Held, Shop, compared, differences, far_end_in

LATER = NOW + timedelta(days=2)
"""When everything runs again: by now people have left audiences, and the dedupe window is over."""


AS_FOUND = (Stage.explicit, Stage.generate)
"""An example costs seconds, so a failure is shown as it was found and not made smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A shop whose three batches are worked and delivered."""

    shop: Shop
    far_end: FarEnd

    @contextmanager
    def unchanged(self) -> Generator[Places]:
        """Whatever is done inside, as of LATER: no table changes, and nothing is due or sent afterwards."""
        before = self.stands()
        with self.shop.places(clock=lambda: LATER) as places:
            yield places
        delivered = self.shop.deliver(clock=lambda: LATER)
        assert (delivered.claimed, delivered.refused) == (0, 0)
        assert differences(self.stands(), before) == []

    def stands(self) -> Held:
        """State and lake, and what the far end has received how often."""
        arrived = {name: self.far_end.rows(name) for name in ("events", "workflow_entries", "users")}
        return compared(self.shop.state()) | {f"lake.{name}": rows for name, rows in self.shop.lake().items()} | arrived


@pytest.fixture(scope="module", params=DIALECTS)
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    folder = tmp_path_factory.mktemp("done")
    contracts = folder / "contracts"
    shutil.copytree(Settings().contracts, contracts)
    with far_end_in(folder) as far_end, _state_url(request) as state_url:
        shop = Shop(folder=folder, address=far_end.address, state_url=state_url, contracts=contracts)
        land_everything(shop)
        assert len(shop.work()) == 3
        assert shop.deliver().sent > 5
        yield Done(shop=shop, far_end=far_end)


@contextmanager
def _state_url(request: pytest.FixtureRequest) -> Generator[str | None]:
    if request.param == "sqlite":
        yield None
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.lend()
    yield server.url(name)
    server.take_back(name)


def finished(places: Places) -> list[Batch]:
    with places.state.read() as connection:
        return sorted(load_batches(connection, all_finished(connection)), key=lambda batch: batch.position or 0)


def test_each_batch_again_the_last_one_first(done: Done) -> None:
    with done.unchanged() as places:
        for batch in reversed(finished(places)):
            reports = work_batch(places, batch)
            assert all(report.ran_before for report in reports.values())


@settings(max_examples=4, phases=AS_FOUND)
@given(some.lists(some.tuples(some.integers(0, 2), some.sampled_from(list(VERBS))), min_size=1, max_size=3))
def test_any_verb_of_any_batch_alone_in_any_order(done: Done, order: list[tuple[int, Phase]]) -> None:
    with done.unchanged() as places:
        batches = finished(places)
        for number, phase in order:
            with BatchRun(places, batches[number]) as run:
                VERBS[phase](run)


@settings(max_examples=2, phases=AS_FOUND)
@given(some.permutations(list(VERBS)))
def test_all_verbs_of_one_run_in_any_order(done: Done, order: list[Phase]) -> None:
    with done.unchanged() as places, BatchRun(places, finished(places)[1]) as run:
        for phase in order:
            VERBS[phase](run)


def everybody_says_no(places: Places) -> None:
    """What people and destinations did after the batches belongs to no batch that runs again."""
    with places.state.read() as connection:
        people = sorted(connection.execute(select(sends.c.profile_id).distinct()).scalars())
    for person in people[::2]:
        record_choice(
            places.state,
            profile_id=person,
            purpose="marketing",
            channel="email",
            status=ConsentStatus.DENIED,
            decided_at=NOW - timedelta(days=30),  # even where it says that it was so long ago
            source="person:desk",
            proof={},
            now=LATER,
            actor="desk",
        )
    for person in people[1::2]:
        suppress(
            places.state,
            profile_id=person,
            channel="*",
            reason="complaint",
            source="destination:iterable",
            now=LATER,
            actor="iterable",
        )


def the_contracts_change(places: Places) -> None:
    """Other limits, audiences, purposes, workflows and event versions."""
    root = places.contracts_root

    def edit(path: str, change: Callable[[dict[str, object]], object]) -> None:
        content = yaml.safe_load((root / path).read_text(encoding="utf-8"))
        change(content)
        (root / path).write_text(yaml.safe_dump(content), encoding="utf-8")

    before = contracts_today(places).fingerprint
    edit("identity.yaml", lambda found: found["kinds"]["anonymous_id"].update(limit=1))  # pyright: ignore[reportIndexIssue]
    edit("consent.yaml", lambda found: found.update(default_region="united_states"))
    edit("audiences/recent_buyers.yaml", lambda found: found["conditions"][0].update(at_least=2))  # pyright: ignore[reportIndexIssue]
    edit("workflows/panel_invitation.yaml", lambda found: found.update(priority=99))
    edit("events/product_purchased/v1.yaml", lambda found: found.update(required=[]))
    (root / "workflows" / "vip_journey.yaml").unlink()
    assert contracts_today(places).fingerprint != before


def run_everything_again(places: Places) -> None:
    for batch in finished(places):
        work_batch(places, batch)


def test_what_people_said_since_and_ids_that_were_forgotten_change_nothing(done: Done) -> None:
    with done.shop.places(clock=lambda: LATER) as places:
        everybody_says_no(places)
        assert MessageIds(places.state, window=places.dedupe_window).forget(newest_hour=NOW + timedelta(days=30))
    with done.unchanged() as places:
        run_everything_again(places)


def test_batches_run_again_under_the_contracts_of_their_time(done: Done) -> None:
    with done.shop.places(clock=lambda: LATER) as places:
        the_contracts_change(places)
    with done.unchanged() as places:
        run_everything_again(places)


def test_batches_run_again_while_todays_contracts_cannot_be_read(done: Done) -> None:
    before = done.stands()
    file = done.shop.settings.contracts / "consent.yaml"
    sound = file.read_text(encoding="utf-8")
    file.write_text("purposes: [", encoding="utf-8")
    with done.shop.places(clock=lambda: LATER) as places:
        with pytest.raises(ContractsInvalid):
            contracts_today(places)
        work_batch(places, finished(places)[-1])
    file.write_text(sound, encoding="utf-8")
    assert differences(done.stands(), before) == []
