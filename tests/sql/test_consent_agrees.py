"""Consent judged for all profiles at once is what the plain judge says of each: ties, expiry, regions and further needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from activation_dagster.domain.audiences import Audience, Comparison, TraitCondition
from activation_dagster.domain.consent import (
    ConsentRecord,
    ConsentRules,
    ConsentStatus,
    Purpose,
    Region,
    current_choice,
    judge_consent,
)
from activation_dagster.lake.engine import Engine
from activation_dagster.state.instants import instant, micros
from tests.sql.promised import SQL, Promised

NOW = datetime(2026, 3, 1, 10, 15, 30, 123_456, tzinfo=UTC)
DAY = timedelta(days=1)
PURPOSES = ["marketing", "personalization", "research"]
CHANNELS = ["email", "push"]
COUNTRIES = ["US", "DE", "FR", "CA", "é"]
MEMBERS = ["m0", "m1", "m2", "m3"]


@pytest.fixture(scope="module")
def promised() -> Iterator[Promised]:
    engine = Engine.in_memory(SQL)
    yield Promised(engine=engine)
    engine.close()


@st.composite
def rule_sets(draw: st.DrawFn) -> ConsentRules:
    purposes = {name: Purpose(name=name, description="", channels=("email", "push")) for name in PURPOSES}
    regions = {
        name: Region(
            name=name,
            countries=frozenset(draw(st.sets(st.sampled_from(COUNTRIES), max_size=3))),
            also_requires=draw(
                st.dictionaries(
                    st.sampled_from(PURPOSES),
                    st.lists(st.sampled_from(PURPOSES), max_size=2).map(tuple),
                    max_size=2,
                )
            ),
            valid_for_days=draw(st.dictionaries(st.sampled_from(PURPOSES), st.sampled_from([1, 30, 365]), max_size=2)),
        )
        for name in draw(st.lists(st.sampled_from(["eu", "us", "row", "ca"]), min_size=1, max_size=4, unique=True))
    }
    return ConsentRules(
        version="v1",
        purposes=purposes,
        regions=regions,
        default_region=draw(st.sampled_from(sorted(regions))),
        mappings=(),
    )


moments = st.sampled_from(
    [
        NOW,
        NOW - timedelta(microseconds=1),
        NOW + timedelta(microseconds=1),
        NOW - DAY,
        NOW - DAY + timedelta(microseconds=1),
        NOW - DAY - timedelta(microseconds=1),
        NOW - 30 * DAY,
        NOW - 365 * DAY,
        NOW - 366 * DAY,
        NOW + DAY,
    ]
)
records = st.lists(
    st.builds(
        ConsentRecord,
        record_id=st.integers(0, 999).map(lambda number: f"r{number:03d}"),
        profile_id=st.sampled_from(MEMBERS),
        purpose=st.sampled_from(PURPOSES),
        channel=st.sampled_from(CHANNELS),
        status=st.sampled_from(ConsentStatus),
        decided_at=moments,
        seq=st.integers(1, 3),
        source=st.just("e"),
    ),
    max_size=25,
    unique_by=lambda record: record.record_id,
)
clusters = st.lists(st.booleans(), min_size=len(MEMBERS), max_size=len(MEMBERS)).map(
    lambda merged: {member: "m0" if is_merged else member for member, is_merged in zip(MEMBERS, merged, strict=True)}
)
countries = st.dictionaries(
    st.sampled_from(MEMBERS), st.sampled_from([*COUNTRIES, "", "us", "XX", 5, True, None, ["DE"]]), max_size=4
)
AUDIENCES = {
    f"{purpose}_{channel}": Audience(
        audience_id=f"{purpose}_{channel}",
        owner="crm",
        description="",
        purpose=purpose,
        channel=channel,
        conditions=(TraitCondition(trait="x", comparison=Comparison.IS_IN, values=("y",)),),
    )
    for purpose in PURPOSES
    for channel in CHANNELS
}


def put_known(
    promised: Promised, heads: dict[str, str], said: list[ConsentRecord], living: dict[str, object]
) -> dict[str, str | None]:
    """What state knows, as the pipeline loads it; the country of each profile, where it is text."""
    engine = promised.engine
    engine.put("cluster_members", {"member": "VARCHAR", "profile_id": "VARCHAR"}, list(heads.items()))
    engine.put(
        "touched_profiles",
        {"profile_id": "VARCHAR", "first_key": "BLOB"},
        [(head, b"k") for head in sorted(set(heads.values()))],
    )
    engine.put(
        "known_choices",
        {
            **dict.fromkeys(("record_id", "profile_id", "purpose", "channel", "status"), "VARCHAR"),
            **dict.fromkeys(("decided_at", "seq"), "BIGINT"),
        },
        [
            (one.record_id, one.profile_id, one.purpose, one.channel, one.status.value, micros(one.decided_at), one.seq)
            for one in said
        ],
    )
    known = {heads[who]: country for who, country in sorted(living.items()) if country is not None}
    engine.put(
        "current_traits",
        {"profile_id": "VARCHAR", "trait": "VARCHAR", "value": "VARCHAR"},
        [(who, "$country", json.dumps(country, ensure_ascii=False)) for who, country in known.items()],
    )
    for relation in ("profile_regions", "current_choices", "consent_verdicts"):
        engine.compute(f"consent/{relation}")
    return {who: country if isinstance(country, str) else None for who, country in known.items()}


SHARED = ConsentRules(
    version="v1",
    purposes={name: Purpose(name=name, description="", channels=("email",)) for name in PURPOSES},
    regions={
        name: Region(name=name, countries=frozenset({"DE"}), also_requires={}, valid_for_days={})
        for name in ("eu", "us")
    },
    default_region="us",
    mappings=(),
)


@settings(max_examples=60)
@given(rule_sets(), clusters, records, countries)
@example(SHARED, dict(zip(MEMBERS, MEMBERS, strict=True)), [], {"m0": "DE"})
def test_verdicts_in_bulk_are_the_plain_verdicts(
    promised: Promised,
    rules: ConsentRules,
    heads: dict[str, str],
    said: list[ConsentRecord],
    living: dict[str, object],
) -> None:
    promised.with_contracts(audiences=AUDIENCES, consent=rules)
    promised.at(NOW)
    country_of = put_known(promised, heads, said, living)
    rows = promised.engine.rows("select profile_id, region, purpose, channel, reason, records from consent_verdicts")
    found = {(who, purpose, channel): (region, reason, ids) for who, region, purpose, channel, reason, ids in rows}
    assert len(found) == len(rows) == len(set(heads.values())) * len(PURPOSES) * len(CHANNELS)
    for (who, purpose, channel), (region, reason, ids) in found.items():
        assert region == rules.region_of(country_of.get(who))
        verdict = judge_consent(
            rules,
            [record for record in said if heads[record.profile_id] == who],
            purpose=purpose,
            channel=channel,
            region=region,
            at=NOW,
        )
        assert reason == (None if verdict.reason is None else verdict.reason.value)
        assert set(ids or ()) == {record.record_id for record in verdict.evidence}


@settings(max_examples=60)
@given(clusters, records)
def test_the_choice_that_counts_in_bulk_is_the_plain_one(
    promised: Promised, heads: dict[str, str], said: list[ConsentRecord]
) -> None:
    promised.with_contracts(audiences=AUDIENCES)
    promised.at(NOW)
    put_known(promised, heads, said, {})
    found = {
        row[:3]: (row[3], row[4], row[5])
        for row in promised.engine.rows(
            "select profile_id, purpose, channel, record_id, status, decided_at from current_choices"
        )
    }
    wanted = {}
    for head in set(heads.values()):
        of_head = [record for record in said if heads[record.profile_id] == head]
        for purpose in PURPOSES:
            for channel in CHANNELS:
                choice = current_choice(of_head, purpose=purpose, channel=channel)
                if choice is not None:
                    key = (head, purpose, channel)
                    wanted[key] = (choice.record_id, choice.status.value, micros(choice.decided_at))
    assert found == wanted


def test_a_yes_runs_out_at_the_very_microsecond() -> None:
    rules = ConsentRules(
        version="v1",
        purposes=SHARED.purposes,
        regions={
            "us": Region(name="us", countries=frozenset(), also_requires={}, valid_for_days={"marketing": 30}),
        },
        default_region="us",
        mappings=(),
    )
    granted = ConsentRecord(
        record_id="r",
        profile_id="p",
        purpose="marketing",
        channel="email",
        status=ConsentStatus.GRANTED,
        decided_at=NOW,
        seq=1,
        source="e",
    )

    def allowed(at: datetime) -> bool:
        return judge_consent(rules, [granted], purpose="marketing", channel="email", region="us", at=at).allowed

    assert allowed(NOW + 30 * DAY - timedelta(microseconds=1))
    assert not allowed(NOW + 30 * DAY)
    assert instant(micros(NOW)) == NOW
