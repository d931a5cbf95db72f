"""Batches, noes, undone merges and other rules in any order: whoever said no keeps it, whoever they turn out to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as some
from sqlalchemy import select

from activation_dagster.domain.consent import ConsentStatus, current_choice
from activation_dagster.pipeline.identity import parts
from activation_dagster.pipeline.identity.apply import apply_plan
from activation_dagster.pipeline.identity.plan import find_differences
from activation_dagster.pipeline.identity.unmerge import unmerge
from activation_dagster.pipeline.places import Places
from activation_dagster.state.consent import record_choice, records_of
from activation_dagster.state.profile_identifiers import held_by
from activation_dagster.state.subjects import cluster_of
from activation_dagster.state.suppressions import active_for, suppress
from activation_dagster.state.tables import identifiers, profile_redirects, profiles
from tests.pipeline.identity_stories import CONTRACTS, Seen, land_batches, sightings, write_contract
from tests.pipeline.small_shop import NOW, work
from tests.pipeline.test_identity_plans import SEARCH, as_planned, environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing that happens: events come, a person records a no, two are told apart, other rules come into force."""

    kind: Literal["batch", "no", "suppress", "unmerge", "rules"]
    seen: tuple[Seen, ...] = ()
    place: int = 0
    contract: str = ""


batch = some.builds(Act, kind=some.just("batch"), seen=some.lists(sightings, min_size=3, max_size=8).map(tuple))
no = some.builds(Act, kind=some.sampled_from(["no", "suppress"]), place=some.integers(0, 20))
undo = some.builds(Act, kind=some.just("unmerge"), place=some.integers(0, 20))
rules = some.builds(Act, kind=some.just("rules"), contract=some.sampled_from(sorted(CONTRACTS)))
histories = some.builds(
    lambda first, *more: [*first, *more[0]],
    some.tuples(batch, no),
    some.lists(some.one_of(batch, batch, no, undo, undo, rules, rules), min_size=5, max_size=10),
)


@dataclass(slots=True, kw_only=True)
class Office:
    """Whoever does these things to an environment, and remembers who said no."""

    places: Places
    batches: int = 0
    said: list[tuple[frozenset[bytes], str]] = field(default_factory=list[tuple[frozenset[bytes], str]])

    def do(self, act: Act) -> None:
        match act.kind:
            case "batch":
                land_batches(self.places, [act.seen], first=self.batches)
                self.batches += 1
                work(self.places)
            case "no" | "suppress":
                self._say_no(act)
            case "unmerge":
                self._unmerge(act)
            case "rules":
                write_contract(self.places.contracts_root, act.contract)
                apply_plan(self.places, as_planned(self.places), by="bob", why="Other rules.")
                assert as_planned(self.places)["is_empty"]

    def _one(self, act: Act, column: object) -> str | None:
        with self.places.state.read() as connection:
            found = sorted(connection.execute(select(column)).scalars())  # pyright: ignore[reportArgumentType, reportCallIssue]
        return found[act.place % len(found)] if found else None

    def _say_no(self, act: Act) -> None:
        whose = self._one(act, profiles.c.profile_id)
        if whose is None:
            return
        with self.places.state.read() as connection:
            person = cluster_of(connection, [whose])[whose]
            keys = frozenset(bytes(row[0]) for row in held_by(connection, person.members, lambda c: (c.key,)))
        at, state = NOW + len(self.said) * timedelta(seconds=1), self.places.state
        if act.kind == "suppress":
            suppress(state, profile_id=whose, channel="push", reason="complaint", source="call", now=at, actor="bob")
        else:
            record_choice(
                state,
                profile_id=whose,
                purpose="marketing",
                channel="email",
                status=ConsentStatus.DENIED,
                decided_at=at,
                source="person:bob",
                proof={},
                now=at,
                actor="bob",
            )
        self.said.append((keys, act.kind))

    def _unmerge(self, act: Act) -> None:
        loser = self._one(act, profile_redirects.c.from_profile)
        if loser is None:
            return
        with self.places.state.read() as connection:
            if not list(held_by(connection, [loser], lambda c: (c.key,))):
                return  # a profile that nobody is any more: there is nothing to undo
        unmerge(self.places, profile=loser, by="bob", why="They are two.")
        assert find_differences(self.places, rules=None).is_empty

    def every_no_is_kept(self) -> None:
        """Whoever has an identifier of who said no has that no; one that nobody has, comes anew if it comes again."""
        with self.places.state.read() as connection:
            owner_of = {
                bytes(row[0]): row[1] for row in connection.execute(select(identifiers.c.key, identifiers.c.profile_id))
            }
            self.said = [(keys & owner_of.keys(), kind) for keys, kind in self.said]
            for keys, kind in self.said:
                for owner in {owner_of[key] for key in keys}:
                    members = cluster_of(connection, [owner])[owner].members
                    if kind == "suppress":
                        assert any(
                            "push" in {one.channel for one in hard} for hard in active_for(connection, members).values()
                        )
                    else:
                        records = [one for found in records_of(connection, members).values() for one in found]
                        choice = current_choice(records, purpose="marketing", channel="email")
                        assert choice is not None
                        assert choice.status is ConsentStatus.DENIED


@SEARCH
@given(histories, some.sampled_from(sorted(CONTRACTS)))
def test_whoever_said_no_keeps_it_whoever_they_turn_out_to_be(
    tmp_path_factory: pytest.TempPathFactory, new_state_url: Callable[[], str], acts: list[Act], contract: str
) -> None:
    with (
        environment(tmp_path_factory.mktemp("acts"), new_state_url(), contract) as places,
        pytest.MonkeyPatch.context() as changed,
    ):
        changed.setattr(parts, "MOST_IN_A_PART", 3)
        office = Office(places=places)
        for act in acts:
            office.do(act)
            office.every_no_is_kept()
