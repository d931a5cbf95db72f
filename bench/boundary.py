"""Boundary: the verdict on one event by its compiled schema, against parsing the event, on one core."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import orjson

EVENTS = 20_000
ROUNDS = 5


def _median_micros(what: Callable[[int], object], count: int) -> float:
    """The median over some rounds of microseconds a call."""
    rounds: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for place in range(count):
            what(place)
        rounds.append((time.perf_counter() - began) / count * 1e6)
    return statistics.median(rounds)


def run(data: Path | None) -> None:
    """Judge simulated events one at a time: those that keep their contract, and all of them."""
    del data
    from activation_dagster.domain.lexical import read_event
    from activation_dagster.domain.reasons import QuarantineReason
    from activation_dagster.registry.boundary import judged_at_boundary
    from activation_dagster.registry.loading import load_contracts
    from activation_dagster.sources.simulator import simulate

    contracts = load_contracts(Path("contracts"), environment="demo")
    lines = simulate(seed=1, people=500, events=EVENTS, now=datetime.now(UTC)).lines
    judged = []
    for line in lines:
        event = read_event(line)
        if isinstance(event, QuarantineReason):
            continue
        contract = contracts.contract_for(str(event.get("type")), event.get("event"))
        if contract is not None:
            judged.append((line, contract, contract.current, event.get(contract.section)))
    sound = [one for one in judged if not judged_at_boundary(*one[1:])]
    parsing = _median_micros(lambda place: orjson.loads(sound[place][0]), len(sound))
    print(f"{len(judged):,} events judged one at a time, {len(sound):,} of them keep their contract")
    for name, some in (("keep their contract", sound), ("all", judged)):
        spent = _median_micros(lambda place, some=some: judged_at_boundary(*some[place][1:]), len(some))
        print(f"  {name:<24} {spent:6.2f} µs an event   {spent / parsing:5.2f} × orjson parsing it   (must ≤ 20 µs)")
