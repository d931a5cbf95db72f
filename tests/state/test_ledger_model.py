"""The ledger against a plain Python model of it: whatever is done, in any order, both say the same of every send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import delete, select, update

from activation_dagster.domain.consent import ConsentStatus
from activation_dagster.domain.sends import Outcome
from activation_dagster.state.answers import answer, backoff_seconds, recover
from activation_dagster.state.engine import State
from activation_dagster.state.halts import halt, lift
from activation_dagster.state.instants import micros
from activation_dagster.state.sends import release
from activation_dagster.state.suppressions import suppress
from activation_dagster.state.tables import gate_lock, metadata, sends, sequence
from tests.state.examples import (
    ENDPOINTS,
    add_profiles,
    add_send,
    after,
    choose,
    claim_now,
    key_of,
    merge,
    receipt,
)

PEOPLE = st.sampled_from(["p0", "p1", "p2"])
WORKFLOWS = st.sampled_from(["w0", "w1"])
SCOPES = st.sampled_from(["*", "workflow:w0", "channel:email", "destination:iterable", "workflow:other"])
LEASE = 60  # what claim_now asks for


@dataclass(slots=True)
class Row:
    """A send in the model; instants are seconds on the model's clock."""

    name: str
    person: str
    workflow: str
    endpoint: str
    reentry: int | None
    expires: int
    due: float
    status: str
    reason: str = ""
    attempts: int = 0
    token: str = ""
    claimed: int | None = None
    in_doubt: bool = False


class Ledger(RuleBasedStateMachine):
    """Does the same to the ledger and to the model; `state` is set before a run."""

    state: State

    def __init__(self) -> None:
        super().__init__()
        self.clock = 0
        self.rows: list[Row] = []
        self.said: list[tuple[str, int, bool]] = []  # person, second, no
        self.suppressed: set[str] = set()
        self.halted: set[str] = set()
        self.merged = False
        self.claims = 0
        with self.state.write() as connection:
            for table in metadata.tables.values():
                if table not in (sequence, gate_lock):
                    connection.execute(delete(table))
            connection.execute(update(sequence).values(value=0))
            add_profiles(connection, ["p0", "p1", "p2"])
        for person in ("p0", "p1", "p2"):  # or hardly any run would get as far as a message
            self.choose(person, no=False)
            self.intend(person, "w0", "track", -1, 10_000, held=False)
            self.intend(person, "w1", "trigger", 50, 10_000, held=False)

    def same_person(self, one: str, other: str) -> bool:
        return one == other or (self.merged and {one, other} == {"p1", "p2"})

    def by_name(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    @rule(seconds=st.sampled_from([1, 3, 20, 70, 400]))
    def time_passes(self, seconds: int) -> None:
        self.clock += seconds

    @rule(
        person=PEOPLE,
        workflow=WORKFLOWS,
        endpoint=st.sampled_from(["track", "trigger"]),
        reentry=st.sampled_from([None, 50, -1]),
        lasts=st.sampled_from([10, 10_000]),
        held=st.booleans(),
    )
    def intend_one(
        self, person: str, workflow: str, endpoint: str, reentry: int | None, lasts: int, held: bool
    ) -> None:
        self.intend(person, workflow, endpoint, reentry, lasts, held=held)

    def intend(self, person: str, workflow: str, endpoint: str, reentry: int | None, lasts: int, *, held: bool) -> None:
        row = Row(
            name=f"s{len(self.rows)}",
            person=person,
            workflow=workflow,
            endpoint=endpoint,
            reentry=reentry,
            expires=self.clock + lasts,
            due=self.clock,
            status="held" if held else "pending",
            reason="not_live" if held else "",
        )
        self.rows.append(row)
        add_send(
            self.state,
            row.name,
            person,
            workflow_id=workflow,
            endpoint=endpoint,
            reentry_seconds=reentry,
            expires_at=micros(after(row.expires)),
            due_at=micros(after(row.due)),
            status=row.status,
            reason=row.reason,
        )

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def intend_again(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(self.rows))
        add_send(self.state, row.name, row.person, workflow_id=row.workflow, reentry_seconds=row.reentry)

    @rule(person=PEOPLE, no=st.booleans() | st.just(False))
    def choose_again(self, person: str, no: bool) -> None:
        self.choose(person, no=no)

    def choose(self, person: str, *, no: bool) -> None:
        status = ConsentStatus.DENIED if no else ConsentStatus.GRANTED
        choose(self.state, person, status, decided_at=after(self.clock))
        self.said.append((person, self.clock, no))

    @rule(person=PEOPLE)
    def suppress(self, person: str) -> None:
        suppress(
            self.state, profile_id=person, channel="*", reason="bounce", source="d", now=after(self.clock), actor="d"
        )
        self.suppressed.add(person)

    @rule(scope=SCOPES)
    def halt(self, scope: str) -> None:
        halt(self.state, scope, by="ann", why="x", now=after(self.clock))
        self.halted.add(scope)

    @rule()
    def lift_everything(self) -> None:
        for scope in sorted(self.halted):
            lift(self.state, scope, by="ann", now=after(self.clock))
        self.halted.clear()

    @precondition(lambda self: not self.merged)
    @rule()
    def merge(self) -> None:
        with self.state.write() as connection:
            merge(connection, "p2", "p1")
        self.merged = True

    @rule(limit=st.sampled_from([1, 2, 50]))
    def claim(self, limit: int) -> None:
        self.claim_up_to(limit)

    def claim_up_to(self, limit: int) -> None:
        self.claims += 1
        token = f"t{self.claims}"
        claim_now(self.state, now=after(self.clock), limit=limit, token=token)
        if self.halted & {"*", "channel:email", "destination:iterable"}:
            return
        due = [
            row
            for row in self.rows
            if row.status == "pending" and row.due <= self.clock and f"workflow:{row.workflow}" not in self.halted
        ]
        chosen: list[Row] = []
        for row in sorted(due, key=lambda row: (row.due, key_of(row.name)))[:limit]:
            if not any(self.same_person(row.person, other.person) for other in chosen):
                chosen.append(row)
        verdicts = [self.refusal(row) for row in chosen]
        for row, refusal in zip(chosen, verdicts, strict=True):
            if refusal is None:
                row.status, row.reason, row.token, row.claimed = "claimed", "", token, self.clock
                row.attempts += 1
            elif row.in_doubt:
                row.status, row.reason = "unknown", "outcome_unknown"
            else:
                row.status, row.reason = ("expired" if refusal == "expired" else "refused"), refusal

    @rule(outcome=st.sampled_from(list(Outcome)), seconds=st.sampled_from([0, 3, 70]))
    def deliver(self, outcome: Outcome, seconds: int) -> None:
        """Claim all there is and hear the same of each, as one does in an outage or on a good day."""
        self.claim_up_to(50)
        self.clock += seconds
        for row in self.rows:
            if row.status == "claimed" and row.token == f"t{self.claims}":
                self.hear(row, outcome)

    def refusal(self, row: Row) -> str | None:
        if row.expires <= self.clock:
            return "expired"
        if any(self.same_person(row.person, person) for person in self.suppressed):
            return "suppressed_since"
        said = [(second, no) for person, second, no in self.said if self.same_person(row.person, person)]
        if not said or max(said)[1]:
            return "consent_withdrawn"
        if row.reentry is None:
            return None
        for other in self.rows:
            may_have_arrived = other.status in ("claimed", "sent", "unknown") or other.in_doubt
            recent = other.claimed is not None and (row.reentry < 0 or other.claimed > self.clock - row.reentry)
            same = other.workflow == row.workflow and self.same_person(other.person, row.person)
            if other is not row and same and may_have_arrived and recent:
                return "inside_reentry"
        return None

    @precondition(lambda self: any(row.token for row in self.rows))
    @rule(data=st.data(), outcome=st.sampled_from(list(Outcome)))
    def answer(self, data: st.DataObject, outcome: Outcome) -> None:
        self.hear(data.draw(st.sampled_from([row for row in self.rows if row.token])), outcome)

    def hear(self, row: Row, outcome: Outcome) -> None:
        endpoint = ENDPOINTS["iterable", row.endpoint]
        answer(self.state, row.token, [receipt(row.name, outcome)], now=after(self.clock), endpoint=endpoint)
        if row.status != "claimed":
            return  # it was answered or taken back before: a late answer says nothing
        match outcome:
            case Outcome.DELIVERED:
                row.status, row.in_doubt = "sent", False
            case Outcome.REJECTED:
                row.status = "unknown" if row.in_doubt else "rejected"
            case Outcome.RETRY:
                row.status, row.due = "pending", self.clock + backoff_seconds(row.attempts)
            case Outcome.STOPPED:
                row.status, row.due = "pending", self.clock + 300
            case Outcome.IN_DOUBT:
                row.in_doubt = True
                row.status = "pending" if row.endpoint == "track" else "unknown"
                if row.status == "pending":
                    row.due = self.clock + backoff_seconds(row.attempts)

    @rule()
    def recover(self) -> None:
        recover(self.state, now=after(self.clock), endpoints=ENDPOINTS)
        for row in self.rows:
            if row.status == "claimed" and row.claimed is not None and row.claimed + LEASE <= self.clock:
                row.in_doubt, row.due = True, self.clock
                row.status = "pending" if row.endpoint == "track" else "unknown"

    @rule(workflow=WORKFLOWS)
    def release(self, workflow: str) -> None:
        release(self.state, by="ann", now=after(self.clock), workflow=workflow)
        for row in self.rows:
            if row.status == "held" and row.workflow == workflow:
                row.status, row.due = "pending", self.clock

    @invariant()
    def both_say_the_same(self) -> None:
        columns = (sends.c.decision_id, sends.c.status, sends.c.in_doubt, sends.c.attempts, sends.c.due_at)
        with self.state.read() as connection:
            found = {row[0]: tuple(row[1:]) for row in connection.execute(select(*columns))}
        expected: dict[str, Any] = {
            f"d-{row.name}": (row.status, row.in_doubt, row.attempts, micros(after(row.due))) for row in self.rows
        }
        assert found == expected


def test_the_ledger_does_what_its_model_does(state: State) -> None:
    machine = type("LedgerHere", (Ledger,), {"state": state})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=60, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow]),
    )
