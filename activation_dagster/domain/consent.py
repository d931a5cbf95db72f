"""Consent: what a person allowed, for which purpose and channel, and whether that is enough where they live.

Unknown means no. The newest choice counts; of two choices made at the same instant the *no* counts. A region may ask
for further purposes (profiling beside marketing, say) and may let a *yes* run out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from activation_dagster.domain.reasons import DecisionRefusal


class ConsentStatus(StrEnum):
    """What a person said."""

    GRANTED = "granted"
    DENIED = "denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRecord:
    """One choice: who, for what, when, and where we know it from. `seq` is the state sequence it stands at."""

    record_id: str
    profile_id: str
    purpose: str
    channel: str
    status: ConsentStatus
    decided_at: datetime
    seq: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """A purpose that consent can be given for, and the channels it is asked for."""

    name: str
    description: str
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """What a place asks for beyond a *yes*: further purposes that must be granted too, and how long a *yes* lasts."""

    name: str
    countries: frozenset[str]
    also_requires: Mapping[str, tuple[str, ...]]
    valid_for_days: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentMapping:
    """Where a choice is read from an event, by declaration.

    `call` and `event_name` (None: any event of that call) select events; `path` is where a boolean stands, dotted from
    the envelope (`properties.consent_status`, `context.consent.categoryPreferences.marketing_email`); true is granted,
    false is denied, anything else is no choice. `basis` says in words why this counts as consent.
    """

    mapping_id: str
    owner: str
    basis: str
    event_type: str | None
    event_name: str | None
    path: str
    purpose: str
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRules:
    """`contracts/consent.yaml` with the mappings in force in one environment."""

    version: str
    purposes: Mapping[str, Purpose]
    regions: Mapping[str, Region]
    default_region: str
    mappings: tuple[ConsentMapping, ...]

    def region_of(self, country: str | None) -> str:
        """The region of an ISO 3166 alpha-2 code or a declared country name; the default (strictest) when unknown."""
        if country:
            for region in self.regions.values():
                if country in region.countries:
                    return region.name
        return self.default_region

    def required(self, purpose: str, region: str) -> tuple[str, ...]:
        """All purposes that must be granted before a message for `purpose` may go to `region`, itself first."""
        return (purpose, *self.regions[region].also_requires.get(purpose, ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentVerdict:
    """Whether a message is allowed, why not, and the records that say so (one a required purpose, where known)."""

    allowed: bool
    reason: DecisionRefusal | None
    evidence: tuple[ConsentRecord, ...]


def current_choice(records: Iterable[ConsentRecord], *, purpose: str, channel: str) -> ConsentRecord | None:
    """The record that counts for one purpose and channel among all records of one person, or None."""
    fitting = [record for record in records if record.purpose == purpose and record.channel == channel]
    return max(
        fitting,
        key=lambda record: (record.decided_at, record.status is ConsentStatus.DENIED, record.seq, record.record_id),
        default=None,
    )


def judge_consent(
    rules: ConsentRules,
    records: Iterable[ConsentRecord],
    *,
    purpose: str,
    channel: str,
    region: str,
    at: datetime,
) -> ConsentVerdict:
    """Whether the records of one person allow a message for `purpose` over `channel` in `region` at the instant `at`.

    All required purposes must be granted and not have run out. Of several reasons to refuse, a *no* comes before
    silence, and silence before a *yes* that ran out.
    """
    records = list(records)
    evidence: list[ConsentRecord] = []
    reasons: set[DecisionRefusal] = set()
    for required in rules.required(purpose, region):
        choice = current_choice(records, purpose=required, channel=channel)
        if choice is None:
            reasons.add(DecisionRefusal.CONSENT_UNKNOWN)
            continue
        evidence.append(choice)
        days = rules.regions[region].valid_for_days.get(required)
        if choice.status is ConsentStatus.DENIED:
            reasons.add(DecisionRefusal.CONSENT_DENIED)
        elif days is not None and choice.decided_at + timedelta(days=days) <= at:
            reasons.add(DecisionRefusal.CONSENT_EXPIRED)
    for reason in (DecisionRefusal.CONSENT_DENIED, DecisionRefusal.CONSENT_UNKNOWN, DecisionRefusal.CONSENT_EXPIRED):
        if reason in reasons:
            return ConsentVerdict(allowed=False, reason=reason, evidence=tuple(evidence))
    return ConsentVerdict(allowed=True, reason=None, evidence=tuple(evidence))
