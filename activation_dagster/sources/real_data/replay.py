"""Who of the real people is replayed, and when: whole people by a stable hash, each source shifted to end now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from activation_dagster.errors import MendTheEnvironment, WrongUse
from activation_dagster.sources.real_data import online_retail, open_ecommerce
from activation_dagster.sources.real_data.segment_spec import WORDS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Duplicates = Literal["position", "content"]
SOURCES = (online_retail, open_ecommerce)
LINES_AT_A_TIME = 20_000

EVERY_HASH = "g"  # above every hexadecimal digit

# A person is their user id, or their anonymous id (a guest's names the invoice). The hash knows neither the data's
# size nor the day: a person taken with a small share is taken with every greater one.
BOUNDS = """
with people as (
    select source, sha256(person) as hash, count(*) as events
    from events
    group by source, person
),
counted as (
    select
        source,
        hash,
        sum(events) over (partition by source order by hash rows unbounded preceding) - events as before,
        sum(events) over (partition by source) as of_source,
        sum(events) over () as of_all
    from people
)
select source, max(hash) || ' '  -- the first text after it
from counted
where before < $at_least * of_source / of_all
group by source
"""

SHIFTS = """
create temp table shifts as
select source, date_trunc('millisecond', $now::timestamp) - max(happened_at) as shift
from events
group by source
"""

LINES = """
select encode(
    head || said('timestamp', '"' || instant(happened_at + shift) || '"')
    || coalesce(',' || said('receivedAt', '"' || instant(received_at + shift) || '"'), '') || tail)
from taken
join shifts using (source)
order by happened_at + shift, source, seq
"""


def convert(
    main_dir: Path,
    *,
    now: datetime,
    share: float | None = None,
    at_least: int = 100_000,
    everything: bool = False,
    duplicates: Duplicates = "position",
) -> Iterator[bytes]:
    """The events of the two sources in `main_dir`, one JSON line (without newline) each, in the order of a replay.

    Taken are whole people of both sources: those of lowest hash that make `at_least` events with each source in
    proportion; or, with `share` (over 0, at most 1), that part of the people; or `everything` (858,507 events).
    Each source is shifted as a whole so that its own last event, taken or not, is at `now` (to the millisecond): all
    times of one source by the same amount, so an event has the same time in every selection. No other value changes.
    With duplicates="content", 5,268 rows of online_retail repeat the message id of an equal row.

    Raises MendTheEnvironment where a file is missing, WrongUse where the arguments contradict each other.
    """
    _refuse_contradictions(now=now, share=share, at_least=at_least, everything=everything)
    missing = [file for source in SOURCES for file in source.FILES if not (main_dir / file).is_file()]
    if missing:
        raise MendTheEnvironment(
            f"Real data is incomplete: {', '.join(missing)} missing, under {main_dir}. "
            "Name the folder that holds online_retail/ and open_ecommerce/."
        )
    return _lines(main_dir, now, share, at_least, everything, duplicates)


def _lines(
    main_dir: Path, now: datetime, share: float | None, at_least: int, everything: bool, duplicates: Duplicates
) -> Iterator[bytes]:
    import duckdb  # here: who only imports sources must not pay for it

    with duckdb.connect(":memory:") as connection:
        connection.execute(WORDS)
        # A view takes no parameters: it reads variables of the session.
        connection.execute("set variable folder = $folder", {"folder": str(main_dir)})
        connection.execute("set variable by_content = $by_content", {"by_content": duplicates == "content"})
        _open(connection, "events", dict.fromkeys((source.NAME for source in SOURCES), EVERY_HASH))
        connection.execute(SHIFTS, {"now": now.astimezone(UTC).replace(tzinfo=None)})
        bounds = dict.fromkeys((source.NAME for source in SOURCES), EVERY_HASH if everything else _bound(share or 1))
        if share is None and not everything:
            bounds = dict(connection.execute(BOUNDS, {"at_least": at_least}).fetchall())
        _open(connection, "taken", bounds)
        rows = connection.execute(LINES)
        while batch := rows.fetchmany(LINES_AT_A_TIME):
            for (line,) in batch:
                yield line


def _open(connection: DuckDBPyConnection, view: str, bounds: Mapping[str, str]) -> None:
    """Make a view of the events of all people whose hash is below their source's bound.

    A view, so that counting people writes no JSON; a bound for each source, so that none is written for who is left.
    """
    for source, bound in bounds.items():
        connection.execute(f"set variable {source}_bound = $bound", {"bound": bound})
    parts = [
        f"select * from ({source.RELATION}) where sha256(person) < getvariable('{source.NAME}_bound')"
        for source in SOURCES
    ]
    connection.execute(f"create temp view {view} as {' union all '.join(parts)}")


def _refuse_contradictions(*, now: datetime, share: float | None, at_least: int, everything: bool) -> None:
    if now.tzinfo is None:
        raise WrongUse("An instant without a zone was given, as now. Give it in UTC.")
    if share is not None and (everything or not 0 < share <= 1):
        raise WrongUse(f"A share of {share} was asked for. Give one over 0 and at most 1, and not with everything.")
    if at_least < 1:
        raise WrongUse(f"At least {at_least} events were asked for. Ask for one or more.")


def _bound(share: float) -> str:
    """The hexadecimal text below which that part of all hashes lies."""
    return EVERY_HASH if share == 1 else f"{int(share * 2**48):012x}"
