"""Promise 3: a person's *no* that committed before the claim is never overrun, wherever in the claim it comes.

The claim is stopped before each of its statements in turn, and a second connection says *no* in every way there is.
Either the *no* commits while the claim stands still, and then nothing is claimed; or it waits, and then it commits
after the claim did.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import event

from activation_dagster.domain.consent import ConsentStatus
from activation_dagster.domain.sends import SendStatus
from activation_dagster.state.consent import insert_choices, record_id
from activation_dagster.state.engine import State, open_state
from activation_dagster.state.gate import Claim
from activation_dagster.state.halts import halt
from activation_dagster.state.instants import micros
from activation_dagster.state.subjects import lock_subjects
from activation_dagster.state.suppressions import suppress
from tests.state.examples import (
    NOW,
    add_send,
    after,
    choose,
    claim_now,
    key_of,
    keys,
    merge,
    people,
    send_of,
)

PATIENCE_SECONDS = 0.15
"""How long a *no* may try while the claim stands still. Too short can only make a test say less, never fail."""


def consent_denied(state: State) -> None:
    choose(state, "p1", ConsentStatus.DENIED, decided_at=NOW)


def consent_denied_under_another_profile(state: State) -> None:
    choose(state, "p0", ConsentStatus.DENIED, decided_at=NOW)  # p0 was merged into p1 long ago


def consent_denied_in_a_batch(state: State) -> None:
    identity = record_id(
        source="e1",
        profile_id="p1",
        purpose="marketing",
        channel="email",
        status=ConsentStatus.DENIED,
        decided_at=NOW,
    )
    with state.write() as connection:
        insert_choices(connection, [(identity, "p1", "marketing", "email", "denied", micros(NOW), 99, "e1", "{}")])


def suppressed(state: State) -> None:
    suppress(state, profile_id="p1", channel="*", reason="complaint", source="destination:x", now=NOW, actor="x")


def halted(state: State) -> None:
    halt(state, "workflow:welcome", by="ann", why="wrong text", now=NOW)


def merged_with_somebody_who_said_no(state: State) -> None:
    with state.write() as connection:
        lock_subjects(connection, ["p1", "p2"])
        merge(connection, "p2", "p1", seq=50)


WAYS_TO_SAY_NO = [
    consent_denied,
    consent_denied_under_another_profile,
    consent_denied_in_a_batch,
    suppressed,
    halted,
    merged_with_somebody_who_said_no,
]


def prepare(state: State) -> None:
    """p1, once p0, said yes and has a send due; p2 said no."""
    people(state, "p0", "p1", "p2")
    choose(state, "p2", ConsentStatus.DENIED, decided_at=NOW)
    with state.write() as connection:
        merge(connection, "p0", "p1")
    add_send(state, "a", "p1", reentry_seconds=-1)


@pytest.fixture
def ready(state: State) -> State:
    """p1, once p0, said yes and has a send due; p2 said no."""
    prepare(state)
    return state


class Standstill:
    """A claim in a thread of its own that stops before its `at`-th statement until it is let go."""

    def __init__(self, url: str, at: int) -> None:
        self._url = url
        self._at = at
        self._seen = 0
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self.finished = threading.Event()
        self.claimed: Claim | None = None
        self.statement = ""
        self._thread = threading.Thread(target=self._run)

    def _before(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        self._seen += 1
        if self._seen == self._at:
            self.statement = statement
            self.reached.set()
            self.go_on.wait(30)

    def _run(self) -> None:
        state = open_state(self._url)
        event.listen(state._writers, "before_cursor_execute", self._before)
        try:
            self.claimed = claim_now(state)
        finally:
            state.close()
            self.finished.set()
            self.reached.set()

    def __enter__(self) -> Standstill:
        self._thread.start()
        assert self.reached.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._thread.join(30)
        assert not self._thread.is_alive()


@contextmanager
def trying(act: Callable[[], object]) -> Generator[threading.Event]:
    """Run `act` in a thread; the event says that it has committed. Leaving waits for it."""
    done = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - a thread's failure must reach the test
            failures.append(error)
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield done
    finally:
        thread.join(30)
        assert failures == []


@pytest.mark.parametrize("say_no", WAYS_TO_SAY_NO)
def test_a_no_is_never_overrun_wherever_in_the_claim_it_comes(
    new_state_url: Callable[[], str], say_no: Callable[[State], None]
) -> None:
    waited = 0
    for at in range(1, 100):  # the claim has some ten statements; the loop ends when it has no more
        url = new_state_url()
        state = open_state(url)
        prepare(state)
        with Standstill(url, at) as claiming, trying(lambda state=state: say_no(state)) as committed:
            was_first = not claiming.finished.is_set() and committed.wait(PATIENCE_SECONDS)
            claiming.go_on.set()
        status = send_of(state, "a").status
        state.close()
        assert claiming.claimed is not None
        if not claiming.statement:  # the claim ended before it had so many statements
            assert status is SendStatus.CLAIMED
            assert at > 4
            assert waited > 0
            return
        if was_first:
            assert status in (SendStatus.REFUSED, SendStatus.PENDING), f"overrun before: {claiming.statement}"
        elif claiming.claimed.claimed:
            waited += 1
            assert status is SendStatus.CLAIMED
    pytest.fail("the claim never ended")


@pytest.mark.parametrize("say_no", WAYS_TO_SAY_NO)
def test_a_no_that_is_being_written_is_waited_for_or_passed_by(
    ready: State, state_url: str, say_no: Callable[[State], None]
) -> None:
    hold, go_on = threading.Event(), threading.Event()

    def say_no_slowly() -> None:
        slow = open_state(state_url)

        def before_commit(_connection: object) -> None:
            hold.set()
            go_on.wait(30)

        event.listen(slow._writers, "commit", before_commit)
        try:
            say_no(slow)
        finally:
            slow.close()

    claims: list[Claim] = []
    with trying(say_no_slowly):
        assert hold.wait(30)
        claiming = threading.Thread(target=lambda: claims.append(claim_now(ready)))
        claiming.start()
        claiming.join(PATIENCE_SECONDS)
        go_on.set()
    claiming.join(30)
    assert claims[0].claimed == ()
    assert claim_now(ready, token="t2").claimed == ()


@pytest.mark.parametrize("dialect", ["postgresql"])  # SQLite has one writer at a time, whoever it writes about
def test_a_claim_does_not_wait_for_another_persons_slow_no(ready: State, dialect: str) -> None:
    people(ready, "p3")
    add_send(ready, "b", "p3")
    with ready.write() as connection:
        lock_subjects(connection, ["p1"])
        claimed = claim_now(ready)
    assert keys(claimed) == [key_of("b")]
    assert claimed.waiting == 1
    assert keys(claim_now(ready, token="t2")) == [key_of("a")]


def test_many_claims_of_one_person_at_once_send_one_message(ready: State) -> None:
    add_send(ready, "b", "p0", reentry_seconds=-1)  # the same person under its former name, the same workflow
    claims: list[Claim] = []
    threads = [
        threading.Thread(target=lambda token=token: claims.append(claim_now(ready, token=token)))
        for token in ("t1", "t2", "t3", "t4")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    claims.append(claim_now(ready, token="t5"))
    assert len([send for one in claims for send in one.claimed]) == 1
    assert {send_of(ready, "a").status, send_of(ready, "b").status} == {SendStatus.CLAIMED, SendStatus.REFUSED}


def test_two_claims_never_share_a_send_wherever_in_the_one_the_other_comes(new_state_url: Callable[[], str]) -> None:
    for at in range(1, 100):
        url = new_state_url()
        state = open_state(url)
        prepare(state)
        others: list[Claim] = []
        with (
            Standstill(url, at) as claiming,
            trying(lambda state=state, others=others: others.append(claim_now(state, token="t2"))) as committed,
        ):
            committed.wait(PATIENCE_SECONDS)
            claiming.go_on.set()
        token = send_of(state, "a").claim_token
        state.close()
        assert claiming.claimed is not None
        assert len(claiming.claimed.claimed) + len(others[0].claimed) == 1, f"shared before: {claiming.statement}"
        assert token == ("t1" if claiming.claimed.claimed else "t2")
        if not claiming.statement:
            return
    pytest.fail("the claim never ended")


def claim_everything(url: str, token: str, results: multiprocessing.Queue[list[str]]) -> None:
    """What each claiming process does (module level, so that a spawned process finds it)."""
    state = open_state(url)
    claimed: list[str] = []
    empty = 0
    while empty < 20:
        found = claim_now(state, limit=7, token=f"{token}-{len(claimed)}")
        claimed += keys(found)
        empty = 0 if found.claimed else empty + 1
        if not found.claimed:
            time.sleep(0.005)
    state.close()
    results.put(claimed)


def test_many_processes_claim_each_send_exactly_once(state: State, state_url: str) -> None:
    names = [f"{n:03}" for n in range(200)]
    people(state, *(f"p{name}" for name in names))
    for name in names:
        add_send(state, name, f"p{name}")
    spawn = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[list[str]] = spawn.Queue()
    processes = [spawn.Process(target=claim_everything, args=(state_url, f"c{n}", results)) for n in range(3)]
    for process in processes:
        process.start()
    claimed = [key for _ in processes for key in results.get(timeout=60)]
    for process in processes:
        process.join()
    assert sorted(claimed) == sorted(key_of(name) for name in names)


DYING = """
import sys, time
from sqlalchemy import event
from activation_dagster.state.engine import open_state
from tests.state.examples import claim_now

state = open_state(sys.argv[1])

def before(_connection, _cursor, statement, *_):
    if statement.startswith('UPDATE "sends"'):
        print("about to claim", flush=True)
        time.sleep(60)

def before_commit(_connection):
    print("claimed, not committed", flush=True)
    time.sleep(60)

moments = {"before": ("before_cursor_execute", before), "after": ("commit", before_commit)}
event.listen(state._writers, *moments[sys.argv[2]])
claim_now(state)
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_claim_that_is_killed_before_it_commits_leaves_the_send_pending(
    ready: State, state_url: str, moment: str
) -> None:
    dying = subprocess.Popen(
        [sys.executable, "-c", DYING, state_url, moment], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert dying.stdout is not None
    assert "claim" in dying.stdout.readline()
    os.kill(dying.pid, signal.SIGKILL)
    dying.wait()
    dying.stdout.close()
    assert send_of(ready, "a").status is SendStatus.PENDING
    give_up_at = time.monotonic() + 60
    while not (claimed := claim_now(ready)).claimed:  # PostgreSQL notices a dead client a moment later
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    assert keys(claimed) == [key_of("a")]


def test_a_no_after_the_claim_stops_the_next_send(ready: State) -> None:
    assert keys(claim_now(ready)) == [key_of("a")]
    choose(ready, "p1", ConsentStatus.DENIED, decided_at=NOW + timedelta(seconds=1))
    add_send(ready, "b", "p1", workflow_id="other")
    assert claim_now(ready, now=after(2)).claimed == ()
    assert send_of(ready, "b").reason == "consent_withdrawn"
