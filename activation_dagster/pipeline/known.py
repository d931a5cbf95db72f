"""What state knows, at a batch's position, of the profiles that the batch touches: as relations beside its events."""

from __future__ import annotations

from sqlalchemy import select

from activation_dagster.pipeline.batch_run import BatchRun
from activation_dagster.state import identity, memberships, profiles
from activation_dagster.state.batches import looked_at_until
from activation_dagster.state.bulk import select_in
from activation_dagster.state.consent import COLUMNS
from activation_dagster.state.tables import (
    consent_records,
    profile_redirects,
    suppressions,
)
from activation_dagster.state.tables import (
    profiles as profile_table,
)


def load_known(run: BatchRun, *, with_new: bool) -> None:
    """Make the relations of all that state knows, at this batch's position, of the profiles that the batch touches.

    `with_new`: what the batch itself adds is taken from memory, where it has just been computed.
    """
    engine, position = run.engine, run.position
    facts_until = position - 1 if with_new else position
    met = [
        row[0] for row in engine.rows("select distinct profile_id from resolved_events where profile_id is not null")
    ]
    with run.places.state.read() as connection:
        due = memberships.due_for_review(
            connection,
            after=looked_at_until(connection, run.batch),
            until=run.batch.as_of,
            before_seq=position,
        )
        redirects, members = identity.clusters(connection, [*met, *due], up_to_seq=position)
        listed = sorted(members)
        touched = sorted({redirects.get(member, member) for member in listed})
        first_keys = [
            (row[0], bytes(row[1]))
            for row in select_in(
                connection,
                select(profile_table.c.profile_id, profile_table.c.first_key),
                profile_table.c.profile_id,
                touched,
            )
        ]
        merged = [
            (row[0],)
            for row in select_in(
                connection,
                select(profile_redirects.c.from_profile).where(profile_redirects.c.seq == position),
                profile_redirects.c.from_profile,
                listed,
            )
        ]
        traits = profiles.traits_of(connection, listed, up_to_seq=facts_until)
        activity = profiles.activity_of(connection, listed, up_to_seq=facts_until)
        before = memberships.last_changes(connection, listed, before_seq=position)
        choices = list(
            select_in(
                connection,
                select(*(consent_records.c[name] for name in COLUMNS[:-2])).where(consent_records.c.seq <= position),
                consent_records.c.profile_id,
                listed,
            )
        )
        hard_noes = list(
            select_in(
                connection,
                select(suppressions.c.profile_id, suppressions.c.channel).where(suppressions.c.seq <= position),
                suppressions.c.profile_id,
                listed,
            )
        )
    text, big = "VARCHAR", "BIGINT"
    engine.put("touched_profiles", {"profile_id": text, "first_key": "BLOB"}, first_keys)
    engine.put(
        "cluster_members",
        {"member": text, "profile_id": text},
        [(member, redirects.get(member, member)) for member in listed],
    )
    engine.put("merged_now", {"profile_id": text}, merged)
    engine.put("due_profiles", {"profile_id": text}, sorted({(redirects.get(found, found),) for found in due}))
    engine.put(
        "known_traits",
        {"profile_id": text, "trait": text, "seq": big, "value": text, "set_at": big},
        [row[:5] for row in traits],
    )
    engine.put(
        "known_activity",
        {
            "profile_id": text,
            "measure": text,
            "day": "INTEGER",
            "seq": big,
            "event_count": big,
            "total_millionths": big,
        },
        activity,
    )
    if with_new:
        engine.connection.execute(
            f"insert into known_traits select profile_id, trait, {position}, value, epoch_us(set_at) from new_traits; "
            f"insert into known_activity select profile_id, measure, day, {position}, event_count, total_millionths "
            "from new_activity"
        )
    engine.put(
        "known_choices",
        {
            "record_id": text,
            "profile_id": text,
            "purpose": text,
            "channel": text,
            "status": text,
            "decided_at": big,
            "seq": big,
        },
        choices,
    )
    engine.put("known_suppressions", {"profile_id": text, "channel": text}, hard_noes)
    engine.put(
        "known_memberships",
        {
            "profile_id": text,
            "audience_id": text,
            "seq": big,
            "change": text,
            "entry_no": "INTEGER",
            "entry_key": "BLOB",
        },
        before,
    )
