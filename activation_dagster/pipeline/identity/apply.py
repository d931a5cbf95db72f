"""Applying: history is adjudicated again in state, in chunks, and whoever dies on the way is finished by the next.

What is to be written follows from landing, the lake, the contracts and the acts in state alone, so whoever goes on
computes it again and writes what is left. Facts go first, then who is who with what was chosen, whole people in one
transaction and under their locks, and last the ledger: as long as any of it is missing, it is found to be missing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Table, delete, select

from activation_dagster.domain.consent import ConsentStatus
from activation_dagster.domain.identifiers import IdentityRules
from activation_dagster.domain.links import LinkDecision
from activation_dagster.errors import LeaseHeld, WrongUse
from activation_dagster.pipeline.contracts_in_force import contracts_in_force, contracts_named
from activation_dagster.pipeline.identity.differences import (
    Change,
    Differences,
    Key,
    Row,
    copied_no,
    copied_suppression,
)
from activation_dagster.pipeline.identity.plan import (
    FORMAT,
    IdentityPlan,
    find_differences,
    plan_of,
    rules_digest,
)
from activation_dagster.pipeline.places import Places
from activation_dagster.state.adjudications import (
    Adjudication,
    begin,
    finish,
    open_adjudication,
    unfinished_position,
)
from activation_dagster.state.batches import keep_contract_set
from activation_dagster.state.bulk import insert_new, select_in, update_by_key
from activation_dagster.state.fencing import FencedState
from activation_dagster.state.former import add_rows, end_rows, keep_former
from activation_dagster.state.instants import micros
from activation_dagster.state.leases import Lease, acquire, release, renew
from activation_dagster.state.profile_identifiers import keep_order
from activation_dagster.state.subjects import lock_subjects
from activation_dagster.state.suppressions import COLUMNS as SUPPRESSION_COLUMNS
from activation_dagster.state.tables import (
    activity,
    companions,
    consent_records,
    identifiers,
    identity_conflicts,
    links,
    membership_changes,
    profile_redirects,
    profiles,
    suppressions,
    trait_sayings,
    traits,
)

ROWS_AT_ONCE = 500
"""Rows that one transaction ends or adds, so that SQLite's write lock is not held long."""

WAIT_SECONDS = 60.0
"""How long we wait for the batch in hand, if there is one."""

NAP_SECONDS = 0.2

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What an adjudication wrote: the act's state sequence, and by table how many rows ended and were added.

    `is_resumed`: somebody had begun it, and died.
    """

    seq: int
    rows: Mapping[str, tuple[int, int]]
    is_resumed: bool


@dataclass(slots=True, kw_only=True)
class Hand:
    """The environment in hand: no batch resolves meanwhile. `beat` prolongs the lease, and raises LeaseLost."""

    places: Places
    lease: Lease
    state: FencedState

    def beat(self) -> None:
        with self.places.state.write() as connection:
            self.lease = renew(connection, self.lease, now=self.places.clock(), seconds=self.places.lease_seconds)


@contextmanager
def environment_in_hand(places: Places, *, wait_seconds: float = WAIT_SECONDS) -> Generator[Hand]:
    """Hold the environment between two batches. Raises LeaseHeld where a batch is not finished after a while."""
    give_up_at = time.monotonic() + wait_seconds
    holder = f"{places.holder} (identity)"
    while True:
        try:
            with places.state.write() as connection:
                now = places.clock()
                lease = acquire(connection, "environment", holder, now=now, seconds=places.lease_seconds)
                waiting = unfinished_position(connection)
                if waiting is not None:
                    raise LeaseHeld(
                        f"Batch {waiting} is not finished, in the batches of state, and history can only be "
                        "adjudicated again between two batches. Finish it with `activation work`, and try again."
                    )
            break
        except LeaseHeld:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(NAP_SECONDS)
    hand = Hand(places=places, lease=lease, state=places.state)  # pyright: ignore[reportArgumentType]
    hand.state = FencedState(places.state, leases=lambda: [hand.lease], clock=places.clock)
    try:
        yield hand
    finally:
        with places.state.write() as connection:
            release(connection, hand.lease)


# -- from a plan -------------------------------------------------------------------------------------------------------


def read_plan(file: Path) -> Mapping[str, Any]:
    """A plan as `identity plan --out` wrote it. Raises WrongUse."""
    try:
        said: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WrongUse(
            f"The plan cannot be read ({type(error).__name__}), in {file}. "
            "Write one with `activation identity plan --out FILE`."
        ) from error
    plan = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
    if plan.get("format") != FORMAT or plan.get("act") != "apply":
        raise WrongUse(
            f"The file is no plan of this release, in {file}. Write one with `activation identity plan --out FILE`."
        )
    return plan


def apply_plan(places: Places, plan: Mapping[str, Any], *, by: str, why: str) -> Applied:
    """Do what a plan says, in somebody's name. Raises WrongUse where rules or state are no longer what it was made on.

    The rules must be those of today's contracts, because later batches go by those.
    """
    if plan["environment"] != places.environment:
        raise WrongUse(
            f"The plan was made for the environment '{plan['environment']}', and this one is '{places.environment}', "
            "in the plan's file. Set ACTIVATION_ENVIRONMENT, or plan here."
        )
    force = contracts_in_force(places)
    rules = force.contracts.identity
    if rules_digest(rules) != plan["rules"]:
        raise WrongUse(
            f"The plan was made under other identity rules ({plan['rules_version']}) than the contracts in force "
            f"({rules.version}), in contracts/identity.yaml. Put the rules there, and plan again."
        )
    with environment_in_hand(places) as hand:
        resumed = finish_open(hand)
        found = find_differences(places, rules=rules, beat=hand.beat)
        if found.is_empty and resumed is not None:
            return resumed
        if found.digest != plan["fingerprint"]:
            raise WrongUse(
                f"State moved on since the plan was made: its newest batch then was at {plan['until']} and now is at "
                f"{found.until}, and other rows would change, in the batches of state. Plan again, and apply that."
            )
        with hand.state.write() as connection:
            keep_contract_set(connection, force.contracts.fingerprint, force.files, now=places.clock())
            adjudication = begin(
                connection,
                act="apply",
                contract_set=force.contracts.fingerprint,
                pairs={},
                by=by,
                why=why,
                now=places.clock(),
                detail={"plan": plan["fingerprint"], "rules_version": rules.version, "until": found.until},
            )
        places.at("identity.begun")
        return write_differences(hand, found, adjudication)


def finish_adjudication(places: Places) -> Applied | None:
    """Finish what somebody began and died over; None where nothing is to be finished. Raises LeaseHeld, LeaseLost."""
    with places.state.read() as connection:
        if open_adjudication(connection) is None:
            return None
    with environment_in_hand(places, wait_seconds=0) as hand:  # who applies is at work: whoever asked asks again
        return finish_open(hand)


def finish_open(hand: Hand) -> Applied | None:
    """`finish_adjudication` with the environment in hand already."""
    with hand.places.state.read() as connection:
        adjudication = open_adjudication(connection)
    if adjudication is None:
        return None
    rules = None
    if adjudication.contract_set:
        rules = contracts_named(hand.places, adjudication.contract_set).identity
    found = find_differences(hand.places, rules=rules, beat=hand.beat)
    return replace(write_differences(hand, found, adjudication), is_resumed=True)


def plan_apply(places: Places, rules: IdentityRules | None, *, reveal: bool = False) -> IdentityPlan:
    """What `apply` would do under some rules, or under today's contracts; nothing is written."""
    chosen = contracts_in_force(places).contracts.identity if rules is None else rules
    found = find_differences(places, rules=chosen)
    return plan_of(places, found, act="apply", rules=chosen, reveal=reveal)


# -- writing -----------------------------------------------------------------------------------------------------------


def write_differences(hand: Hand, found: Differences, adjudication: Adjudication) -> Applied:
    """Write what differs, known since the adjudication, and close it."""
    seq, point = adjudication.seq, hand.places.at
    decided_at = micros(adjudication.started_at)
    for table in (traits, trait_sayings, activity, membership_changes):
        _write_table(hand, table, found.changes[table.name], seq)
        point("identity.facts")
    _write_profiles(hand, found, seq)
    point("identity.profiles")
    _write_people(hand, found, seq, point)
    for table in (companions, links):
        change = found.changes[table.name]
        if table is links:
            dated = {key: (*row[:-1], decided_at) for key, row in change.added.items()}
            change = Change(ended=change.ended, added=dated)
        _write_table(hand, table, change, seq)
        point("identity.graph")
    for waiting in _chunks(found.settled, ROWS_AT_ONCE):  # somebody's now: they wait for nothing any more
        with hand.state.write() as connection:
            connection.execute(delete(identity_conflicts).where(identity_conflicts.c.event_id.in_(waiting)))
    with hand.state.write() as connection:
        finish(connection, seq, now=hand.places.clock())
    point("identity.finished")
    rows = {
        name: (len(change.ended), len(change.added))
        for name, change in found.changes.items()
        if change.ended or change.added
    }
    return Applied(seq=seq, rows=rows, is_resumed=False)


def _chunks(of: Iterable[T], size: int) -> Generator[list[T]]:
    waiting = list(of)
    for start in range(0, len(waiting), size):
        yield waiting[start : start + size]


def _write_table(hand: Hand, table: Table, change: Change, seq: int) -> None:
    for keys in _chunks(sorted(change.ended | change.added.keys(), key=repr), ROWS_AT_ONCE):
        hand.beat()
        with hand.state.write() as connection:
            _write_rows(connection, table, change, keys, seq)


def _write_rows(connection: Connection, table: Table, change: Change, keys: Sequence[Key], seq: int) -> None:
    end_rows(connection, table, [key for key in keys if key in change.ended], seq=seq)
    added = [change.added[key] for key in keys if key in change.added]
    if table is links:
        keep_order(connection, [(row[3], row[1], row[0]) for row in added if row[4] == LinkDecision.ACCEPTED.value])
    if table is identifiers:  # whose links are written later
        keep_order(connection, [(row[3], row[0], row[5]) for row in added])
    add_rows(connection, table, added, seq=seq)


def _write_profiles(hand: Hand, found: Differences, seq: int) -> None:
    """Profiles are changed where they stand: their rows are what others wait for, and a row that went could not be."""
    change = found.changes[profiles.name]
    for keys in _chunks(sorted(change.ended | change.added.keys()), ROWS_AT_ONCE):
        hand.beat()
        with hand.state.write() as connection:
            lock_subjects(connection, [key[0] for key in keys])
            changed = [key for key in keys if key in change.ended and key in change.added]
            keep_former(connection, profiles, changed, seq=seq)
            columns = ("created_seq", "created_rank", "first_key", "created_by", "known_seq")
            update_by_key(connection, profiles, "profile_id", columns, [(*change.added[key], seq) for key in changed])
            add_rows(connection, profiles, [change.added[key] for key in keys if key not in change.ended], seq=seq)


_IN_ONE_GO = ((consent_records, 1), (profile_redirects, 0), (identifiers, 3))
"""What of a person is written in one transaction, in this order, and where in a row its profile stands."""


@dataclass(slots=True, kw_only=True)
class _Person:
    """What is written in one go of one component: profiles to lock, and keys of rows by table."""

    members: list[str] = field(default_factory=list[str])
    heads: list[str] = field(default_factory=list[str])
    keys: dict[str, list[Key]] = field(default_factory=lambda: {table.name: [] for table, _ in _IN_ONE_GO})
    suppressions: list[Row] = field(default_factory=list[Row])

    @property
    def size(self) -> int:
        """How many rows are written."""
        return sum(map(len, self.keys.values())) + len(self.suppressions)


def _write_people(hand: Hand, found: Differences, seq: int, point: Callable[[str], None]) -> None:
    """Write who is who and what was chosen, whole people in one go: what was said meanwhile is copied to every part."""
    people: dict[int, _Person] = {}

    def person(profile: str) -> _Person:
        return people.setdefault(found.members[profile], _Person())

    losers = found.new[profile_redirects.name].by_key
    for profile in found.members:
        one = person(profile)
        one.members.append(profile)
        if (profile,) not in losers:
            one.heads.append(profile)
    for table, place in _IN_ONE_GO:
        change, old = found.changes[table.name], found.old[table.name].by_key
        for key in sorted(change.ended | change.added.keys()):
            row = change.added.get(key) or old[key]
            person(row[place]).keys[table.name].append(key)
    for row in found.copied_suppressions:
        person(row[1]).suppressions.append(row)
    for some in _together([one for _, one in sorted(people.items()) if one.size]):
        hand.beat()
        with hand.state.write() as connection:
            lock_subjects(connection, [member for one in some for member in one.members])
            insert_new(connection, suppressions, SUPPRESSION_COLUMNS, [row for one in some for row in one.suppressions])
            _copy_late_noes(connection, some, since=found.spoken_until, seq=seq)
            for table, _ in _IN_ONE_GO:
                keys = [key for one in some for key in one.keys[table.name]]
                _write_rows(connection, table, found.changes[table.name], keys, seq)
        point("identity.people")


def _together(people: Iterable[_Person]) -> Generator[list[_Person]]:
    """People in lists of no more rows than one transaction should write, unless one alone has more."""
    some: list[_Person] = []
    rows = 0
    for one in people:
        if some and rows + one.size > ROWS_AT_ONCE:
            yield some
            some, rows = [], 0
        some.append(one)
        rows += one.size
    if some:
        yield some


def _copy_late_noes(connection: Connection, people: Iterable[_Person], *, since: int, seq: int) -> None:
    """A *no* that was said while we computed was said of everybody that the person was: every part gets it."""
    heads = {member: one.heads for one in people for member in one.members}
    columns = [column for column in consent_records.columns if column.name != "known_seq"]
    said = select(*columns).where(consent_records.c.seq > since, consent_records.c.status == ConsentStatus.DENIED.value)
    copies: list[Row] = []
    for row in select_in(connection, said, consent_records.c.profile_id, heads):
        copies += [copied_no(row, head) for head in heads[row[1]]]
    add_rows(connection, consent_records, copies, seq=seq)
    hard = select(*(suppressions.c[name] for name in SUPPRESSION_COLUMNS)).where(suppressions.c.seq > since)
    found: list[Row] = []
    for row in select_in(connection, hard, suppressions.c.profile_id, heads):
        found += [copied_suppression(row, head) for head in heads[row[1]]]
    insert_new(connection, suppressions, SUPPRESSION_COLUMNS, found)
