"""How commands answer: JSON with stable keys for programs, tables that fit 100 columns for people."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, cast

import typer

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 100
"""Columns of a table where the terminal does not say how many it has (a pipe, a file, CI)."""

SHORT = 20
"""Cells up to this long are never broken: names and times are read whole, sentences wrap."""

FOUND = 1
"""Exit code: the command worked, and found faults, a broken sum or damage."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
By = Annotated[str, typer.Option(help="Who does this; it is written to the control log.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show personal data instead of its shape.")]


def plain(value: Any) -> Any:
    """A value as JSON has it: dataclasses as objects, instants as RFC 3339 in UTC, enumerations by their value."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in cast("Iterable[Any]", value)]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value


def print_json(value: Any) -> None:
    """Print one JSON value, indented."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n"
    # Half a surrogate, which quarantined events may hold, cannot be written as UTF-8; as \udXXX it is JSON again.
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode())


def console() -> Console:
    """Where people read: as wide as COLUMNS says, or the terminal, or 100 columns where there is neither."""
    from rich.console import Console

    is_told = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal()
    return Console(width=None if is_told else WIDTH, highlight=False, soft_wrap=False)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str = "",
    empty: str = "",
    may_go: Sequence[str] = (),
) -> None:
    """Print rows as a table; numbers stand right. Without rows, the sentence `empty`.

    Nothing is ever cut off. Where the table is too wide, the columns of `may_go` are left out one after the other until
    it fits, and a sentence says so; where it still does not, cells are broken into lines.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    kept = [
        [row_value if isinstance(row_value, int | float) else shown(row_value) for row_value in row] for row in rows
    ]
    if not kept:
        console().print(Text(empty or "Nothing."))
        return
    least = {
        column: _least_width([column, *(shown(row[place]) for row in kept)]) for place, column in enumerate(columns)
    }
    left_out: list[str] = []
    for column in may_go:
        if _width([least[name] for name in columns if name not in left_out]) > console().width:
            left_out.append(column)
    fits = _width([least[name] for name in columns if name not in left_out]) <= console().width
    made = Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        title_style="bold",
    )
    places = [place for place, column in enumerate(columns) if column not in left_out]
    for place in places:
        cells = [row[place] for row in kept]
        is_number = all(isinstance(cell, int) and not isinstance(cell, bool) for cell in cells)
        is_whole = fits and max(len(shown(cell)) for cell in cells) <= SHORT
        made.add_column(
            columns[place], justify="right" if is_number else "left", overflow="fold", no_wrap=is_whole or is_number
        )
    for row in kept:
        made.add_row(*(Text(shown(row[place])) for place in places))  # Text: what data says is no markup
    console().print()
    console().print(made)
    console().print()
    if left_out:
        say(f"Left out for want of room: {', '.join(left_out)}; --json has everything.")


def _least_width(cells: Sequence[str]) -> int:
    """So much room a column needs: its longest cell, or a piece of it where that is a sentence."""
    from rich.cells import cell_len

    longest = max(map(cell_len, cells))
    return longest if longest <= SHORT else max(SHORT, cell_len(cells[0]))


def _width(columns: Sequence[int]) -> int:
    """How wide a table of columns so wide is; two spaces stand between them."""
    return sum(columns) + 2 * (len(columns) - 1)


def say(sentence: str, *, indent: int = 0) -> None:
    """Print one sentence for people; wrapped lines keep the indent."""
    from rich.padding import Padding
    from rich.text import Text

    text = Text(shown(sentence))
    console().print(Padding(text, (0, 0, 0, indent), expand=False) if indent else text)


def counted(count: int, noun: str, nouns: str = "") -> str:
    """`1 event`, `2,000 events`; `nouns` where an s does not make the plural."""
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"


def write_file(file: Path, text: str, *, what: str) -> None:
    """Write a file that the caller named. Raises WrongUse where it cannot be; `what` it is, in one word."""
    from activation_dagster.errors import WrongUse

    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WrongUse(
            f"The {what} cannot be written ({error.strerror}), to {file}. Name a file in a folder that exists."
        ) from error


def warn(sentence: str) -> None:
    """Print one sentence on stderr."""
    sys.stderr.write(sentence + "\n")


@contextmanager
def progress_bar(
    title: str, *, hidden: bool, unit: Literal["bytes", "seconds"] = "bytes"
) -> Generator[Callable[[int, int, str], None]]:
    """A bar on stderr, for people only: gives what to call with what is done, of how much, and a word."""
    if hidden or not sys.stderr.isatty():
        yield lambda _done, _of, _word: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    done = DownloadColumn() if unit == "bytes" else TextColumn("{task.completed} of {task.total} s")
    columns = (TextColumn(title), BarColumn(), done, TextColumn("{task.fields[word]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, word="")
        yield lambda done, of, word: bar.update(task, completed=done, total=of, word=word)


def shown(value: object) -> str:
    """A value as people read it; what could drive a terminal is escaped, because data may hold it."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
        case Enum():
            return str(value.value)
        case _:
            return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in str(value))


def end(*, found: bool) -> NoReturn:
    """Leave with 1 where something was found, else with 0."""
    raise typer.Exit(FOUND if found else 0)
