"""Decisions in bulk are the plain ones: keys that name what happened, the first reason that counts, one winner."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from activation_dagster.domain.sends import send_key
from activation_dagster.domain.workflows import Contender, EntryTrigger, EventTrigger, Workflow, winner
from activation_dagster.lake.engine import Engine
from tests.sql.promised import SQL, Promised, contracts_today

NOW = datetime(2026, 3, 1, 10, 15, 30, 123_456, tzinfo=UTC)


@pytest.fixture(scope="module")
def promised() -> Iterator[Promised]:
    engine = Engine.in_memory(SQL)
    yield Promised(engine=engine)
    engine.close()


def workflow(workflow_id: str, **wishes: Any) -> Workflow:
    """A workflow on one event, like those of the repository."""
    usual: dict[str, Any] = {
        "version": "v1",
        "owner": "crm",
        "description": "",
        "trigger": EventTrigger(event="product_purchased", where={}),
        "audience_id": "recent_buyers",
        "purpose": "marketing",
        "channel": "email",
        "priority": 1,
        "destination": "iterable",
        "endpoint": "track",
        "subject": "x",
        "reentry": None,
        "expires_after": timedelta(hours=1),
        "data_fields": {},
        "profile_fields": {},
    }
    return Workflow(workflow_id=workflow_id, **{**usual, **wishes})


# -- keys -------------------------------------------------------------------------------------------------------------

names = st.from_regex(r"\A[a-z][a-z0-9_]{0,12}\Z")
message_ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=20)


@settings(max_examples=25)
@given(
    st.lists(names, min_size=1, max_size=3, unique=True),
    st.lists(message_ids, min_size=1, max_size=10, unique=True),
    st.lists(
        st.tuples(st.binary(min_size=16, max_size=16), st.integers(1, 99)), max_size=5, unique_by=lambda one: one[0]
    ),
)
def test_send_keys_in_bulk_are_the_plain_keys(
    promised: Promised, workflows: list[str], messages: list[str], entries: list[tuple[bytes, int]]
) -> None:
    by_event = {name: workflow(name) for name in workflows}
    promised.with_contracts(
        workflows=by_event | {f"{name}_entry": workflow(f"{name}_entry", trigger=EntryTrigger()) for name in workflows}
    )
    promised.at(NOW)
    put_events(promised.engine, [(message, "p1", {}) for message in messages])
    put_entries(promised.engine, entries)
    promised.engine.compute("decide/candidates")
    rows = promised.engine.rows("select workflow_id, send_key, decision_id, trigger from candidates")
    wanted = Counter(
        [(name, send_key(workflow_id=name, trigger=f"message:{message}")) for name in workflows for message in messages]
        + [
            (f"{name}_entry", send_key(workflow_id=f"{name}_entry", trigger=f"entry:{key.hex()}:{number}"))
            for name in workflows
            for key, number in entries
        ]
    )
    assert Counter(row[:2] for row in rows) == wanted
    assert len({row[2] for row in rows}) == len(rows)
    for name, key, _, trigger in rows:
        assert key == send_key(workflow_id=name, trigger=trigger)


def put_events(engine: Engine, events: list[tuple[str, str | None, dict[str, Any]]]) -> None:
    """Accepted purchases of (message id, profile, used properties)."""
    engine.put(
        "validated_events",
        {
            "ordinal": "BIGINT",
            **dict.fromkeys(("message_id", "event_id", "contract", "contract_version", "used_properties"), "VARCHAR"),
            "occurred": "BIGINT",
        },
        [
            (number, message, f"e{number:04d}", "product_purchased", "v1", json.dumps(used), 0)
            for number, (message, _, used) in enumerate(events)
        ],
    )
    engine.make(
        "validated_events",
        "select *, timestamp '2026-03-01 10:00:00' as occurred_at, timestamp '2026-03-01 10:00:00' as landed_at, "
        "false as is_state_only "
        "from validated_events",
    )
    engine.put(
        "resolved_events",
        {"ordinal": "BIGINT", "profile_id": "VARCHAR", "unresolved_reason": "VARCHAR"},
        [(number, profile, "no_profile" if profile is None else None) for number, (_, profile, _) in enumerate(events)],
    )
    put_entries(engine, [])


def put_entries(engine: Engine, entries: list[tuple[bytes, int]]) -> None:
    """Entries into recent_buyers of (oldest identifier's key, entry number)."""
    engine.put(
        "audience_memberships",
        {
            **dict.fromkeys(("audience_id", "profile_id", "change"), "VARCHAR"),
            "entry_key": "BLOB",
            "entry_no": "INTEGER",
        },
        [("recent_buyers", f"p{number}", "entered", key, no) for number, (key, no) in enumerate(entries)],
    )


# -- which events trigger ---------------------------------------------------------------------------------------------

scalars = st.sampled_from(["", "GBP", "5", "true", "é", 'a"b', 5, 5.0, 0.1, 1e-7, True, False, 100, -0.5])


@settings(max_examples=40)
@given(
    st.dictionaries(st.sampled_from(["currency", "price", "a b"]), scalars, max_size=2),
    st.lists(
        st.dictionaries(st.sampled_from(["currency", "price", "a b"]), scalars | st.none(), max_size=3),
        min_size=1,
        max_size=10,
    ),
)
@example({"price": 1e-7}, [{"price": 1e-7}])
def test_an_event_triggers_where_all_named_properties_are_equal_as_json(
    promised: Promised, where: dict[str, Any], events: list[dict[str, Any]]
) -> None:
    promised.with_contracts(
        workflows={"w": workflow("w", trigger=EventTrigger(event="product_purchased", where=where))}
    )
    promised.at(NOW)
    put_events(promised.engine, [(f"m{number}", "p1", used) for number, used in enumerate(events)])
    promised.engine.make(
        "validated_events", "select * replace (json(used_properties)::varchar as used_properties) from validated_events"
    )
    promised.engine.compute("decide/candidates")
    found = {row[0] for row in promised.engine.rows("select trigger from candidates")}
    assert found == {
        f"message:m{number}"
        for number, used in enumerate(events)
        if all(json.dumps(used.get(name)) == json.dumps(value) for name, value in where.items())
    }


# -- who wins ---------------------------------------------------------------------------------------------------------

candidates = st.lists(
    st.fixed_dictionaries(
        {
            "workflow_id": st.sampled_from(["a", "b", "c", "d", "e"]),
            "profile_id": st.sampled_from(["p1", "p2", None]),
            "channel": st.sampled_from(["email", "push"]),
            "competes_on": st.sampled_from(["message:1", "message:2", "entry:x"]),
            "priority": st.integers(1, 3),
            "reason": st.sampled_from([None, None, None, "consent_denied", "too_old", "already_decided"]),
        }
    ),
    min_size=1,
    max_size=20,
    unique_by=lambda one: (one["workflow_id"], one["profile_id"], one["channel"], one["competes_on"]),
)


@settings(max_examples=80)
@given(candidates)
def test_of_those_who_compete_the_plain_winner_is_sent(promised: Promised, drawn: list[dict[str, Any]]) -> None:
    promised.at(NOW)
    put_judged(promised.engine, drawn)
    promised.engine.compute("decide/send_decisions")
    found = {
        row[0]: row[1:]
        for row in promised.engine.rows("select send_key, outcome, reason, evidence from send_decisions")
    }
    assert len(found) == len(drawn)
    competing: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for one in drawn:
        if one["reason"] in (None, "already_decided"):
            competing[one["profile_id"], one["channel"], one["competes_on"]].append(one)
    for number, one in enumerate(drawn):
        outcome, reason, evidence = found[f"k{number}"]
        if one["reason"] is not None:
            assert (outcome, reason) == ("refuse", one["reason"])
            continue
        rivals = competing[one["profile_id"], one["channel"], one["competes_on"]]
        before = [rival for rival in rivals if rival["reason"] is not None]  # who was decided before has won
        contenders = [Contender(workflow_id=r["workflow_id"], priority=r["priority"]) for r in before or rivals]
        best = winner(contenders).workflow_id
        assert (outcome, reason) == (("send", "") if one["workflow_id"] == best else ("refuse", f"lost_to:{best}"))
        assert json.loads(evidence)["rivals"] == sorted(r["workflow_id"] for r in rivals)


def put_judged(engine: Engine, drawn: list[dict[str, Any]]) -> None:
    """Judged candidates with nothing but what arbitration looks at."""
    columns = ("workflow_id", "profile_id", "channel", "competes_on", "priority", "reason")
    engine.put(
        "judged_candidates",
        {
            "send_key": "VARCHAR",
            **dict.fromkeys(columns, "VARCHAR"),
            "priority": "INTEGER",
            **dict.fromkeys(("trigger_contract", "region", "measured"), "VARCHAR"),
            "entry_no": "INTEGER",
        },
        [
            (f"k{number}", *(one[name] for name in columns), "x/v1", "row", '[{"a":1}]', 1)
            for number, one in enumerate(drawn)
        ],
    )
    engine.make("judged_candidates", "select *, ['r1'] as records from judged_candidates")


# -- the first reason -------------------------------------------------------------------------------------------------

REASONS = (
    "too_late",
    "no_profile",
    "no_profile_key",
    "suppressed",
    "consent_denied",
    "not_in_audience",
    "too_old",
    "already_decided",
)


@settings(max_examples=60)
@given(st.sets(st.sampled_from(REASONS)), st.sampled_from(["*", "email", "push"]))
def test_the_first_reason_to_refuse_counts(promised: Promised, wrong: set[str], suppressed_on: str) -> None:
    promised.with_contracts(workflows={"w": workflow("w")})
    promised.at(NOW)
    engine = promised.engine
    happened = NOW - timedelta(hours=1) if "too_old" in wrong else NOW - timedelta(hours=1) + timedelta(microseconds=1)
    profile = None if "no_profile" in wrong else "p1"
    put_events(engine, [("m", profile, {})])
    at = happened.replace(tzinfo=None).isoformat(" ")
    replaced = f"timestamp '{at}' as occurred_at, {'too_late' in wrong} as is_state_only"
    engine.make("validated_events", f"select * replace ({replaced}) from validated_events")
    engine.compute("decide/candidates")
    key = send_key(workflow_id="w", trigger="message:m")
    put = engine.put
    put(
        "profile_keys",
        dict.fromkeys(("profile_id", "kind", "value"), "VARCHAR"),
        [] if "no_profile_key" in wrong else [("p1", "user_id", "u1")],
    )
    put("decided_keys", {"send_key": "VARCHAR"}, [(key,)] if "already_decided" in wrong else [])
    put("cluster_members", dict.fromkeys(("member", "profile_id"), "VARCHAR"), [("p0", "p1"), ("p1", "p1")])
    put(
        "known_suppressions",
        dict.fromkeys(("profile_id", "channel"), "VARCHAR"),
        [("p0", suppressed_on), ("p1", suppressed_on)] if "suppressed" in wrong else [],
    )
    denied = "'consent_denied'" if "consent_denied" in wrong else "null::varchar"
    engine.make(
        "consent_verdicts",
        "select 'p1' as profile_id, 'row' as region, 'marketing' as purpose, 'email' as channel, "
        f"{denied} as reason, ['r1'] as records",
    )
    engine.make(
        "memberships_now",
        "select 'recent_buyers' as audience_id, 'p1' as profile_id, "
        f"{'not_in_audience' not in wrong} as is_member, '[]' as measured, 1 as entry_no",
    )
    engine.compute("decide/judged_candidates")
    rows = engine.rows("select send_key, reason from judged_candidates")
    if suppressed_on == "push":
        wrong = wrong - {"suppressed"}  # another channel's
    if profile is None:
        wrong = {"no_profile"} | (wrong & {"too_late"})
    assert rows == [(key, next((reason for reason in REASONS if reason in wrong), None))]


# -- what is sent along -----------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.sampled_from(["x", "y", "zed"]),
        st.sampled_from(["properties.a b", "properties.currency", "traits.country", "traits.a.b"]),
        max_size=3,
    ),
    st.dictionaries(st.sampled_from(["x", "firstName"]), st.sampled_from(["traits.country", "traits.a.b"]), max_size=2),
    st.dictionaries(
        st.sampled_from(["a b", "currency"]), scalars | st.none() | st.lists(scalars, max_size=2), max_size=2
    ),
    st.dictionaries(
        st.sampled_from(["country", "a.b"]), scalars | st.dictionaries(st.just("k"), scalars, max_size=1), max_size=2
    ),
)
def test_the_declared_fields_are_sent_along_as_they_were_said_and_nothing_else(
    promised: Promised,
    data: dict[str, str],
    profile: dict[str, str],
    properties: dict[str, Any],
    traits: dict[str, Any],
) -> None:
    promised.with_contracts(workflows={"w": workflow("w", data_fields=data, profile_fields=profile)})
    engine = promised.engine
    engine.put(
        "send_decisions",
        dict.fromkeys(("send_key", "workflow_id", "profile_id", "used_properties", "outcome"), "VARCHAR"),
        [("k1", "w", "p1", json.dumps(properties), "send"), ("k2", "w", "p1", json.dumps(properties), "refuse")],
    )
    engine.put(
        "current_traits",
        dict.fromkeys(("profile_id", "trait", "value"), "VARCHAR"),
        [("p1", name, json.dumps(value)) for name, value in traits.items()] + [("p2", "country", '"FR"')],
    )
    engine.compute("decide/send_fields")
    rows = engine.rows("select send_key, data_fields, profile_fields from send_fields")
    said = {"properties": properties, "traits": traits}

    def filled(declared: dict[str, str]) -> dict[str, Any]:
        found = {name: said[path.split(".", 1)[0]].get(path.split(".", 1)[1]) for name, path in declared.items()}
        return {name: value for name, value in found.items() if value is not None}

    wanted = (filled(data), filled(profile))
    if wanted == ({}, {}):
        assert rows == []
    else:
        assert [(row[0], json.loads(row[1]), json.loads(row[2])) for row in rows] == [("k1", *wanted)]


def test_the_repositorys_own_workflows_compete_as_the_story_says() -> None:
    """One is sent, the other is refused with `lost_to:<workflow>`."""
    workflows = contracts_today().workflows
    rivals = [
        Contender(workflow_id=name, priority=workflows[name].priority) for name in ("panel_invitation", "welcome_back")
    ]
    assert winner(rivals).workflow_id == "welcome_back"
    assert workflows["panel_invitation"].trigger == workflows["welcome_back"].trigger
    assert workflows["panel_invitation"].owner != workflows["welcome_back"].owner
