"""Which events of a segment may be sent on for a purpose: consent as it is known at the moment they go.

A segment waits until its batch is past the phase `consented`, so that who an event is of is known, and what was said
in the same batch. Unknown means no, as everywhere; an event that names nobody we know is unknown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import duckdb
from sqlalchemy import Connection, select

from activation_dagster.domain.batches import Phase
from activation_dagster.domain.consent import ConsentRecord, ConsentRules, judge_consent
from activation_dagster.domain.landing import Segment
from activation_dagster.domain.reasons import DecisionRefusal, ForwardFailure
from activation_dagster.lake.tables import RESOLVED
from activation_dagster.pipeline.closed_rows import closed_rows
from activation_dagster.pipeline.people import region_of
from activation_dagster.pipeline.places import Places
from activation_dagster.state import suppressions
from activation_dagster.state.bulk import select_in
from activation_dagster.state.consent import records_of
from activation_dagster.state.subjects import Cluster, cluster_of
from activation_dagster.state.tables import batch_phases, batch_segments


def consented_segments(connection: Connection, segments: Collection[Segment]) -> dict[tuple[str, str], str]:
    """The batch of each of the segments whose choices stand in state, by (source, segment id)."""
    query = (
        select(batch_segments.c.source, batch_segments.c.segment_id, batch_segments.c.batch_id)
        .join(batch_phases, batch_phases.c.batch_id == batch_segments.c.batch_id)
        .where(batch_phases.c.phase == Phase.CONSENTED.value, batch_phases.c.closed_at.is_not(None))
    )
    rows = select_in(connection, query, batch_segments.c.segment_id, [segment.segment_id for segment in segments])
    return {(row[0], row[1]): row[2] for row in rows}


def why_not(
    rules: ConsentRules,
    records: Sequence[ConsentRecord],
    *,
    purpose: str,
    channels: Iterable[str],
    region: str,
    at: datetime,
) -> DecisionRefusal | None:
    """Why a person's events may not go on for a purpose, or None.

    One of the channels must be allowed and none denied: a *no* anywhere is heard, and silence about a channel that
    nobody asks for does not undo a *yes*.
    """
    verdicts = [
        judge_consent(rules, records, purpose=purpose, channel=channel, region=region, at=at) for channel in channels
    ]
    reasons = {verdict.reason for verdict in verdicts}
    if DecisionRefusal.CONSENT_DENIED in reasons:
        return DecisionRefusal.CONSENT_DENIED
    if any(verdict.allowed for verdict in verdicts):
        return None
    expired = DecisionRefusal.CONSENT_EXPIRED
    return expired if expired in reasons else DecisionRefusal.CONSENT_UNKNOWN


@dataclass(slots=True, kw_only=True)
class ConsentOfSegment:
    """Asks, for the events of one segment, whether they may go. `purpose` and `channels` are those of the forward."""

    places: Places
    rules: ConsentRules
    purpose: str
    channel: str | None
    segment: Segment
    batch_id: str
    _profiles: dict[str, str | None] = field(default_factory=dict[str, str | None])

    def look_up(self, event_ids: Sequence[str]) -> None:
        """Find out whose these events are (one after the other in the segment); call it before asking about them."""
        rows = closed_rows(
            self.places, RESOLVED, Phase.RESOLVED, hours=[self.segment.arrival_hour], batch_id=self.batch_id
        )
        with duckdb.connect(":memory:") as connection:
            found = connection.execute(
                f"select event_id, profile_id from {rows} as r where event_id between $first and $last",
                {"first": min(event_ids), "last": max(event_ids)},
            ).fetchall()
        self._profiles = dict(found)

    def withheld(self, event_ids: Iterable[str]) -> dict[str, str]:
        """The reason for each of the events that may not go now; read from state as it stands."""
        now = self.places.clock()
        found: dict[str, str] = {}
        people: dict[str, list[str]] = {}
        for event_id in event_ids:
            if event_id not in self._profiles:
                found[event_id] = ForwardFailure.NOT_ACCEPTED.value
            elif (profile := self._profiles[event_id]) is None:
                found[event_id] = DecisionRefusal.CONSENT_UNKNOWN.value
            else:
                people.setdefault(profile, []).append(event_id)
        with self.places.state.read() as connection:
            refused = self._refused(connection, cluster_of(connection, people), now)
        for profile, reason in refused.items():
            found |= dict.fromkeys(people[profile], reason.value)
        return found

    def _refused(
        self, connection: Connection, clusters: Mapping[str, Cluster], now: datetime
    ) -> dict[str, DecisionRefusal]:
        everybody = {member for person in clusters.values() for member in person.members}
        said = records_of(connection, everybody)
        hard = suppressions.active_for(connection, everybody)
        channels = [self.channel] if self.channel is not None else self.rules.purposes[self.purpose].channels
        found: dict[str, DecisionRefusal] = {}
        for profile, person in clusters.items():
            if any(
                one.covers(channel) for member in person.members for one in hard.get(member, ()) for channel in channels
            ):
                found[profile] = DecisionRefusal.SUPPRESSED
                continue
            reason = why_not(
                self.rules,
                [record for member in person.members for record in said.get(member, ())],
                purpose=self.purpose,
                channels=channels,
                region=region_of(connection, self.rules, person.members),
                at=now,
            )
            if reason is not None:
                found[profile] = reason
        return found
