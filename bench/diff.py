"""How long `contracts diff` takes for two versions of 200 properties, beside parsing the same two files as JSON.

`python -m bench diff`; prints the median of many runs in ms for our own format and for plain JSON Schema, with
compilation, all examples and both directions; the process's start is not in it. It is CPU time: a diff waits for
nothing, so on an idle machine that is its wall clock, and other work beside it does not show.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from activation_dagster.domain.compatibility.engine import compare
from activation_dagster.registry.versions import comparable

KINDS: tuple[dict[str, Any], ...] = (
    {"type": "string"},
    {"type": "integer", "minimum": 0, "maximum": 1000},
    {"type": "number"},
    {"type": "boolean"},
    {"type": "string", "enum": ["GBP", "USD", "EUR"]},
)


def schemas(count: int, changed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two versions of so many properties; in the second, so many of them are changed, and as many are new."""
    properties = {f"property_{n:03d}": dict(KINDS[n % len(KINDS)], description=f"What {n} means") for n in range(count)}
    required = [name for n, name in enumerate(properties) if n % 2 == 0]
    later = {name: dict(schema) for name, schema in properties.items()}
    for n in range(changed):
        schema = later[f"property_{n * (count // changed):03d}"]
        match schema["type"]:
            case "integer":
                schema["maximum"] = 500
            case "string" if "enum" in schema:
                schema["enum"] = ["GBP", "CAD"]
            case "string":
                schema["type"] = "boolean"
            case _:
                schema["type"] = "string"
    for n in range(changed):
        del later[f"property_{n * (count // changed) + 1:03d}"]
        later[f"new_{n:03d}"] = {"type": "string"}
    first = {"properties": properties, "required": required}
    second = {"properties": later, "required": [name for name in later if name in required or name == "new_000"]}
    return first, second


def median_ms(work: Callable[[], object], times: int) -> float:
    """The median of so many runs, in ms of CPU time."""
    taken: list[float] = []
    for _ in range(times):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return statistics.median(taken) * 1000


def run(data: Path | None, *, count: int = 200, times: int = 30) -> None:
    """Print one line a kind of file; `data` is not looked at."""
    del data
    print(f"{'compared':<28}{'changes':>9}{'breaking':>10}{'diff':>12}{'parsing':>12}{'ratio':>9}")
    for changed in (5, 20, 80):
        for kind in ("our format", "JSON Schema"):
            sides = schemas(count, changed)
            if kind == "our format":
                texts = [json.dumps({"event_name": "e", "version": f"v{n}", **one}) for n, one in enumerate(sides, 1)]
            else:
                texts = [json.dumps({"type": "object", "additionalProperties": False, **one}) for one in sides]

            def parse(texts: list[str] = texts) -> list[Any]:
                return [json.loads(text) for text in texts]

            def diff(texts: list[str] = texts) -> Any:
                old, new = (comparable(json.loads(text), name) for text, name in zip(texts, "ab", strict=True))
                return compare(old.document, new.document, policy=new.policy)

            verdict = diff()
            broken = sum(change.is_breaking for change in verdict.changes)
            took, floor = median_ms(diff, times), median_ms(parse, times)
            print(
                f"{f'{kind}, {count} properties':<28}{len(verdict.changes):>9}{broken:>10}{took:>9.1f} ms"
                f"{floor:>9.2f} ms{took / floor:>8.0f}x"
            )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--properties", type=int, default=200)
    parser.add_argument("--times", type=int, default=30)
    asked = parser.parse_args()
    run(None, count=asked.properties, times=asked.times)


if __name__ == "__main__":
    main()
