"""Checks: what Dagster is told of the quality of a run's work; blocking ones stop the run, the others only warn.

A check is the alarm, never the control: it stops its own run only, and a later run that selects the next asset walks
past it (which is how a named person lets a batch pass). What keeps a message from going out is data, in state: only a
batch that passed its release checks is released.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

from dagster import AssetCheckSpec

from activation_dagster.defs.findings import LATE_AFTER_HOURS, Worked
from activation_dagster.domain.accounting import event_sum
from activation_dagster.domain.links import LinkDecision
from activation_dagster.domain.unknown_events import UNKNOWN_EVENT

if TYPE_CHECKING:
    from activation_dagster.pipeline.watch import BatchSums

QUARANTINE_LIMIT = 0.5
QUARANTINE_DRIFT = 3.0
QUARANTINE_EXPECTED = 0.02
JUDGED_FROM_EVENTS = 100
"""Shares of fewer events than this say nothing: one bad event alone in its batch would be 100 %."""

LATE_SHARE = 0.2
VOLUME_FACTOR = 10.0
VOLUME_NEEDS_BATCHES = 5
STALE_AFTER = timedelta(minutes=15)

T = TypeVar("T")
Number = int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a check passed, and the numbers it rests on."""

    passed: bool
    numbers: Mapping[str, Number] = field(default_factory=dict[str, Number])


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Generic[T]):
    """One check of one asset; `judge` looks at one batch, or at one delivery."""

    asset: str
    name: str
    description: str
    is_blocking: bool
    judge: Callable[[T], Verdict]

    @property
    def spec(self) -> AssetCheckSpec:
        return AssetCheckSpec(self.name, asset=self.asset, description=self.description, blocking=self.is_blocking)


# -- of a batch -------------------------------------------------------------------------------------------------------


def _none_of(name: str) -> Callable[[Worked], Verdict]:
    def judge(work: Worked) -> Verdict:
        found = work.offending.get(name, 0)
        return Verdict(passed=found == 0, numbers={"offending_rows": found, "check_file": f"sql/checks/{name}.sql"})

    return judge


def _batch_accounting(work: Worked) -> Verdict:
    counts = {name: work.count(name) for name in ("received", "accepted", "duplicate", "quarantined", "shed")}
    astray = work.offending.get("ingested_events__not_accounted_for", 0)
    return Verdict(passed=event_sum(counts).holds and astray == 0, numbers={**counts, "events_astray": astray})


def _contract_coverage(work: Worked) -> Verdict:
    kept = sum(count for version, count in work.versions.items() if version.startswith(f"{UNKNOWN_EVENT} "))
    named = sum(count for version, count in work.versions.items() if "?" not in version)
    accepted = work.count("accepted")
    return Verdict(
        passed=named + kept == accepted,
        numbers={"accepted": accepted, "with_contract_and_version": named, "kept_though_unknown": kept},
    )


def _rate(counts: Callable[[str], int]) -> float:
    received = counts("received")
    return counts("quarantined") / received if received else 0.0


def _quarantine_rate(work: Worked) -> Verdict:
    rate = _rate(work.count)
    return Verdict(
        passed=rate <= QUARANTINE_LIMIT or work.count("received") < JUDGED_FROM_EVENTS,
        numbers={"rate": rate, "limit": QUARANTINE_LIMIT, "judged_from_events": JUDGED_FROM_EVENTS},
    )


def _quarantine_drift(work: Worked) -> Verdict:
    rate = _rate(work.count)
    before = [_rate(lambda name, counts=counts: counts.get(name, 0)) for counts in work.recent]
    usual = sum(before) / len(before) if before else 0.0
    limit = max(QUARANTINE_EXPECTED, QUARANTINE_DRIFT * usual)
    return Verdict(
        passed=not before or rate <= limit or work.count("received") < JUDGED_FROM_EVENTS,
        numbers={"rate": rate, "usual_rate": usual, "warns_above": limit},
    )


def _identity_conflicts(work: Worked) -> Verdict:
    offered, conflicts = work.count("links_offered"), work.count(f"links_{LinkDecision.CONFLICT.value}")
    return Verdict(
        passed=work.count("conflicts_jumped") == 0,
        numbers={
            "conflicts": conflicts,
            "rate": conflicts / offered if offered else 0.0,
            "usual_rate": work.count("usual_conflicts_millionths") / 1_000_000,
        },
    )


def _link_accounting(work: Worked) -> Verdict:
    offered, known = work.count("links_offered"), work.count("links_known")
    told = {f"links_{decision.value}": work.count(f"links_{decision.value}") for decision in LinkDecision}
    astray = work.offending.get("offered_links__not_accounted_for", 0)
    return Verdict(
        passed=offered == known + sum(told.values()) and astray == 0,
        numbers={"links_offered": offered, "links_known": known, **told, "links_astray": astray},
    )


def _volume(work: Worked) -> Verdict:
    received = work.count("received")
    before = [counts.get("received", 0) for counts in work.recent]
    usual = sum(before) / len(before) if before else 0.0
    judged = len(before) >= VOLUME_NEEDS_BATCHES
    return Verdict(
        passed=not judged or usual / VOLUME_FACTOR <= received <= usual * VOLUME_FACTOR,
        numbers={"received": received, "usual": usual, "batches_compared": len(before)},
    )


def _late_events(work: Worked) -> Verdict:
    received = work.count("received")
    share = work.late / received if received else 0.0
    return Verdict(passed=share <= LATE_SHARE, numbers={"late": work.late, "share": share, "limit": LATE_SHARE})


def _watermark(work: Worked) -> Verdict:
    if work.newest_arrival is None:
        return Verdict(passed=True)
    return watermark(age=work.looked_at - work.newest_arrival)


def watermark(*, age: timedelta) -> Verdict:
    """Whether data is fresh: how long ago the newest event that anybody has ingested arrived."""
    seconds = max(0.0, age.total_seconds())
    return Verdict(
        passed=age <= STALE_AFTER, numbers={"age_seconds": seconds, "limit_seconds": STALE_AFTER.total_seconds()}
    )


def _release(work: Worked) -> Verdict:
    return Verdict(
        passed=work.count("failed_checks") == 0,
        numbers={"failed_checks": work.count("failed_checks"), **dict(sorted(work.offending.items()))},
    )


WATERMARK = Check(
    asset="ingested_events",
    name="watermark",
    description=f"Data is fresh: the newest arrival is at most {STALE_AFTER.seconds // 60} minutes old.",
    is_blocking=False,
    judge=_watermark,
)

OF_BATCHES: tuple[Check[Worked], ...] = (
    Check(
        asset="ingested_events",
        name="volume",
        description=f"A batch has not {VOLUME_FACTOR:g} times more or fewer events than the batches before it.",
        is_blocking=False,
        judge=_volume,
    ),
    Check(
        asset="ingested_events",
        name="late_events",
        description=f"At most {LATE_SHARE:.0%} of events arrived over {LATE_AFTER_HOURS} hour after they happened.",
        is_blocking=False,
        judge=_late_events,
    ),
    WATERMARK,
    Check(
        asset="validated_events",
        name="batch_accounting",
        description="received = accepted + duplicate + quarantined + shed, and each event is in exactly one of them.",
        is_blocking=True,
        judge=_batch_accounting,
    ),
    Check(
        asset="validated_events",
        name="contract_coverage",
        description="Every accepted event names the contract and version that judged it, or was declared to be kept.",
        is_blocking=True,
        judge=_contract_coverage,
    ),
    Check(
        asset="validated_events",
        name="quarantine_rate",
        description=(
            f"At most {QUARANTINE_LIMIT:.0%} of a batch is quarantined: more is a broken contract or a broken sender. "
            "To let the batch pass, start its run again from resolved_identities on, with the same tags."
        ),
        is_blocking=True,
        judge=_quarantine_rate,
    ),
    Check(
        asset="validated_events",
        name="quarantine_drift",
        description=f"The quarantined share is at most {QUARANTINE_DRIFT:g} times that of the batches before.",
        is_blocking=False,
        judge=_quarantine_drift,
    ),
    Check(
        asset="resolved_identities",
        name="identity",
        description="Every accepted event has a profile, or a reason for having none.",
        is_blocking=True,
        judge=_none_of("resolved_events__nobody_and_no_reason"),
    ),
    Check(
        asset="resolved_identities",
        name="identity_limits",
        description="No profile was given more identifiers than the identity contract allows, and none is on two.",
        is_blocking=True,
        judge=_none_of("overgrown_profiles__over_the_contract"),
    ),
    Check(
        asset="resolved_identities",
        name="link_accounting",
        description="links offered = accepted + refused + blocked + conflict + known: the ledger tells of each, once.",
        is_blocking=True,
        judge=_link_accounting,
    ),
    Check(
        asset="resolved_identities",
        name="identity_conflicts",
        description="Conflicts among links have not jumped against the batches before (conflict_jump, identity.yaml).",
        is_blocking=False,
        judge=_identity_conflicts,
    ),
    Check(
        asset="consented_audiences",
        name="every_member_consented",
        description="Every member of an audience had granted consent at the instant of the snapshot.",
        is_blocking=True,
        judge=_none_of("audience_memberships__without_consent"),
    ),
    Check(
        asset="send_decisions",
        name="release",
        description="The batch passes every check that its sends' release asks for; else they are held, in state.",
        is_blocking=True,
        judge=_release,
    ),
)

# -- of a delivery ----------------------------------------------------------------------------------------------------


def _ledger_accounting(found: Sequence[BatchSums]) -> Verdict:
    sums = [batch.decisions for batch in found if batch.decisions is not None]
    numbers: dict[str, Number] = {
        "batches": len(found),
        "decisions": sum(one.decisions for one in sums),
        "sent": sum(one.sent for one in sums),
        "refused": sum(one.refused for one in sums),
        "pending": sum(one.pending for one in sums),
    }
    broken = [batch.batch_id for batch in found if not batch.hold]
    return Verdict(passed=not broken, numbers=numbers | ({"broken_batch": broken[0]} if broken else {}))


OF_DELIVERIES: tuple[Check[Sequence[BatchSums]], ...] = (
    Check(
        asset="sends",
        name="ledger_accounting",
        description=(
            "decisions = sent + refused + pending, in the run's batch or, where a run has none, in each of the newest. "
            "The hourly watch adds up all of them."
        ),
        is_blocking=True,
        judge=_ledger_accounting,
    ),
)


def specs(*assets: str) -> list[AssetCheckSpec]:
    """The checks of some assets, as Dagster declares them."""
    return [check.spec for check in (*OF_BATCHES, *OF_DELIVERIES) if check.asset in assets]
