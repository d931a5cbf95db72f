"""History as identity sees it: every accepted event's identifiers, read again from the lake, in arrival order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from activation_dagster.domain.batches import Batch
from activation_dagster.domain.identifiers import Identifier, IdentityRules
from activation_dagster.domain.reasons import LinkRefusal
from activation_dagster.domain.separations import Pair, keep_apart
from activation_dagster.lake.engine import Engine
from activation_dagster.lake.rule_sql import literal
from activation_dagster.lake.tables import INGESTED, RESOLVED, VALIDATED
from activation_dagster.pipeline.contracts_in_force import contracts_of
from activation_dagster.pipeline.places import Places
from activation_dagster.pipeline.validate import identifier_sql
from activation_dagster.registry.contract_set import ContractSet

EVENTS_A_SEGMENT = 1 << 32
"""An event's ordinal in its batch is its segment's number times this, and its line."""

ROWS_AT_ONCE = 10_000

SECTIONS = '{"previousId": "JSON", "properties": "JSON", "traits": "JSON", "context": "JSON"}'


def no_beat() -> None:
    """What happens between steps where no lease is held: nothing."""


class Arrival(NamedTuple):
    """A set of identifiers the first time it came in a batch, or each time where that may be decided otherwise."""

    ordinal: int
    event_id: str
    at: int
    is_repeated: bool
    usable: list[Identifier]
    refused: list[tuple[Identifier, LinkRefusal]]


@dataclass(slots=True, kw_only=True)
class History:
    """The batches of a history in the order of their positions, and what came in each.

    `rules` by position. On `engine` stand the relations `occurrences` (part, position, ordinal, event_id, happened_at,
    set_no), a row an event, and `arrivals` (part, position, ordinal, event_id, happened_at, is_repeated, readers, raw,
    node), a row a distinct set of identifiers of a batch: `ordinal` is the set's number, `raw` has a value for each
    kind of the rules, and `readers` numbers these. All is one part, until it is cut (`parts.cut`). `firsts`: by
    position, the sets of `part` in order of first arrival.
    """

    batches: list[Batch]
    rules: Mapping[int, IdentityRules]
    engine: Engine
    readers: list[IdentityRules] = field(default_factory=list[IdentityRules])
    part: int = 0
    firsts: dict[int, list[Arrival]] = field(default_factory=dict[int, list[Arrival]])

    def of_part(self, part: int, *, among: Collection[bytes] | None = None) -> History:
        """The same history with what came in a part of it; with `among`, what shows one of those identifiers (keys)."""
        firsts: dict[int, list[Arrival]] = {}
        rows = self.engine.connection.execute(
            "select position, ordinal, event_id, happened_at, is_repeated, readers, raw from arrivals "
            f"where part = {part} order by position, ordinal"
        )
        while some := rows.fetchmany(ROWS_AT_ONCE):
            for position, ordinal, event_id, at, is_repeated, readers, raw in some:
                usable, refused = self.readers[int(readers)].read(raw)
                if among is None or any(one.key in among for one in usable):
                    firsts.setdefault(position, []).append(Arrival(ordinal, event_id, at, is_repeated, usable, refused))
        return replace(self, part=part, firsts=firsts)

    def kept_apart(self, separations: Collection[Pair]) -> History:
        """The same history, in which no event shows both of a pair: the weaker of the two is left out."""
        if not separations:
            return self
        firsts: dict[int, list[Arrival]] = {}
        for position, arrivals in self.firsts.items():
            firsts[position] = []
            for arrival in arrivals:
                usable, apart = keep_apart(arrival.usable, separations)
                firsts[position].append(
                    arrival._replace(usable=usable, refused=[*arrival.refused, *apart]) if apart else arrival
                )
        return replace(self, firsts=firsts)

    def later(self, position: int, ordinals: Collection[int]) -> list[tuple[int, int, str, int]]:
        """(set, ordinal, event, instant) of every later event of some sets of a batch."""
        listed = ", ".join(map(str, sorted(ordinals)))
        return self.engine.rows(
            "select set_no, ordinal, event_id, happened_at from occurrences "
            f"where part = {self.part} and position = {position} and set_no in ({listed}) and ordinal <> set_no "
            "order by ordinal"
        )


def read_history(
    places: Places,
    batches: Sequence[Batch],
    engine: Engine,
    *,
    rules_of: Callable[[Batch], IdentityRules],
    profiles: Collection[str] = (),
    among: Collection[bytes] | None = None,
    beat: Callable[[], None] = no_beat,
) -> History:
    """The history of finished batches; with `among`, of events that were of those `profiles`, or of nobody, and the
    first part holds those of them that show one of those identifiers (keys). Without, no part is loaded.

    `beat` is called now and then.
    """
    in_order = sorted(batches, key=lambda batch: batch.position or 0)
    history = History(
        batches=in_order,
        rules={batch.position or 0: rules_of(batch) for batch in in_order},
        engine=engine,
    )
    _put_segments(engine, in_order)
    engine.connection.execute(
        "create or replace temp table occurrences (part integer default 0, position bigint, ordinal bigint, "
        "event_id varchar, happened_at bigint, set_no bigint); "
        "create or replace temp table arrivals (part integer default 0, position bigint, ordinal bigint, "
        "event_id varchar, happened_at bigint, is_repeated boolean, readers integer, raw varchar[], node ubigint)"
    )
    if among is not None:
        _put_concerned(places, engine, in_order, profiles)
    for contracts, group in _groups(places, in_order, history.rules):
        beat()
        history.readers.append(contracts.identity)
        _read_group(places, history, contracts, group, is_narrow=among is not None)
    return history if among is None else history.of_part(0, among=among)


def _groups(
    places: Places, batches: Sequence[Batch], rules: Mapping[int, IdentityRules]
) -> list[tuple[ContractSet, list[Batch]]]:
    """Batches that are read alike, with the contracts that they are read by."""
    found: dict[tuple[str, int], tuple[ContractSet, list[Batch]]] = {}
    for batch in batches:
        its = rules[batch.position or 0]
        key = (batch.contract_set, id(its))
        if key not in found:
            found[key] = (replace(contracts_of(places, batch), identity=its), [])
        found[key][1].append(batch)
    return list(found.values())


def _put_segments(engine: Engine, batches: Sequence[Batch]) -> None:
    rows = [
        (batch.position, batch.batch_id, segment.source, segment.segment_id, number)
        for batch in batches
        for number, segment in enumerate(batch.segments)
    ]
    text, big = "VARCHAR", "BIGINT"
    columns = {"position": big, "batch_id": text, "source": text, "segment_id": text, "segment_no": big}
    engine.put("history_segments", columns, rows)


def _put_concerned(
    places: Places,
    engine: Engine,
    batches: Sequence[Batch],
    profiles: Collection[str],
) -> None:
    resolved = places.lake.source(RESOLVED, batch_ids=[batch.batch_id for batch in batches])
    theirs = ", ".join(map(literal, sorted(profiles))) or "''"
    engine.make(
        "concerned",
        f"select event_id from {resolved} as r where profile_id in ({theirs}) or profile_id is null",
    )


def _identifier_columns(contracts: ContractSet, judged: Sequence[tuple[str | None, str | None]]) -> dict[str, str]:
    """SQL for each kind's raw value, whichever version judged the event; versions that read alike are named once."""
    plain = identifier_sql(contracts)
    cases: dict[str, dict[str, list[str]]] = {kind: {} for kind in plain}
    for slug, name in judged:
        contract = contracts.events.get(slug or "")
        version = None if contract is None else contract.version(name)
        if contract is None or version is None:
            continue
        its = f"(e.contract = {literal(contract.slug)} and e.contract_version = {literal(version.version)})"
        for kind, sql in identifier_sql(contracts, contract, version).items():
            if sql != plain[kind]:
                cases[kind].setdefault(sql, []).append(its)
    return {
        kind: "case "
        + " ".join(f"when {' or '.join(judged)} then {sql}" for sql, judged in found.items())
        + f" else {plain[kind]} end"
        if found
        else plain[kind]
        for kind, found in cases.items()
    }


def _read_group(
    places: Places,
    history: History,
    contracts: ContractSet,
    batches: Sequence[Batch],
    *,
    is_narrow: bool,
) -> None:
    database = history.engine.connection
    names = [batch.batch_id for batch in batches]
    validated = places.lake.source(VALIDATED, batch_ids=names)
    ingested = places.lake.source(INGESTED, batch_ids=names)
    concerned = "semi join concerned using (event_id)" if is_narrow else ""
    database.execute(
        "create or replace temp table accepted as select v.batch_id, v.source, v.event_id, v.contract, "
        f"v.contract_version, epoch_us(v.occurred_at) as happened_at from {validated} as v {concerned}"
    )
    judged = database.execute("select distinct contract, contract_version from accepted").fetchall()
    columns = _identifier_columns(contracts, judged)
    listed = ", ".join(f"id_{kind}" for kind in columns)
    read = ", ".join(f"{sql} as id_{kind}" for kind, sql in columns.items())
    database.execute(
        f"""
        create or replace temp table identified as
        with parsed as (
            select a.*, i.user_id, i.anonymous_id, json_transform(i.payload, '{SECTIONS}') as j
            from accepted as a
            join (select * from {ingested} as s) as i on i.event_id = a.event_id and i.batch_id = a.batch_id
        ),
        e as (
            select p.* exclude (j), nullif(p.j."previousId"->>'$', '') as previous_id, p.j.properties as properties,
                p.j.traits as traits, p.j.context as context
            from parsed as p
        )
        select g.position, g.segment_no * {EVENTS_A_SEGMENT} + split_part(e.event_id, ':', -1)::bigint as ordinal,
            e.event_id, e.happened_at, {read}
        from e
        join history_segments as g on g.batch_id = e.batch_id and g.source = e.source
            and g.segment_id = regexp_replace(e.event_id, ':[0-9]+$', '')
        """
    )
    database.execute(
        f"create or replace temp table sets as select position, min(ordinal) as set_no, "
        "count(*) > 1 as is_repeated, arg_min(event_id, ordinal) as event_id, "
        f"arg_min(happened_at, ordinal) as happened_at, {listed} from identified group by position, {listed}"
    )
    same = " and ".join(f"i.id_{kind} is not distinct from s.id_{kind}" for kind in columns)
    database.execute(
        "insert into occurrences (position, ordinal, event_id, happened_at, set_no) "
        "select i.position, i.ordinal, i.event_id, i.happened_at, s.set_no "
        f"from identified as i join sets as s on s.position = i.position and {same}"
    )
    database.execute(
        "insert into arrivals (position, ordinal, event_id, happened_at, is_repeated, readers, raw) "
        f"select position, set_no, event_id, happened_at, is_repeated, {len(history.readers) - 1}, [{listed}] from sets"
    )
    database.execute("drop table identified; drop table accepted; drop table sets")
