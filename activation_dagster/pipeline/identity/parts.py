"""Parts of a history: people whom nothing ties to anybody of another part, so that one part is in memory at a time.

What ties is whatever a set of identifiers shows together, and every row of state: whose an identifier is, what a
profile was made with, what it became, and to whom an event's identifiers were offered. Adjudicating a part and
comparing it with its rows of state is therefore the same as doing so with everything.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import BigInteger, Connection, LargeBinary, String, Table, Text, select

from activation_dagster.domain.identifiers import IdentifierKind
from activation_dagster.lake.engine import Engine
from activation_dagster.lake.rule_sql import literal
from activation_dagster.pipeline.identity.history import History
from activation_dagster.pipeline.places import Places
from activation_dagster.state.tables import companions, identifiers, links, profile_redirects, profiles

GRAPH = (profiles, identifiers, companions, profile_redirects, links)
"""The tables that hold who is who; those of a history stand as `state_<table>` beside it."""

MOST_IN_A_PART = 200_000
"""Sets of identifiers, identifiers and profiles of a part, unless more are tied together: some 4 KiB of memory each."""

ENGINE_MEMORY = "2GB"
"""What of a history exceeds this waits on disk."""

ROWS_AT_ONCE = 50_000

Row = tuple[Any, ...]


def bounded(engine: Engine, folder: Path) -> None:
    """Let an engine put into a folder what exceeds its memory."""
    engine.connection.execute(f"set memory_limit = '{ENGINE_MEMORY}'; set temp_directory = {literal(str(folder))}")


def columns_of(table: Table) -> list[Any]:
    """The columns that say what is so, and not since when it is known."""
    return [column for column in table.c if column.name not in ("known_seq", "ended_seq")]


def since(table: Table) -> Any:
    """The column of the state sequence at which a row of who is who was written."""
    return table.c.created_seq if table is profiles else table.c.seq


def cut(places: Places, history: History, *, until: int, beat: Callable[[], None]) -> int:
    """Give every set of identifiers, every event and every row of state its part; how many parts there are."""
    engine = history.engine
    with places.state.read() as connection:
        for table in GRAPH:
            _put_table(connection, engine, table, until=until, beat=beat)
    _read_values(history, beat)
    _tie(engine, beat)
    beat()
    count = _put_parts(engine)
    for relation in ("arrivals", *(f"state_{table.name}" for table in GRAPH)):
        beat()
        query = f"select r.* replace (p.part as part) from {relation} as r join node_parts as p using (node)"
        _replace(engine, relation, f"{query} order by part")
    beat()
    _replace(
        engine,
        "occurrences",
        "select o.* replace (a.part as part) from occurrences as o "
        "join arrivals as a on a.position = o.position and a.ordinal = o.set_no order by part, position",
    )
    beat()
    return count


def rows_of_part(engine: Engine, table: Table, part: int) -> Generator[Row]:
    """The rows of state of one part, without `known_seq`."""
    listed = ", ".join(column.name for column in columns_of(table))
    rows = engine.connection.execute(f"select {listed} from state_{table.name} where part = {part}")
    while some := rows.fetchmany(ROWS_AT_ONCE):
        yield from some


def forget(engine: Engine) -> None:
    """Give back the memory of what was only compared, and its bound: a batch may need more."""
    engine.connection.execute("reset memory_limit")
    engine.forget("arrivals", "node_parts", *(f"state_{table.name}" for table in GRAPH))


def _put_table(connection: Connection, engine: Engine, table: Table, *, until: int, beat: Callable[[], None]) -> None:
    columns = columns_of(table)
    types = {column.name: _type_of(column) for column in columns}
    listed = ", ".join(f"{name} {kind}" for name, kind in types.items())
    engine.connection.execute(
        f"create or replace temp table state_{table.name} (part integer default 0, node ubigint, {listed})"
    )
    query = select(*columns).where(since(table) <= until)
    rows = connection.execute(query, execution_options={"yield_per": ROWS_AT_ONCE})
    for some in rows.partitions():
        beat()
        engine.put("arriving_rows", types, [tuple(row) for row in some])
        engine.connection.execute(
            f"insert into state_{table.name} ({', '.join(types)}) select {', '.join(types)} from arriving_rows"
        )


def _type_of(column: Any) -> str:
    kinds = {LargeBinary: "BLOB", BigInteger: "BIGINT", String: "VARCHAR", Text: "VARCHAR"}
    return kinds[type(column.type)]


def _read_values(history: History, beat: Callable[[], None]) -> None:
    """Make the relation `shown` (position, ordinal, place, node): the usable identifiers of every set."""
    engine = history.engine
    engine.connection.execute(
        "create or replace temp table offered as select position, ordinal, readers, "
        "generate_subscripts(raw, 1) - 1 as place, unnest(raw) as raw from arrivals; "
        "create or replace temp table readings (readers integer, place bigint, raw varchar, node ubigint)"
    )
    for readers, rules in enumerate(history.readers):
        for place, kind in enumerate(rules.kinds):
            _read_kind(engine, kind, readers, place, beat)
    engine.make(
        "shown",
        "select o.position, o.ordinal, o.place, r.node from offered as o "
        "join readings as r on r.readers = o.readers and r.place = o.place and r.raw = o.raw",
    )
    engine.forget("offered", "readings", "asked", "read_values")


def _read_kind(engine: Engine, kind: IdentifierKind, readers: int, place: int, beat: Callable[[], None]) -> None:
    engine.make(
        "asked",
        "select raw, row_number() over () as number from (select distinct raw from offered "
        f"where readers = {readers} and place = {place} and raw is not null)",
    )
    for first in range(0, engine.one("select count(*) from asked")[0], ROWS_AT_ONCE):
        beat()
        raws = engine.texts(f"select raw from asked where number > {first} and number <= {first + ROWS_AT_ONCE}")
        read = zip(raws, kind.readings(raws), strict=True)
        engine.put("read_values", {"raw": "VARCHAR", "value": "VARCHAR"}, [one for one in read if one[1] is not None])
        engine.connection.execute(
            f"insert into readings select {readers}, {place}, raw, "
            f"hash(unhex(md5({literal(kind.name)} || chr(31) || value))) from read_values"
        )


def _tie(engine: Engine, beat: Callable[[], None]) -> None:
    """Give every row its `node`, and make the relation `ties` (one, other): nodes that are in the same part.

    A node is the hash of an identifier's key, of a profile, or of what has neither: two that are alike by chance are
    in one part, which is no harm. An event may have come in several batches.
    """
    engine.make(
        "firsts", "select position, ordinal, arg_min(node, place) as node from shown group by position, ordinal"
    )
    beat()
    _replace(
        engine,
        "arrivals",
        "select a.* replace (coalesce(f.node, hash(a.position, a.ordinal)) as node) "
        "from arrivals as a left join firsts as f using (position, ordinal)",
    )
    for table, column in (
        (profiles, "profile_id"),
        (identifiers, "key"),
        (companions, "key"),
        (profile_redirects, "from_profile"),
    ):
        beat()
        engine.connection.execute(f"update state_{table.name} set node = hash({column})")
    engine.make(
        "told",
        """
        select distinct l.event_id, a.node
        from (select distinct event_id from state_links) as l
        join occurrences as o using (event_id)
        join arrivals as a on a.position = o.position and a.ordinal = o.set_no
        """,
    )
    beat()
    engine.make("told_once", "select event_id, min(node) as node from told group by event_id")
    _replace(
        engine,
        "state_links",
        "select l.* replace (coalesce(t.node, hash(if(l.profile_id = '', l.event_id, l.profile_id))) as node) "
        "from state_links as l left join told_once as t using (event_id)",
    )
    beat()
    engine.make(
        "ties",
        """
        select distinct f.node as one, s.node as other from shown as s join firsts as f using (position, ordinal)
        union all select t.node, o.node from told as t join told_once as o using (event_id) where t.node <> o.node
        union all select hash(key), hash(profile_id) from state_identifiers
        union all select hash(profile_id), hash(first_key) from state_profiles
        union all select hash(from_profile), hash(to_profile) from state_profile_redirects
        union all select distinct node, hash(profile_id) from state_links where profile_id <> ''
        union all select distinct node, hash(other_profile_id) from state_links where other_profile_id <> ''
        union all select distinct node, node from state_links where profile_id = ''
        union all select distinct node, node from state_companions
        union all select distinct node, node from arrivals
        """,
    )
    engine.forget("firsts", "told", "told_once", "shown")


def _replace(engine: Engine, relation: str, query: str) -> None:
    """Make a relation anew from itself and others."""
    engine.connection.execute(
        f"create or replace temp table anew as {query}; drop table {relation}; alter table anew rename to {relation}"
    )


def _put_parts(engine: Engine) -> int:
    """Make the relation `node_parts` (node, part); how many parts there are."""
    pa: Any = importlib.import_module("pyarrow")
    sparse: Any = importlib.import_module("scipy.sparse")  # 0.3 s that only a plan should pay
    csgraph: Any = importlib.import_module("scipy.sparse.csgraph")
    ties = _arrays(engine, "select one, other from ties")
    nodes, numbers = np.unique(np.concatenate([ties["one"], ties["other"]]), return_inverse=True)
    one, other = np.split(numbers, 2)
    edges = sparse.coo_matrix((np.ones(len(one), dtype=np.int8), (one, other)), shape=(len(nodes),) * 2)
    found: tuple[int, npt.NDArray[np.int32]] = csgraph.connected_components(edges, directed=False)
    sets = _arrays(engine, "select node, count(*) as sets from arrivals group by node")
    weights = np.ones(len(nodes), dtype=np.int64)
    weights[np.searchsorted(nodes, sets["node"])] += sets["sets"]
    sizes = np.bincount(found[1], weights=weights, minlength=found[0]).astype(np.int64)
    # a component that is larger than a part is alone in it, but for small ones before it
    begins = np.cumsum(sizes) - sizes
    parts, part_of = np.unique(begins // MOST_IN_A_PART, return_inverse=True)
    engine.put_arrow(
        "node_parts", pa.table({"node": nodes, "part": part_of[found[1]]}), {"node": "UBIGINT", "part": "INTEGER"}
    )
    engine.forget("ties")
    return len(parts)


def _arrays(engine: Engine, query: str) -> dict[str, Any]:
    answer: Any = engine.connection.execute(query)
    return answer.fetchnumpy()
