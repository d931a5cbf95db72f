"""The tables of state, once for SQLite and PostgreSQL.

Instants are integers: microseconds since 1970-01-01 UTC, so that both databases compare them alike and bulk loads need
no conversion. `seq` is the state sequence: a batch's effects stand at its position, an act of a person or a destination
takes the next number. What stands is never changed (append-only) unless the comment says so; that is what lets a batch
be computed again as it was known. What no longer holds once history is adjudicated again is moved to a `former_` table,
and what holds instead says with `known_seq` since when.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData()

sequence = Table(  # one row, changed by whoever takes the next number
    "sequence",
    metadata,
    Column("name", String(20), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

control_log = Table(  # every act of a person or a destination
    "control_log",
    metadata,
    Column("seq", BigInteger, primary_key=True),
    Column("done_at", BigInteger, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("act", String(60), nullable=False),
    Column("detail", Text, nullable=False),  # JSON
)

leases = Table(  # changed by its holder; the fence only grows
    "leases",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("holder", String(120), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

batches = Table(  # `position` is set once
    "batches",
    metadata,
    Column("batch_id", String(40), primary_key=True),
    Column("batch_no", BigInteger, nullable=False, unique=True),
    Column("environment", String(40), nullable=False),
    Column("arrival_hour", BigInteger, nullable=False, index=True),
    Column("provenance", String(20), nullable=False),
    Column("as_of", BigInteger, nullable=False),
    Column("contract_set", String(64), nullable=False),
    Column("planned_at", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=True, unique=True),
    Column("closed_at", BigInteger, nullable=True, index=True),  # when its last phase closed
)

batch_segments = Table(  # the key keeps two batches from taking the same segment
    "batch_segments",
    metadata,
    Column("segment_id", String(60), primary_key=True),
    Column("source", String(60), primary_key=True),
    Column("batch_id", String(40), nullable=False, index=True),
    Column("arrival_hour", BigInteger, nullable=False),
    Column("path", String(300), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
)

batch_phases = Table(  # `closed_at`, `tables`, `counts` are set when it closes
    "batch_phases",
    metadata,
    Column("batch_id", String(40), primary_key=True),
    Column("phase", String(20), primary_key=True),
    Column("fence", BigInteger, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger, nullable=True),
    Column("counts", Text, nullable=False),  # JSON {name: count}
    Column("tables", Text, nullable=False),  # JSON {table: {version, rows, checksum}}
)

contract_sets = Table(  # the files themselves, so that a batch can be computed again under what was promised then
    "contract_sets",
    metadata,
    Column("fingerprint", String(64), primary_key=True),
    Column("first_used_at", BigInteger, nullable=False),
    Column("files", Text, nullable=False),  # JSON {path: text}
)

message_id_buckets = Table(  # one row a table of message ids; dropped whole with its table
    "message_id_buckets",
    metadata,
    Column("starts_at", BigInteger, primary_key=True),
    Column("ends_at", BigInteger, nullable=False),
    Column("table_name", String(60), nullable=False),
)

duplicates = Table(
    "duplicates",
    metadata,
    Column("batch_id", String(40), primary_key=True),
    Column("event_id", String(80), primary_key=True),
    Column("cause", String(20), nullable=False),
)

profiles = Table(  # also the subject rows that consent, suppression, merge and claim lock (FOR UPDATE)
    "profiles",
    metadata,
    Column("profile_id", String(40), primary_key=True),
    Column("created_seq", BigInteger, nullable=False),
    Column("created_rank", BigInteger, nullable=False),  # order of creation inside the batch
    Column("first_key", LargeBinary(16), nullable=False),  # its oldest identifier
    Column("created_by", String(80), nullable=False),  # event_id
    Column("known_seq", BigInteger, nullable=False, server_default="0"),  # re-adjudicated: since when it is known
)

identifiers = Table(  # an identifier stays with the profile it was first seen with; merges are redirects
    "identifiers",
    metadata,
    Column("key", LargeBinary(16), primary_key=True),  # md5 of kind and value
    Column("kind", String(40), nullable=False),
    Column("value", Text, nullable=False),
    Column("profile_id", String(40), nullable=False),  # looked up in `profile_identifiers`
    Column("seq", BigInteger, nullable=False),
    Column("event_id", String(80), nullable=False),
    Column("seen_at", BigInteger, nullable=False, server_default="0"),  # when that event happened
    Column("known_seq", BigInteger, nullable=False, server_default="0"),  # re-adjudicated: since when it is known
    sqlite_with_rowid=False,
)

profile_identifiers = Table(  # every accepted link, in the order of profiles: cheaper to fill than an index by profile
    "profile_identifiers",
    metadata,
    Column("profile_id", String(40), primary_key=True),
    Column("key", LargeBinary(16), primary_key=True),
    Column("event_id", String(80), primary_key=True),
    sqlite_with_rowid=False,
)
"""Where to look, not what is so: a row stays when its link ends, and is written before its link and its identifier."""

companions = Table(  # what values under a `shared` rule were seen with, until they turn out to be shared
    "companions",
    metadata,
    Column("key", LargeBinary(16), primary_key=True),  # of the identifier
    Column("other_key", LargeBinary(16), primary_key=True),  # of a value of the kind that its rule counts
    Column("seq", BigInteger, nullable=False),
    Column("known_seq", BigInteger, nullable=False, server_default="0"),  # re-adjudicated: since when it is known
    sqlite_with_rowid=False,
)

profile_redirects = Table(  # a profile loses once; chains are followed
    "profile_redirects",
    metadata,
    Column("from_profile", String(40), primary_key=True),
    Column("to_profile", String(40), nullable=False, index=True),
    Column("seq", BigInteger, nullable=False),
    Column("event_id", String(80), nullable=False),
    Column("known_seq", BigInteger, nullable=False, server_default="0"),  # re-adjudicated: since when it is known
)

links = Table(  # the ledger of what was seen together, accepted or not
    "links",
    metadata,
    Column("event_id", String(80), primary_key=True),
    Column("key", LargeBinary(16), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("profile_id", String(40), nullable=False),  # the profile it was offered to
    Column("decision", String(20), nullable=False),  # accepted | refused | blocked | conflict
    Column("reason", String(40), nullable=False),  # empty when accepted
    Column("other_profile_id", String(40), nullable=False),  # the profile that already had it, or empty
    Column("rules_version", String(40), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("decided_at", BigInteger, nullable=False, server_default="0"),  # the batch's as_of
    Column("known_seq", BigInteger, nullable=False, server_default="0"),  # re-adjudicated: since when it is known
    Index(  # the accepted ones are looked up in `profile_identifiers`
        "links_not_accepted",
        "profile_id",
        sqlite_where=text("decision <> 'accepted'"),
        postgresql_where=text("decision <> 'accepted'"),
    ),
    Index(
        "links_by_other_profile",
        "other_profile_id",
        sqlite_where=text("other_profile_id <> ''"),
        postgresql_where=text("other_profile_id <> ''"),
    ),
)

traits = Table(
    "traits",
    metadata,
    Column("profile_id", String(40), primary_key=True),
    Column("trait", String(80), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("value", Text, nullable=False),  # JSON
    Column("set_at", BigInteger, nullable=False),
    Column("event_id", String(80), nullable=False),
    Column("known_seq", BigInteger, nullable=False, server_default="0"),  # re-adjudicated: since when it is known
    sqlite_with_rowid=False,
)

trait_sayings = Table(  # of traits whose policy asks for it: what a batch's events said, a row a source and value
    "trait_sayings",
    metadata,
    Column("profile_id", String(40), primary_key=True),
    Column("trait", String(80), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("source", String(80), primary_key=True),
    Column("value_key", LargeBinary(16), primary_key=True),  # md5 of the value, which may be longer than a key
    Column("value", Text, nullable=False),  # JSON
    Column("times", BigInteger, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("first_event", String(80), nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("last_event", String(80), nullable=False),
    Column("known_seq", BigInteger, nullable=False, server_default="0"),  # re-adjudicated: since when it is known
    sqlite_with_rowid=False,
)

activity = Table(  # what audiences count: one row a profile, measure, UTC day and batch
    "activity",
    metadata,
    Column("profile_id", String(40), primary_key=True),
    Column("measure", String(200), primary_key=True),
    Column("day", Integer, primary_key=True),  # days since 1970-01-01
    Column("seq", BigInteger, primary_key=True),
    Column("event_count", BigInteger, nullable=False),
    Column("total_millionths", BigInteger, nullable=False),  # exact, so that sums do not depend on their order
    Column("known_seq", BigInteger, nullable=False, server_default="0"),  # re-adjudicated: since when it is known
    sqlite_with_rowid=False,
)

identity_conflicts = Table(  # accepted events that the identity contract left to nobody
    "identity_conflicts",
    metadata,
    Column("event_id", String(80), primary_key=True),
    Column("batch_id", String(40), nullable=False, index=True),
    Column("arrival_hour", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("contract", String(80), nullable=False),  # that the event keeps
    Column("contract_version", String(40), nullable=False),
    Column("told_by", String(80), nullable=False),  # the event of the same identifiers whose links the ledger has
    Column("violations", Text, nullable=False),  # JSON: the kinds in dispute, each with the rule that stopped it
    Column("owner", String(120), nullable=False),  # of the identity contract
    Column("rules_version", String(40), nullable=False),
)

consent_records = Table(
    "consent_records",
    metadata,
    Column("record_id", String(64), primary_key=True),  # derives from source, purpose and channel
    Column("profile_id", String(40), nullable=False),
    Column("purpose", String(60), nullable=False),
    Column("channel", String(40), nullable=False),
    Column("status", String(10), nullable=False),  # granted | denied
    Column("decided_at", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("source", String(120), nullable=False),  # event_id, merge:<event_id>, person:<name>, destination:<name>
    Column("proof", Text, nullable=False),  # JSON: mapping, wording, contract version
    Column("known_seq", BigInteger, nullable=False, server_default="0"),  # re-adjudicated: since when it is known
    Index("consent_records_by_profile", "profile_id", "purpose", "channel"),
)

suppressions = Table(
    "suppressions",
    metadata,
    Column("suppression_id", String(64), primary_key=True),
    Column("profile_id", String(40), nullable=False, index=True),
    Column("channel", String(40), nullable=False),  # '*' is every channel
    Column("reason", String(60), nullable=False),
    Column("suppressed_at", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("source", String(120), nullable=False),
)

membership_changes = Table(
    "membership_changes",
    metadata,
    Column("audience_id", String(80), primary_key=True),
    Column("profile_id", String(40), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("change", String(10), nullable=False),  # entered | exited | kept
    Column("entry_no", Integer, nullable=False),
    Column("entry_key", LargeBinary(16), nullable=False),  # oldest identifier at entry
    Column("changed_at", BigInteger, nullable=False),  # the batch's as_of
    Column("review_at", BigInteger, nullable=True, index=True),  # when time alone may end it
    Column("batch_id", String(40), nullable=False, index=True),
    Column("evidence", Text, nullable=False),  # JSON
    Column("known_seq", BigInteger, nullable=False, server_default="0"),  # re-adjudicated: since when it is known
)

releases = Table(  # only a passing gate writes a row; without one a batch's sends are held
    "releases",
    metadata,
    Column("batch_id", String(40), primary_key=True),
    Column("released_at", BigInteger, nullable=False),
    Column("detail", Text, nullable=False),  # JSON: the checks that passed
)

sends = Table(  # the ledger; status and what follows from it change, nothing else
    "sends",
    metadata,
    Column("send_key", String(40), primary_key=True),
    Column("decision_id", String(60), nullable=False, unique=True),
    Column("batch_id", String(40), nullable=False, index=True),
    Column("seq", BigInteger, nullable=False),
    Column("workflow_id", String(80), nullable=False),
    Column("workflow_version", String(40), nullable=False),
    Column("audience_id", String(80), nullable=False),
    Column("profile_id", String(40), nullable=False),
    Column("purpose", String(60), nullable=False),
    Column("channel", String(40), nullable=False),
    Column("region", String(40), nullable=False),
    Column("destination", String(60), nullable=False),
    Column("endpoint", String(60), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("profile_key", Text, nullable=False),
    Column("data_fields", Text, nullable=False),  # JSON
    Column("profile_fields", Text, nullable=False),  # JSON
    Column("validated_at", BigInteger, nullable=False),
    Column("triggered_at", BigInteger, nullable=False),
    Column("landed_at", BigInteger, nullable=False),  # when the trigger's segment was sealed
    Column("expires_at", BigInteger, nullable=False),
    Column("reentry_seconds", BigInteger, nullable=True),  # null: may enter again at once; -1: never again
    Column("status", String(12), nullable=False),
    Column("reason", String(120), nullable=False),
    Column("due_at", BigInteger, nullable=False),  # not before; set by a retry
    Column("attempts", Integer, nullable=False),
    Column("claim_token", String(60), nullable=False),
    Column("claimed_at", BigInteger, nullable=True),
    Column("lease_until", BigInteger, nullable=True),
    Column("answered_at", BigInteger, nullable=True),
    Column("http_status", Integer, nullable=True),
    Column("answer", Text, nullable=False),
    Column("consent_evidence", Text, nullable=False),  # JSON: what the claim read
    Column("in_doubt", Boolean, nullable=False),  # an attempt may have arrived
    Index("sends_due", "status", "due_at"),
    Index("sends_by_profile", "profile_id", "workflow_id"),
)

send_changes = Table(  # a row a transaction and batch whose sends it changed; gone when the lake has followed
    "send_changes",
    metadata,
    Column("batch_id", String(40), primary_key=True),
    Column("mark", String(32), primary_key=True),
)

send_copies = Table(  # what the lake holds of a batch's sends; `table_version` is null while somebody copies them
    "send_copies",
    metadata,
    Column("batch_id", String(40), primary_key=True),
    Column("table_version", BigInteger, nullable=True),
    Column("row_count", BigInteger, nullable=False),
    Column("checksum", String(40), nullable=False),
)

halts = Table(  # `lifted_*` is set once
    "halts",
    metadata,
    Column("halt_id", String(40), primary_key=True),
    Column("scope", String(120), nullable=False),  # * | workflow:<id> | channel:<name> | destination:<name>
    Column("seq", BigInteger, nullable=False),
    Column("halted_at", BigInteger, nullable=False),
    Column("halted_by", String(200), nullable=False),
    Column("why", Text, nullable=False),
    Column("lifted_at", BigInteger, nullable=True),
    Column("lifted_by", String(200), nullable=True),
)

gate_lock = Table(  # one row, 'halt': claims lock it for share, a halt for update
    "gate_lock",
    metadata,
    Column("name", String(20), primary_key=True),
    Column("touched_seq", BigInteger, nullable=False),
)

incidents = Table(  # `resolved_*` is set once
    "incidents",
    metadata,
    Column("incident_id", String(64), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("batch_id", String(40), nullable=False),  # or empty
    Column("owner", String(120), nullable=False),
    Column("sentence", Text, nullable=False),
    Column("resolved_at", BigInteger, nullable=True),
    Column("resolved_by", String(200), nullable=True),
    Column("resolution", Text, nullable=True),
)

quarantine_acts = Table(  # who repaired, replayed or dismissed what waits
    "quarantine_acts",
    metadata,
    Column("act_id", String(40), primary_key=True),  # derives from the first event that it closed
    Column("kind", String(20), nullable=False),  # repair | replay | dismissal | purge
    Column("name", String(80), nullable=False),  # the repair's id, or empty
    Column("fingerprint", String(64), nullable=False),  # of the repair, or empty
    Column("seq", BigInteger, nullable=False),
    Column("done_at", BigInteger, nullable=False),
    Column("done_by", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("content", Text, nullable=False),  # the repair's file, or as JSON the selection, or the days kept
    Column("narrowed_to", Text, nullable=False, server_default=""),  # JSON: what of a repair's selection was asked for
    Column("purged_events", BigInteger, nullable=False, server_default="0"),  # closings that retention removed
)

quarantine_closings = Table(  # the key lets an event be closed once; the event itself stays in the lake
    "quarantine_closings",
    metadata,
    Column("event_id", String(80), primary_key=True),
    Column("act_id", String(40), nullable=False, index=True),
    Column("became", String(80), nullable=False),  # the event_id it entered again with, or empty
)

quarantine_purges = Table(  # what retention removed; it never comes back; `done_at` is set when the lake followed
    "quarantine_purges",
    metadata,
    Column("batch_id", String(40), primary_key=True),
    Column("reason", String(40), primary_key=True),
    Column("act_id", String(40), nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("done_at", BigInteger, nullable=True, index=True),
)

reentry_segments = Table(  # written before the segment is sealed; `landed_at` is set once it stands
    "reentry_segments",
    metadata,
    Column("segment_id", String(60), primary_key=True),
    Column("source", String(60), primary_key=True),
    Column("act_id", String(40), nullable=False),
    Column("provenance", String(20), nullable=False),  # of the batch that takes it
    Column("landed_at", BigInteger, nullable=True),
)

archive_objects = Table(  # a file of an archive that was, or is being, imported; `ended_at` is set once
    "archive_objects",
    metadata,
    Column("object_id", String(40), primary_key=True),  # derives from the source and the file's identity
    Column("source", String(60), nullable=False),
    Column("place", Text, nullable=False),  # where it was first seen
    Column("size_bytes", BigInteger, nullable=False),
    Column("began_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=True),
    Column("damage", Text, nullable=False),  # why its end was not reached, or empty
)

archive_segments = Table(  # written before the segment is sealed; `landed_at` is set once it stands
    "archive_segments",
    metadata,
    Column("object_id", String(40), primary_key=True),
    Column("part", Integer, primary_key=True),  # from 0
    Column("segment_id", String(60), nullable=False, index=True),
    Column("source", String(60), nullable=False),
    Column("lines", BigInteger, nullable=False),
    Column("provenance", String(20), nullable=False),  # of the batch that takes it
    Column("landed_at", BigInteger, nullable=True),
)

forward_targets = Table(  # where a source's events are sent on, from when on
    "forward_targets",
    metadata,
    Column("target_id", String(40), primary_key=True),  # derives from the source and the address
    Column("source", String(63), nullable=False),
    Column("address", Text, nullable=False),
    Column("since_at", BigInteger, nullable=False),
)

forward_segments = Table(  # how far a segment was sent on; written with what became of its events
    "forward_segments",
    metadata,
    Column("target_id", String(40), primary_key=True),
    Column("segment_id", String(60), primary_key=True),
    Column("lines_done", BigInteger, nullable=False),
    Column("sent", BigInteger, nullable=False),
    Column("withheld", BigInteger, nullable=False),  # all of them; their reasons are in forward_withheld
    Column("refused", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=True),
)

forward_withheld = Table(  # events that were not sent on, by reason
    "forward_withheld",
    metadata,
    Column("target_id", String(40), primary_key=True),
    Column("reason", String(40), primary_key=True),
    Column("events", BigInteger, nullable=False),
)

forward_refusals = Table(  # events that a receiver will never take
    "forward_refusals",
    metadata,
    Column("target_id", String(40), primary_key=True),
    Column("event_id", String(80), primary_key=True),
    Column("reason", String(40), nullable=False),
    Column("status", Integer, nullable=False),  # of the reply, or 0
    Column("refused_at", BigInteger, nullable=False),
)

adjudications = Table(  # every time that history was adjudicated again; `finished_at` is set once
    "adjudications",
    metadata,
    Column("seq", BigInteger, primary_key=True),  # of the act in the control log
    Column("act", String(20), nullable=False),  # apply | unmerge
    Column("contract_set", String(64), nullable=False),  # whose identity rules hold for all before it, or empty
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger, nullable=True),
)

separations = Table(  # two identifiers that a person said are not one person's, whoever shows them together
    "separations",
    metadata,
    Column("first_key", LargeBinary(16), primary_key=True),  # the smaller of the two
    Column("second_key", LargeBinary(16), primary_key=True, index=True),
    Column("seq", BigInteger, nullable=False),
    Column("event_id", String(80), nullable=False),  # the event whose link was undone
)

READJUDICATED = (
    profiles,
    identifiers,
    companions,
    profile_redirects,
    links,
    traits,
    trait_sayings,
    activity,
    consent_records,
    membership_changes,
)
"""What follows from who is who: adjudicated again, a row that no longer holds is moved to its former table."""

_LOOKED_UP = {
    "identifiers": ("profile_id",),
    "profile_redirects": ("to_profile",),
    "links": ("profile_id", "other_profile_id"),
    "consent_records": ("profile_id",),
    "membership_changes": ("profile_id",),
}


def _former(table: Table) -> Table:
    """What a table held before history was adjudicated again, each row with the sequence that ended it."""
    name = f"former_{table.name}"
    return Table(
        name,
        metadata,
        *(
            Column(column.name, column.type, nullable=column.nullable, primary_key=column.primary_key)
            for column in table.columns
        ),
        Column("ended_seq", BigInteger, primary_key=True),
        *(Index(f"{name}_by_{column}", column) for column in _LOOKED_UP.get(table.name, ())),
    )


FORMER = {table.name: _former(table) for table in READJUDICATED}
