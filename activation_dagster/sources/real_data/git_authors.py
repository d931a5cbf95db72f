"""Commits of SymPy by who wrote them: real people under several names and addresses, and one address of thirteen.

Each commit is one track event with the author's pseudonymous e-mail and name; who is who never enters an event.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from activation_dagster.errors import MendTheEnvironment
from activation_dagster.sources.real_data.segment_spec import WORDS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FILE = "git_authors/commits.parquet"
LINES_AT_A_TIME = 20_000

LINES = """
select encode(
    head('track', 'Commit Authored', message_id('sympy-git-authors', 'track', 'Commit Authored', seq::varchar),
        email_key, null)
    || said('timestamp', '"' || instant(make_timestamp(author_time * 1000000)) || '"') || ','
    || said('receivedAt', '"' || instant(make_timestamp(commit_time * 1000000)) || '"')
    || tail('properties', said('committer', text_value(committer_key)),
        said('traits', '{' || concat_ws(',',
            said('name_key', text_value(name_key)),
            said('name_tokens', to_json(string_split(name_token_keys, '.'))::varchar),
            said('email_key', text_value(email_key)),
            said('email_local_key', text_value(local_part_key)),
            said('email_domain', text_value(email_domain))) || '}')
        || ',' || said('timezone', text_value(utc_offset)),
        'sympy-git-authors', seq::varchar, []::varchar[]))
from read_parquet(getvariable('file'))
order by seq
"""


def convert_git_authors(identity_dir: Path) -> Iterator[bytes]:
    """One JSON line (without newline) a commit, in the order of history; 62,658 of them.

    Raises MendTheEnvironment where the file is missing, before the first line is asked for.
    """
    file = identity_dir / FILE
    if not file.is_file():
        raise MendTheEnvironment(
            f"Real data is incomplete: {FILE} missing, under {identity_dir}. Name the folder that holds git_authors/."
        )
    return _lines(file)


def _lines(file: Path) -> Iterator[bytes]:
    import duckdb  # here: who only imports sources must not pay for it

    connection: DuckDBPyConnection
    with duckdb.connect(":memory:") as connection:
        connection.execute(WORDS)
        connection.execute("set variable file = $file", {"file": str(file)})
        rows = connection.execute(LINES)
        while batch := rows.fetchmany(LINES_AT_A_TIME):
            for (line,) in batch:
                yield line
