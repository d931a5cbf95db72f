"""Given and expected rows for every model and check under sql/, and what every file there must look like."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from activation_dagster.domain.times import INSTANT_PATTERN
from activation_dagster.lake.engine import Engine
from activation_dagster.pipeline.infer import patterns
from activation_dagster.pipeline.ingest import lexical_limits
from tests.sql.promised import SQL

FILES = sorted(path.relative_to(SQL).with_suffix("").as_posix() for path in SQL.rglob("*.sql"))
LONGER_THAN_A_PAGE = {"ingest/ingested_events"}  # one pass over the line: splitting it would read the text again
PARAMETERS: Mapping[str, object] = {
    **lexical_limits(),
    "instant_pattern": INSTANT_PATTERN,
    **patterns(),
    "sample": 2,
}
A, B = "'\\x0A'::blob", "'\\x0B'::blob"
BATCH = "select 'b1' as batch_id, 1000 as as_of_micros, make_timestamp(1000) as as_of, 100 as today, make_timestamp(900) as landed_at"


def rows_of(columns: str, *rows: str) -> str:
    """A SELECT of literal rows; none of them where none is given, whatever the types."""
    names = columns.split(", ")
    if not rows:
        return "select " + ", ".join(f"null::varchar as {name}" for name in names) + " where false"
    return f"select * from (values {', '.join(f'({row})' for row in rows)}) as t({columns})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Relations in, rows out: `expected` are the columns named in `shown`, in any order."""

    model: str
    name: str
    given: Mapping[str, str]
    shown: str
    expected: Sequence[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])


EVENTS = "ordinal, event_id, message_id, reason"
SEGMENTS = "select 0 as segment_no, 's1' as segment_id, 'shop' as source, timestamp '2026-03-01 10:00:00' as landed_at"
LINE_FAULTS = "select 0 as segment_no, 9::bigint as line_no, 'not_json' as reason, 'x{'::blob as line"
MEMBERS = rows_of("member, profile_id", "'p0', 'p1'", "'p1', 'p1'", "'p2', 'p2'")
WORKFLOW = (
    "workflow_id, version, trigger_contract, audience_id, purpose, channel, priority, destination, endpoint, subject, "
    "profile_key, reentry_seconds, expires_after_micros"
)
NO_CONDITIONS = rows_of("workflow_id, path, value")
NOW_COLUMNS = (
    "audience_id, profile_id, is_member, is_match, consent_reason, consent_expires_at, region, records, measured, "
    "review_day, was_member, was_member_itself, entry_no, entry_key"
)

CASES = [
    Case(
        model="ingest/suspect_lines",
        name="sound lines are left alone, those that are or may be faulty are read",
        given={
            "landed_lines": rows_of(
                "segment_no, line_no, line",
                '0, 1, \'{"type": "track"}\'',
                "0, 2, '{'",
                "0, 3, '{\"messageId\": 5}'",
                "0, 4, '{\"x\": 1e5}'",
                "0, 5, null",
            )
        },
        shown="line_no",
        expected=[(2,), (4,)],
    ),
    Case(
        model="ingest/line_shapes",
        name="each sequence of keys once, at any depth, but for lines that are read anyway",
        given={
            "landed_lines": rows_of(
                "segment_no, line_no, line",
                '0, 1, \'{"a": 1, "b": {"a": 2}}\'',
                '0, 2, \'{"a": 1, "a": 2}\'',
                '0, 3, \'{"a": 5, "a": null}\'',
                '0, 4, \'{"x": [{"c": 1, "\\u0063": 2}]}\'',
                "0, 5, '{'",
                "0, 6, null",
            ),
            "suspect_lines": rows_of("segment_no, line_no", "0, 5"),
        },
        shown="outer_keys, inner_keys",
        expected=[
            (["a", "b"], [[], ["a"], []]),
            (["a", "a"], [[], []]),
            (["x"], [[], ["c", "c"], [], []]),
        ],
    ),
    Case(
        model="ingest/duplicate_key_shapes",
        name="a key twice in one object, not one in two objects",
        given={
            "line_shapes": rows_of(
                "outer_keys, inner_keys",
                "['a', 'a'], [[]::varchar[]]",
                "['a', 'b'], [[]::varchar[], ['a'], ['a']]",
                "['a'], [['c', 'd', 'c']]",
            )
        },
        shown="outer_keys, inner_keys",
        expected=[(["a", "a"], [[]]), (["a"], [["c", "d", "c"]])],
    ),
    Case(
        model="ingest/duplicate_key_lines",
        name="every line of such a shape",
        given={
            "landed_lines": rows_of(
                "segment_no, line_no, line",
                "0, 1, '{\"a\": 1}'",
                '0, 2, \'{"a": 1, "a": 2}\'',
                '1, 2, \'{"a": 5, "a": null}\'',
                "0, 5, '{'",
                "0, 6, null",
            ),
            "suspect_lines": rows_of("segment_no, line_no", "0, 5"),
            "duplicate_key_shapes": "select ['a', 'a'] as outer_keys, [[]::varchar[], []::varchar[]] as inner_keys",
        },
        shown="segment_no, line_no",
        expected=[(0, 2), (1, 2)],
    ),
    Case(
        model="ingest/ingested_events",
        name="an event is read once, its clock corrected, and what is no event keeps its place",
        given={
            "segments": SEGMENTS,
            "line_faults": LINE_FAULTS,
            "landed_lines": rows_of(
                "segment_no, line_no, line",
                '0, 1, \'{"type": "track", "event": "A", "userId": "u", "originalTimestamp": '
                '"2026-03-01T08:00:00Z", "sentAt": "2026-03-01T08:00:10Z"}\' || chr(10)',
                '0, 2, \'{"type": "page", "name": "N", "userId": "u", "messageId": 5}\'',
                "0, 9, 'x{'",
            ),
        },
        shown="ordinal, event_id, event_name, message_id, occurred_at::varchar, fault",
        expected=[
            (1, "s1:0000001", "A", "line:s1:0000001", "2026-03-01 09:59:50", None),
            (2, "s1:0000002", "N", "line:s1:0000002", "2026-03-01 10:00:00", "invalid_envelope"),
            (9, "s1:0000009", None, "line:s1:0000009", "2026-03-01 10:00:00", "not_json"),
        ],
    ),
    Case(
        model="ingest/landed_payloads",
        name="what is no sound JSON has no text",
        given={
            "line_faults": LINE_FAULTS,
            "landed_lines": rows_of(
                "segment_no, line_no, line", "0, 1, '{}'", "0, 2, null", "0, 9, 'x{'", "1, 1, '[]'"
            ),
        },
        shown="ordinal, payload",
        expected=[(1, "{}"), (4294967297, "[]")],
    ),
    Case(
        model="validate/judged_events",
        name="what the quick test doubts has the violations that were found, or none",
        given={
            "screened_events": rows_of(
                "ordinal, contract, judge, is_sound",
                "1, 'a', 0, true",
                "2, 'a', 0, false",
                "3, 'a', 0, false",
            ),
            "broken_events": rows_of("ordinal, violations", "2, 'properties.x: required'", "3, null"),
        },
        shown="ordinal, contract, violations",
        expected=[(1, "a", None), (2, "a", "properties.x: required"), (3, "a", None)],
    ),
    Case(
        model="validate/event_verdicts",
        name="what may not come at all comes before what breaks its promise, and lateness last",
        given={
            "judged_events": rows_of(
                "ordinal, event_type, event_name, contract, violations, undeclared, barred, is_late",
                "1, 'track', 'A', 'a', 'properties.x: required', 'properties.y: undeclared', 'source_not_allowed', true",
                "2, 'track', 'A', 'a', 'properties.x: required', 'properties.y: undeclared', null, true",
                "3, 'track', 'A', 'a', null, 'properties.y: undeclared', null, true",
                "4, 'track', 'A', 'a', null, null, null, true",
                "5, 'track', 'A', 'a', null, 'properties.y: undeclared', null, true",
            ),
            "unjudged_events": rows_of(
                "ordinal, event_type, event_name, contract, violations, undeclared, barred, is_late, fault, is_kept",
                "9, 'track', 'B', null::varchar, null::varchar, null::varchar, null::varchar, false, null::varchar, false",
                "10, 'track', 'B', null, null, null, null, false, null, true",
                "11, 'track', 'B', null, null, null, null, false, null, true",
                "12, 'track', 'A', null, null, null, null, false, null, true",
            ),
            "envelope_breaches": rows_of(
                "ordinal, violations", "2, 'context.x: y'", "5, 'context.x: y'", "11, 'context.x: y'", "1, 'type: z'"
            ),
            "contracts": rows_of("contract, call, name", "'a', 'track', 'A'"),
        },
        shown="ordinal, contract, reason, violations",
        expected=[
            (1, "a", "source_not_allowed", "properties.x: required\nproperties.y: undeclared\ntype: z"),
            (2, "a", "contract_violation", "properties.x: required\nproperties.y: undeclared\ncontext.x: y"),
            (3, "a", "undeclared_property", "properties.y: undeclared"),
            (4, "a", "too_late", None),
            (5, "a", "envelope_violation", "properties.y: undeclared\ncontext.x: y"),
            (9, None, "unknown_event", None),
            (10, "unknown_event", None, None),
            (11, "unknown_event", "envelope_violation", "context.x: y"),
            (12, "a", "unknown_version", None),
        ],
    ),
    Case(
        model="validate/event_verdicts",
        name="judged events break their promise or keep it, others wait with the first reason",
        given={
            "judged_events": rows_of(
                "ordinal, event_type, event_name, contract, violations, undeclared, barred, is_late",
                "1, 'track', 'A', 'a', null::varchar, null::varchar, null::varchar, false",
                "2, 'track', 'A', 'a', 'properties.x: required', null, null, false",
            ),
            "unjudged_events": rows_of(
                "ordinal, event_type, event_name, contract, violations, undeclared, barred, is_late, fault, is_kept",
                "3, 'track', 'A', null::varchar, null::varchar, null::varchar, null::varchar, false, null::varchar, false",
                "4, 'track', 'B', null, null, null, null, false, null, false",
                "5, 'page', 'any', null, null, null, null, false, null, false",
                "6, 'track', 'A', null, null, null, null, false, 'invalid_time', false",
            ),
            "envelope_breaches": rows_of("ordinal, violations"),
            "contracts": rows_of("contract, call, name", "'a', 'track', 'A'", "'page', 'page', 'page'"),
        },
        shown="ordinal, contract, reason",
        expected=[
            (1, "a", None),
            (2, "a", "contract_violation"),
            (3, "a", "unknown_version"),
            (4, None, "unknown_event"),
            (5, "page", "unknown_version"),
            (6, None, "invalid_time"),
        ],
    ),
    Case(
        model="validate/message_keys",
        name="each event's message id as a key of 22 characters; a shed event has none",
        given={
            "event_verdicts": rows_of(
                EVENTS, "1, 'e1', 'm', 'x'", "2, 'e2', 'm', null", "3, 'e3', 'n', null", "4, 'e4', 's', 'shed_overload'"
            )
        },
        shown="ordinal, key, is_sound",
        expected=[
            (1, "b49XcVCQ2iYyRTmI2aFQGw", False),
            (2, "b49XcVCQ2iYyRTmI2aFQGw", True),
            (3, "e4uWWtS8oOQatR3nsxNjoQ", True),
        ],
    ),
    Case(
        model="validate/repeated_keys",
        name="keys that stand twice, and the first sound event of each",
        given={
            "message_keys": rows_of(
                "ordinal, key, is_sound",
                "1, 'm', false",
                "3, 'm', true",
                "2, 'm', true",
                "4, 'n', true",
                "5, 'x', false",
                "6, 'x', false",
            )
        },
        shown="key, first_ordinal",
        expected=[("m", 2), ("x", None)],
    ),
    Case(
        model="validate/claimed_keys",
        name="sound events alone ask for their message id, each id once",
        given={
            "message_keys": rows_of(
                "ordinal, key, is_sound",
                "1, 'm', false",
                "2, 'm', true",
                "3, 'm', true",
                "4, 'n', true",
                "5, 'x', false",
                "6, 'x', false",
                "7, 'y', false",
            ),
            "repeated_keys": rows_of("key, first_ordinal", "'m', 2", "'x', null"),
        },
        shown="key",
        expected=[("m",), ("n",)],
    ),
    Case(
        model="validate/found_duplicates",
        name="the first sound event keeps the id, later ones repeat it, sound or not, and a quarantined one takes none",
        given={
            "message_keys": rows_of(
                "ordinal, key, is_sound",
                "1, 'm', false",
                "2, 'm', true",
                "3, 'm', true",
                "4, 'm', false",
                "5, 'taken', true",
                "6, 'once', true",
                "7, 'x', false",
                "8, 'x', false",
            ),
            "repeated_keys": rows_of("key, first_ordinal", "'m', 2", "'x', null"),
            "taken_keys": rows_of("key", "'taken'"),
        },
        shown="ordinal, cause",
        expected=[(3, "in_batch"), (4, "in_batch"), (5, "in_window")],
    ),
    Case(
        model="validate/validated_events",
        name="sound and not seen before",
        given={
            "event_verdicts": rows_of(
                f"{EVENTS}, violations",
                "1, 'e1', 'a', null, null",
                "2, 'e2', 'b', 'x', 'v'",
                "3, 'e3', 'c', null, null",
            ),
            "found_duplicates": rows_of("ordinal, cause", "3, 'in_batch'"),
        },
        shown="*",
        expected=[(1, "e1", "a")],
    ),
    Case(
        model="validate/duplicate_events",
        name="each repeat with its cause",
        given={
            "event_verdicts": rows_of(
                "ordinal, event_id, source, message_id", "1, 'e1', 'shop', 'm'", "2, 'e2', 'shop', 'm'"
            ),
            "found_duplicates": rows_of("ordinal, cause", "2, 'in_batch'"),
        },
        shown="ordinal, event_id, message_id, cause",
        expected=[(2, "e2", "m", "in_batch")],
    ),
    Case(
        model="validate/shed_events",
        name="what was shed, with its contract where there is one",
        given={
            "event_verdicts": rows_of(
                "ordinal, event_id, source, message_id, reason, event_type, event_name",
                "1, 'e1', 'shop', 'm1', 'shed_overload', 'track', 'A'",
                "2, 'e2', 'shop', 'm2', 'shed_rate_limit', 'page', 'Home'",
                "3, 'e3', 'shop', 'm3', 'shed_overload', 'track', 'B'",
                "4, 'e4', 'shop', 'm4', 'unknown_event', 'track', 'B'",
                "5, 'e5', 'shop', 'm5', null, 'track', 'A'",
            ),
            "contracts": rows_of("contract, call, name", "'a', 'track', 'A'", "'page', 'page', 'page'"),
        },
        shown="event_id, message_id, reason, contract",
        expected=[
            ("e1", "m1", "shed_overload", "a"),
            ("e2", "m2", "shed_rate_limit", "page"),
            ("e3", "m3", "shed_overload", None),
        ],
    ),
    Case(
        model="validate/quarantined_events",
        name="refused events with all violations, the owner who answers, and the bytes",
        given={
            "event_verdicts": rows_of(
                "ordinal, event_id, source, reason, violations, contract, contract_version, event_type, event_name, "
                "message_id, received_at",
                "1, 'e1', 'shop', null::varchar, null::varchar, 'a', 'v1', 'track', 'A', 'm1', make_timestamp(1)",
                "2, 'e2', 'shop', 'contract_violation', 'z' || chr(10) || 'b', 'a', 'v1', 'track', 'A', 'm2', make_timestamp(1)",
                "3, 'e3', 'shop', 'unknown_event', null, null, null, 'track', 'B', 'm3', make_timestamp(1)",
                "9, 'e9', 'shop', 'not_json', null, null, null, null, null, 'm9', make_timestamp(1)",
                "4, 'e4', 'shop', 'unknown_event', null, null, null, 'track', 'B', 'm1', make_timestamp(1)",
                "5, 'e5', 'shop', 'shed_overload', null, null, null, 'track', 'B', 'm5', make_timestamp(1)",
            ),
            "landed_payloads": rows_of("ordinal, payload", "1, 'p1'", "2, 'p2'", "3, 'p3'", "4, 'p4'"),
            "found_duplicates": rows_of("ordinal, cause", "4, 'in_batch'"),
            "contracts": rows_of("contract, owner", "'a', 'crm'"),
            "envelope_owners": rows_of("owner", "'everybody'"),
            "failure_owners": rows_of(
                "reason, owner", "'contract_violation', 'x'", "'unknown_event', 'platform'", "'not_json', 'platform'"
            ),
            "line_faults": LINE_FAULTS,
        },
        shown="event_id, reason, violations, owner, payload",
        expected=[
            ("e2", "contract_violation", ["b", "z"], "crm", b"p2"),
            ("e3", "unknown_event", None, "platform", b"p3"),
            ("e9", "not_json", None, "platform", b"x{"),
        ],
    ),
    Case(
        model="consent/current_traits",
        name="the newest value of each trait, whichever former self it was said of",
        given={
            "cluster_members": MEMBERS,
            "known_traits": rows_of(
                "profile_id, trait, seq, value, set_at, event_id",
                "'p0', 'a', 1, '1', 5, 'e1'",
                "'p1', 'a', 2, '2', 4, 'e2'",
                "'p1', 'b', 2, '3', 7, 'e3'",
                "'p0', 'b', 3, '4', 7, 'e4'",
                "'p2', 'a', 1, '5', 1, 'e5'",
                "'p0', 'c', 3, '6', 7, 'e7'",
                "'p1', 'c', 3, '7', 7, 'e6'",
                "'p1', 'd', 3, '8', 7, 'e6'",
            ),
            "chosen_traits": rows_of("profile_id, trait, value", "'p1', 'd', '9'"),
        },
        shown="profile_id, trait, value",
        expected=[("p1", "a", "1"), ("p1", "b", "4"), ("p2", "a", "5"), ("p1", "c", "6"), ("p1", "d", "9")],
    ),
    Case(
        model="consent/chosen_traits",
        name="the first, the most frequent and then latest, or the latest of the source that counts most",
        given={
            "cluster_members": MEMBERS,
            "known_sayings": rows_of(
                "profile_id, trait, seq, source, value, times, first_at, first_event, last_at, last_event",
                "'p0', 'first', 1, 'web', '1', 1, 5, 'e1', 5, 'e1'",
                "'p1', 'first', 2, 'web', '2', 9, 4, 'e2', 9, 'e9'",
                "'p0', 'most', 1, 'web', '1', 2, 1, 'e1', 2, 'e2'",
                "'p1', 'most', 2, 'crm', '1', 1, 3, 'e3', 3, 'e3'",
                "'p1', 'most', 2, 'crm', '2', 2, 3, 'e3', 9, 'e9'",
                "'p2', 'most', 2, 'crm', '1', 1, 3, 'e3', 3, 'e3'",
                "'p2', 'most', 2, 'crm', '2', 1, 3, 'e3', 9, 'e9'",
                "'p0', 'best', 1, 'crm', '1', 1, 1, 'e1', 1, 'e1'",
                "'p1', 'best', 2, 'crm', '2', 1, 2, 'e2', 2, 'e2'",
                "'p1', 'best', 3, 'web', '3', 5, 3, 'e3', 9, 'e9'",
                "'p1', 'other', 3, 'app', '3', 5, 3, 'e3', 9, 'e9'",
                "'p1', 'other', 3, 'web', '4', 1, 3, 'e3', 3, 'e3'",
            ),
            "trait_policies": rows_of(
                "trait, policy", "'first', 'first'", "'most', 'most_frequent'", "'best', 'source_priority'"
            ),
            "default_trait_policy": rows_of("policy", "'source_priority'"),
            "trait_sources": rows_of("trait, source, place", "'best', 'crm', 0", "'', 'web', 0"),
        },
        shown="profile_id, trait, value",
        expected=[
            ("p1", "first", "2"),
            ("p1", "most", "1"),
            ("p2", "most", "2"),
            ("p1", "best", "2"),
            ("p1", "other", "4"),
        ],
    ),
    Case(
        model="consent/profile_regions",
        name="the region of a declared country, the default for every other",
        given={
            "touched_profiles": rows_of("profile_id", "'p1'", "'p2'", "'p3'"),
            "current_traits": rows_of(
                "profile_id, trait, value", "'p1', '$country', '\"DE\"'", "'p2', '$country', '\"XX\"'", "'p3', 'x', '1'"
            ),
            "region_countries": rows_of("region, country", "'eu', 'DE'"),
            "default_region": rows_of("region", "'row'"),
        },
        shown="profile_id, region",
        expected=[("p1", "eu"), ("p2", "row"), ("p3", "row")],
    ),
    Case(
        model="consent/current_choices",
        name="the newest counts, and of two at one instant the no",
        given={
            "cluster_members": MEMBERS,
            "known_choices": rows_of(
                "record_id, profile_id, purpose, channel, status, decided_at, seq",
                "'r1', 'p0', 'm', 'email', 'denied', 5, 1",
                "'r2', 'p1', 'm', 'email', 'granted', 5, 2",
                "'r3', 'p1', 'm', 'push', 'denied', 1, 1",
                "'r4', 'p0', 'm', 'push', 'granted', 2, 1",
            ),
        },
        shown="profile_id, channel, status, record_id",
        expected=[("p1", "email", "denied", "r1"), ("p1", "push", "granted", "r4")],
    ),
    Case(
        model="consent/consent_verdicts",
        name="everything asked for must be granted and not have run out, and a yes says until when",
        given={
            "batch": BATCH.replace("1000 as as_of_micros", "86400000000 as as_of_micros"),
            "profile_regions": rows_of("profile_id, region", "'p1', 'eu'", "'p2', 'us'", "'p3', 'us'", "'p4', 'us'"),
            "asked_purposes": rows_of("purpose, channel", "'m', 'email'"),
            "consent_requirements": rows_of(
                "region, purpose, required_purpose, valid_for_days",
                "'eu', 'm', 'm', null::bigint",
                "'eu', 'm', 'p', null",
                "'us', 'm', 'm', 1",
            ),
            "current_choices": rows_of(
                "profile_id, purpose, channel, status, decided_at, record_id",
                "'p1', 'm', 'email', 'granted', 1, 'r1'",
                "'p2', 'm', 'email', 'granted', 0, 'r2'",
                "'p3', 'm', 'email', 'granted', 1, 'r3'",
                "'p4', 'm', 'push', 'granted', 1, 'r4'",
            ),
        },
        shown="profile_id, reason, expires_at, records",
        expected=[
            ("p1", "consent_unknown", None, ["r1"]),
            ("p2", "consent_expired", 86400000000, ["r2"]),
            ("p3", None, 86400000001, ["r3"]),
            ("p4", "consent_unknown", None, None),
        ],
    ),
    Case(
        model="consent/audience_matches",
        name="all conditions hold, and the first day that may change it is known",
        given={
            "batch": BATCH,
            "cluster_members": MEMBERS,
            "audiences": rows_of("audience_id, condition_count", "'a', 2"),
            "audience_conditions": rows_of(
                "audience_id, condition_no, kind, measure, is_sum, at_least_millionths, within_days, trait, comparison, bound",
                "'a', 0, 'measure', 'count(X)', false, 2000000, 10, null, null, null::double",
                "'a', 1, 'trait', null, null, null, null, 'age', 'at_least', 18",
            ),
            "audience_condition_values": rows_of("audience_id, condition_no, value"),
            "known_activity": rows_of(
                "profile_id, measure, day, event_count, total_millionths",
                "'p0', 'count(X)', 91, 1, 0",
                "'p1', 'count(X)', 95, 1, 0",
                "'p2', 'count(X)', 90, 9, 0",
            ),
            "current_traits": rows_of("profile_id, trait, value", "'p1', 'age', '18'", "'p2', 'age', '99'"),
        },
        shown="audience_id, profile_id, review_day, measured",
        expected=[
            ("a", "p1", 101, '[{"condition":0,"amount_millionths":2000000},{"condition":1,"amount_millionths":null}]')
        ],
    ),
    Case(
        model="consent/memberships_before",
        name="a profile merged just now brings its membership, one merged long ago has brought it",
        given={
            "cluster_members": rows_of("member, profile_id", "'p0', 'p1'", "'p1', 'p1'", "'q0', 'q1'", "'q1', 'q1'"),
            "merged_now": rows_of("profile_id", "'p0'"),
            "known_memberships": rows_of(
                "profile_id, audience_id, seq, change, entry_no, entry_key",
                f"'p0', 'a', 1, 'entered', 3, {A}",
                f"'p1', 'a', 2, 'entered', 1, {B}",
                f"'p1', 'a', 3, 'exited', 1, {B}",
                f"'q0', 'a', 4, 'entered', 1, {A}",
                f"'q1', 'a', 5, 'exited', 2, {B}",
            ),
        },
        shown="profile_id, was_member, was_member_itself, entry_no, entry_key",
        expected=[("p1", True, False, 3, b"\x0a"), ("q1", False, False, 2, b"\x0b")],
    ),
    Case(
        model="consent/memberships_now",
        name="a member satisfies the rule and consents; an entry has the next number and the oldest name",
        given={
            "touched_profiles": rows_of("profile_id, first_key", f"'p1', {A}", f"'p2', {A}", f"'p3', {A}"),
            "audiences": rows_of("audience_id, purpose, channel", "'a', 'm', 'email'"),
            "consent_verdicts": rows_of(
                "profile_id, purpose, channel, reason, region, records, expires_at",
                "'p1', 'm', 'email', null, 'us', ['r'], 7",
                "'p2', 'm', 'email', 'consent_denied', 'us', ['r'], 7",
                "'p3', 'm', 'email', null, 'us', ['r'], null",
            ),
            "audience_matches": rows_of(
                "audience_id, profile_id, review_day, measured", "'a', 'p1', 5, '[]'", "'a', 'p2', 5, '[]'"
            ),
            "memberships_before": rows_of(
                "audience_id, profile_id, was_member, was_member_itself, entry_no, entry_key",
                f"'a', 'p1', false, false, 1, {B}",
                f"'a', 'p3', true, true, 2, {B}",
            ),
        },
        shown="profile_id, is_member, is_match, consent_reason, entry_no, entry_key",
        expected=[
            ("p1", True, True, None, 2, b"\x0a"),
            ("p2", False, True, "consent_denied", 0, b"\x0a"),
            ("p3", False, False, None, 2, b"\x0b"),
        ],
    ),
    Case(
        model="consent/audience_memberships",
        name="entries, exits and renewals, each with what it was decided on; who simply stays is not written again",
        given={
            "batch": BATCH,
            "due_profiles": rows_of("profile_id", "'p4'"),
            "memberships_now": rows_of(
                NOW_COLUMNS,
                f"'a', 'p1', true, true, null, 5, 'us', ['r'], '[]', 3, false, false, 1, {A}",
                f"'a', 'p2', false, true, 'consent_denied', null, 'us', ['r'], '[]', 3, true, true, 1, {A}",
                f"'a', 'p3', true, true, null, null, 'us', ['r'], '[]', 3, true, true, 1, {A}",
                f"'a', 'p4', true, true, null, null, 'us', ['r'], '[]', 3, true, true, 1, {A}",
                f"'a', 'p5', true, true, null, null, 'us', ['r'], '[]', null, true, false, 1, {A}",
                f"'a', 'p6', false, false, null, null, 'us', ['r'], null, null, false, false, 0, {A}",
            ),
        },
        shown="profile_id, change, change_id, review_at, consent_checked",
        expected=[
            ("p1", "entered", "a:p1:b1", 5, True),
            ("p2", "exited", "a:p2:b1", None, False),
            ("p4", "kept", "a:p4:b1", 3 * 86_400_000_000, True),
            ("p5", "kept", "a:p5:b1", None, True),
        ],
    ),
    Case(
        model="decide/candidates",
        name="events that a workflow waits for, where its conditions hold, and entries into its audience",
        given={
            "batch": BATCH,
            "workflows": rows_of(
                "workflow_id, trigger_contract, audience_id", "'w', 'c', 'a'", "'on_entry', null, 'a'"
            ),
            "workflow_conditions": rows_of("workflow_id, path, value", "'w', '$.\"x\"', '1'"),
            "validated_events": rows_of(
                "ordinal, message_id, event_id, contract, contract_version, occurred_at, landed_at, is_state_only, used_properties",
                "1, 'm1', 'e1', 'c', 'v1', make_timestamp(1), make_timestamp(2), true, '{\"x\":1}'",
                "2, 'm2', 'e2', 'c', 'v1', make_timestamp(1), make_timestamp(2), false, '{\"x\":2}'",
                "3, 'm3', 'e3', 'other', 'v1', make_timestamp(1), make_timestamp(2), false, null",
            ),
            "resolved_events": rows_of(
                "ordinal, profile_id, unresolved_reason", "1, 'p1', null", "2, 'p1', null", "3, 'p1', null"
            ),
            "audience_memberships": rows_of(
                "audience_id, profile_id, change, entry_key, entry_no",
                f"'a', 'p2', 'entered', {A}, 2",
                f"'a', 'p3', 'kept', {A}, 1",
            ),
        },
        shown="workflow_id, profile_id, trigger, competes_on, trigger_contract, is_state_only",
        expected=[
            ("w", "p1", "message:m1", "message:m1", "c/v1", True),
            ("on_entry", "p2", "entry:0a:2", "entry:a:0a:2", "", False),
        ],
    ),
    Case(
        model="decide/judged_candidates",
        name="the first reason that has nothing to do with others",
        given={
            "batch": BATCH,
            "candidates": rows_of(
                "send_key, workflow_id, profile_id, unresolved_reason, triggered_at, trigger_event_id, is_state_only",
                "'k1', 'w', 'p1', null, make_timestamp(999), 'e1', false",
                "'k2', 'w', 'p2', null, make_timestamp(999), 'e2', false",
                "'k3', 'w', null, 'no_profile', make_timestamp(999), 'e3', false",
                "'k4', 'w', 'p1', null, make_timestamp(990), 'e4', false",
                "'k5', 'w', 'p2', null, make_timestamp(990), 'e5', true",
                "'k6', 'w', null, 'identity_conflict', make_timestamp(999), 'e6', false",
            ),
            "workflows": rows_of(
                WORKFLOW, "'w', 'v1', 'c', 'a', 'm', 'email', 1, 'd', 'track', 's', 'user_id', null, 10"
            ),
            "consent_verdicts": rows_of(
                "profile_id, purpose, channel, reason, region, records",
                "'p1', 'm', 'email', null, 'us', ['r']",
                "'p2', 'm', 'email', 'consent_denied', 'us', ['r']",
            ),
            "memberships_now": rows_of(
                "audience_id, profile_id, is_member, measured, entry_no", "'a', 'p1', true, '[]', 1"
            ),
            "profile_keys": rows_of("profile_id, kind, value", "'p1', 'user_id', 'u1'", "'p2', 'user_id', 'u2'"),
            "decided_keys": rows_of("send_key"),
            "known_suppressions": rows_of("profile_id, channel", "'p9', '*'"),
            "cluster_members": MEMBERS,
        },
        shown="send_key, profile_key, reason",
        expected=[
            ("k1", "u1", None),
            ("k2", "u2", "consent_denied"),
            ("k3", None, "no_profile"),
            ("k4", "u1", "too_old"),
            ("k5", "u2", "too_late"),
            ("k6", None, "identity_conflict"),
        ],
    ),
    Case(
        model="decide/send_decisions",
        name="of those that compete one is sent; who was decided before has won",
        given={
            "batch": BATCH,
            "judged_candidates": rows_of(
                "send_key, workflow_id, profile_id, channel, competes_on, priority, reason, trigger_contract, region, records, measured, entry_no",
                "'k1', 'low', 'p1', 'email', 'm1', 1, null, 'c/v1', 'us', ['r'], '[]', 1",
                "'k2', 'high', 'p1', 'email', 'm1', 2, null, 'c/v1', 'us', ['r'], '[]', 1",
                "'k3', 'high', 'p2', 'email', 'm2', 2, 'consent_denied', 'c/v1', 'us', ['r'], '[]', 1",
                "'k4', 'low', 'p2', 'email', 'm2', 1, null, 'c/v1', 'us', ['r'], '[]', 1",
                "'k5', 'low', 'p3', 'email', 'm3', 1, 'already_decided', 'c/v1', 'us', ['r'], '[]', 1",
                "'k6', 'high', 'p3', 'email', 'm3', 2, null, 'c/v1', 'us', ['r'], '[]', 1",
            ),
        },
        shown="send_key, outcome, reason",
        expected=[
            ("k1", "refuse", "lost_to:high"),
            ("k2", "send", ""),
            ("k3", "refuse", "consent_denied"),
            ("k4", "send", ""),
            ("k5", "refuse", "already_decided"),
            ("k6", "refuse", "lost_to:low"),
        ],
    ),
    Case(
        model="decide/send_fields",
        name="declared fields of sends alone; what nobody filled is left out",
        given={
            "send_decisions": rows_of(
                "send_key, workflow_id, profile_id, used_properties, outcome",
                "'k1', 'w', 'p1', '{\"x\":[1,\"a\"],\"y\":null}', 'send'",
                "'k2', 'w', 'p1', '{\"x\":1}', 'refuse'",
            ),
            "workflow_fields": rows_of(
                "workflow_id, target, field, section, name, path",
                "'w', 'data', 'b', 'properties', 'x', '$.\"x\"'",
                "'w', 'data', 'c', 'properties', 'y', '$.\"y\"'",
                "'w', 'data', 'a', 'traits', 't', '$.\"t\"'",
                "'w', 'profile', 'z', 'traits', 'none', '$.\"none\"'",
            ),
            "current_traits": rows_of("profile_id, trait, value", "'p1', 't', '\"v\"'", "'p2', 'none', '1'"),
        },
        shown="send_key, data_fields, profile_fields",
        expected=[("k1", '{"a":"v","b":[1,"a"]}', "{}")],
    ),
    Case(
        model="infer/observed_events",
        name="calls with a name, the section that the call fills, and nothing of what is no call",
        given={
            "traffic_lines": rows_of(
                "ordinal, line",
                '1, \'{"type": "track", "event": "A", "userId": "u", "properties": {"x": 1}, "traits": {"y": 2}}\'',
                '2, \'{"type": "identify", "anonymousId": "a", "properties": {"x": 1}, "traits": {"y": 2}}\'',
                '3, \'{"type": "page", "name": "N", "userId": "u", "properties": []}\'',
                '4, \'{"type": "track", "userId": "u"}\'',
                "5, '[1]'",
                "6, '{'",
                "7, null",
            )
        },
        shown="ordinal, call, event_name, speaker, said",
        expected=[
            (1, "track", "A", "u", '{"x":1}'),
            (2, "identify", "identify", "a", '{"y":2}'),
            (3, "page", "page", "u", "{}"),
        ],
    ),
    Case(
        model="infer/sampled_events",
        name="of each event no more than asked for, in whatever order the traffic came",
        given={
            "observed_events": rows_of(
                "ordinal, call, event_name, speaker, said",
                "1, 'track', 'A', 'u', 'a1'",
                "2, 'track', 'A', 'u', 'a2'",
                "3, 'track', 'A', 'u', 'a3'",
                "4, 'track', 'B', 'u', 'b1'",
            )
        },
        shown="event_name, said",
        expected=[("A", "a1"), ("A", "a2"), ("B", "b1")],
    ),
    Case(
        model="infer/observed_values",
        name="each property with its JSON text; only texts have a text and only numbers a number",
        given={
            "sampled_events": rows_of(
                "call, event_name, speaker, said",
                """'track', 'A', 'u', '{"t": "x\\u0041", "n": 1.5, "z": null, "b": true, "o": {"k": "v"}, "l": [1], "huge": 1e999}'""",
                "'track', 'A', 'u', '{}'",
            )
        },
        shown="property, leaf, text, number",
        expected=[
            ("t", '"xA"', "xA", None),
            ("n", "1.5", None, 1.5),
            ("z", None, None, None),
            ("b", "true", None, None),
            ("o", '{"k":"v"}', None, None),
            ("l", "[1]", None, None),
            ("huge", "1e999", None, float("inf")),
        ],
    ),
    Case(
        model="infer/property_evidence",
        name="kinds add up to what is present, and formats are counted among the texts",
        given={
            "observed_values": rows_of(
                "call, event_name, speaker, property, leaf, text, number",
                "'track', 'A', 'u', 'x', '1', null::varchar, 1.0::double",
                "'track', 'A', 'u', 'x', '2.5', null, 2.5",
                "'track', 'A', 'u', 'x', null, null, null",
                "'track', 'A', 'u', 'x', 'true', null, null",
                "'track', 'A', 'u', 'x', '{}', null, null",
                "'track', 'A', 'u', 'x', '[]', null, null",
                "'track', 'A', 'u', 'x', '\"a@b.c\"', 'a@b.c', null",
                "'track', 'A', 'u', 'x', '\"2026-01-01\"', '2026-01-01', null",
                "'track', 'A', 'u', 'x', '\"2026-01-01T00:00:00Z\"', '2026-01-01T00:00:00Z', null",
                "'track', 'A', 'u', 'x', '\"DE\"', 'DE', null",
            )
        },
        shown="present, nulls, texts, numbers, integers, booleans, objects, arrays, timestamps, dates, emails, uuids, "
        "countries, currencies, personal_texts, least, greatest, longest, different_texts",
        expected=[(9, 1, 4, 2, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 1.0, 2.5, 20, 4)],
    ),
    Case(
        model="infer/inner_objects",
        name="objects and the objects in arrays, by the path that leads to them; what is no object has nothing inside",
        given={
            "observed_values": rows_of(
                "call, event_name, speaker, property, leaf",
                """'track', 'A', 'u', 'o', '{"k":1}'""",
                """'track', 'A', 'u', 'l', '[{"k":2},3,null,"{"]'""",
                "'track', 'A', 'u', 't', '\"{\"'",
                "'track', 'A', 'u', 'n', null",
            )
        },
        shown="call, event_name, speaker, said",
        expected=[("track", "A\x1fo", "u", '{"k":1}'), ("track", "A\x1fl[]", "u", '{"k":2}')],
    ),
    Case(
        model="infer/array_items",
        name="every item of an array, null among them, by the path of its array",
        given={
            "observed_values": rows_of(
                "call, event_name, speaker, property, leaf",
                """'track', 'A', 'u', 'l', '[{"k":2},3,null]'""",
                """'track', 'A', 'u', 'o', '{"k":1}'""",
                "'track', 'A', 'u', 'none', '[]'",
                "'track', 'A', 'u', 'n', null",
            )
        },
        shown="call, event_name, speaker, said",
        expected=[
            ("track", "A\x1fl[]", "u", '{"item":{"k":2}}'),
            ("track", "A\x1fl[]", "u", '{"item":3}'),
            ("track", "A\x1fl[]", "u", '{"item":null}'),
        ],
    ),
    Case(
        model="infer/repeated_texts",
        name="texts of properties that take few, with the number of people behind each",
        given={
            "property_evidence": rows_of(
                "call, event_name, property, different_texts", "'track', 'A', 'x', 2", "'track', 'A', 'free', 900"
            ),
            "observed_values": rows_of(
                "call, event_name, speaker, property, text",
                "'track', 'A', 'u', 'x', 'red'",
                "'track', 'A', 'u', 'x', 'red'",
                "'track', 'A', 'v', 'x', 'red'",
                "'track', 'A', 'v', 'x', null",
                "'track', 'A', 'v', 'free', 'told'",
            ),
        },
        shown="property, text, events, speakers",
        expected=[("x", "red", 3, 2)],
    ),
    # -- checks: one innocent and one guilty case each -----------------------------------------------------------------
    Case(
        model="checks/ingested_events__not_accounted_for",
        name="innocent: every event is in one place",
        given={
            "ingested_events": rows_of("ordinal, event_id", "1, 'e1'", "2, 'e2'", "3, 'e3'", "4, 'e4'"),
            "validated_events": rows_of("ordinal", "1"),
            "quarantined_events": rows_of("ordinal", "2"),
            "duplicate_events": rows_of("ordinal", "3"),
            "shed_events": rows_of("ordinal", "4"),
        },
        shown="event_id",
    ),
    Case(
        model="checks/ingested_events__not_accounted_for",
        name="guilty: an event is nowhere, another in two places",
        given={
            "ingested_events": rows_of("ordinal, event_id", "1, 'e1'", "2, 'e2'", "3, 'e3'"),
            "validated_events": rows_of("ordinal", "1", "2"),
            "quarantined_events": rows_of("ordinal", "2"),
            "duplicate_events": "select 0 as ordinal where false",
            "shed_events": rows_of("ordinal", "1"),
        },
        shown="event_id",
        expected=[("e1",), ("e2",), ("e3",)],
    ),
    Case(
        model="checks/overgrown_profiles__over_the_contract",
        name="innocent: nobody was given too much",
        given={"overgrown_profiles": "select '' as profile_id, '' as broken where false"},
        shown="profile_id, broken",
    ),
    Case(
        model="checks/overgrown_profiles__over_the_contract",
        name="guilty: each with what it breaks",
        given={
            "overgrown_profiles": rows_of("profile_id, broken", "'p1', 'limit of email'", "'p2', 'maximum_cluster'")
        },
        shown="profile_id, broken",
        expected=[("p1", "limit of email"), ("p2", "maximum_cluster")],
    ),
    Case(
        model="checks/offered_links__not_accounted_for",
        name="innocent: told of, or standing on the event's profile",
        given={
            "offered_links": rows_of("event_id, kind", "'e1', 'email'", "'e1', 'user_id'"),
            "ledger_links": rows_of("event_id, kind", "'e1', 'email'"),
            "standing_links": rows_of("event_id, kind, is_known", "'e1', 'user_id', true"),
        },
        shown="event_id, kind",
    ),
    Case(
        model="checks/offered_links__not_accounted_for",
        name="guilty: told of nowhere, standing elsewhere, and offered by nobody",
        given={
            "offered_links": rows_of("event_id, kind", "'e1', 'email'", "'e1', 'user_id'"),
            "ledger_links": rows_of("event_id, kind", "'e2', 'email'"),
            "standing_links": rows_of("event_id, kind, is_known", "'e1', 'user_id', false"),
        },
        shown="event_id, kind, is_offered",
        expected=[("e1", "email", True), ("e1", "user_id", True), ("e2", "email", False)],
    ),
    Case(
        model="checks/resolved_events__nobody_and_no_reason",
        name="innocent: each has a profile or a reason",
        given={
            "validated_events": rows_of("ordinal, event_id", "1, 'e1'", "2, 'e2'"),
            "resolved_events": rows_of(
                "ordinal, profile_id, unresolved_reason", "1, 'p1', null", "2, null, 'no_profile'"
            ),
        },
        shown="event_id",
    ),
    Case(
        model="checks/resolved_events__nobody_and_no_reason",
        name="guilty: neither, both, or lost",
        given={
            "validated_events": rows_of("ordinal, event_id", "1, 'e1'", "2, 'e2'", "3, 'e3'"),
            "resolved_events": rows_of(
                "ordinal, profile_id, unresolved_reason", "1, null, null", "2, 'p1', 'no_profile'"
            ),
        },
        shown="event_id",
        expected=[("e1",), ("e2",), ("e3",)],
    ),
    *(
        Case(
            model="checks/audience_memberships__without_consent",
            name=name,
            given={
                "audience_memberships": rows_of("audience_id, profile_id, change, consent_checked", *changes),
                "audiences": rows_of("audience_id, purpose, channel", "'a', 'm', 'email'"),
                "consent_verdicts": rows_of(
                    "profile_id, purpose, channel, reason",
                    "'yes', 'm', 'email', null",
                    "'no', 'm', 'email', 'consent_denied'",
                ),
            },
            shown="profile_id, change",
            expected=expected,
        )
        for name, changes, expected in (
            (
                "innocent: members consent, and who does not has left",
                ["'a', 'yes', 'entered', true", "'a', 'no', 'exited', false"],
                [],
            ),
            (
                "guilty: a member who said no, and one whose consent was not looked at",
                ["'a', 'no', 'entered', true", "'a', 'yes', 'kept', false"],
                [("no", "entered"), ("yes", "kept")],
            ),
        )
    ),
    *(
        Case(
            model="checks/send_decisions__not_released",
            name=name,
            given={
                "send_decisions": rows_of("decision_id, audience_id, profile_id, outcome", *decisions),
                "memberships_now": rows_of(
                    "audience_id, profile_id, is_member", "'a', 'in', true", "'a', 'out', false"
                ),
            },
            shown="decision_id",
            expected=expected,
        )
        for name, decisions, expected in (
            ("innocent: who is sent is a member", ["'d1', 'a', 'in', 'send'", "'d2', 'a', 'out', 'refuse'"], []),
            (
                "guilty: sent to somebody who left, and to somebody nobody knows",
                ["'d1', 'a', 'out', 'send'", "'d2', 'a', 'nobody', 'send'"],
                [("d1",), ("d2",)],
            ),
        )
    ),
]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    found = Engine.in_memory(SQL)
    yield found
    found.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.model.split('/')[1]}: {case.name}")
def test_a_model_gives_what_is_expected_of_what_is_given(engine: Engine, case: Case) -> None:
    for relation, select in case.given.items():
        engine.make(relation, select)
    engine.compute(case.model, **PARAMETERS)
    relation = case.model.split("/")[1]
    found = engine.rows(f"select {case.shown} from {relation}")
    assert sorted(found, key=repr) == sorted(case.expected, key=repr)
    engine.forget(relation, *case.given)


# -- what every file looks like ---------------------------------------------------------------------------------------


def text_of(model: str) -> str:
    return (SQL / f"{model}.sql").read_text(encoding="utf-8")


def head_of(model: str) -> list[str]:
    """The comment lines that a file begins with."""
    lines = text_of(model).splitlines()
    return lines[: next(number for number, line in enumerate(lines) if not line.startswith("--"))]


def parsed(model: str) -> exp.Query:
    found = [one for one in sqlglot.parse(text_of(model), dialect="duckdb") if one is not None]
    assert len(found) == 1, f"{model} holds more than one statement"
    assert isinstance(found[0], exp.Query)
    return found[0]


def test_every_model_has_a_case_and_every_check_an_innocent_and_a_guilty_one() -> None:
    assert {case.model for case in CASES} == set(FILES)
    for model in FILES:
        if model.startswith("checks/"):
            cases = [case for case in CASES if case.model == model]
            assert [not case.expected for case in cases] == [True, False], model
            assert [case.name.split(":")[0] for case in cases] == ["innocent", "guilty"], model


@pytest.mark.parametrize("model", FILES)
def test_every_file_begins_with_a_sentence_and_its_grain(model: str) -> None:
    *sentence, grain = head_of(model)
    assert " ".join(line.removeprefix("--").strip() for line in sentence).endswith(".")
    assert sentence[0][3].isupper()
    assert re.fullmatch(r"-- grain: one .+[^.]", grain)


@pytest.mark.parametrize("model", FILES)
def test_every_file_is_one_select_that_reads_no_clock_and_no_chance(model: str) -> None:
    statement = parsed(model)
    functions = {one.sql_name().lower() for one in statement.find_all(exp.Func)} | {
        str(one.this).lower() for one in statement.find_all(exp.Anonymous)
    }
    forbidden = {"now", "current_timestamp", "current_date", "random", "uuid", "gen_random_uuid", "today", "rand"}
    assert not functions & forbidden
    assert "{{" not in text_of(model)


@pytest.mark.parametrize("model", FILES)
def test_no_file_is_longer_than_a_page(model: str) -> None:
    assert (len(text_of(model).splitlines()) <= 60) is (model not in LONGER_THAN_A_PAGE)


@pytest.mark.parametrize("model", FILES)
def test_a_file_is_named_after_its_relation_and_reads_only_relations_that_somebody_makes(model: str) -> None:
    folder, relation = model.split("/")
    assert folder in ("ingest", "validate", "consent", "decide", "checks", "infer")
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*(__[a-z]+(_[a-z]+)*)?", relation)
    statement = parsed(model)
    steps = {cte.alias for cte in statement.find_all(exp.CTE)}
    read = {table.name for table in statement.find_all(exp.Table)} - steps
    assert relation not in read
    cases = [case for case in CASES if case.model == model]
    for case in cases:
        assert set(case.given) == read, "a case gives exactly what the model reads"
