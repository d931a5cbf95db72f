"""All benchmarks, one after the other: `python -m bench [NAME ...] [--data FOLDER]`."""

from __future__ import annotations

import argparse
import importlib
import os
from pathlib import Path

NAMES = ("bulk", "gate", "diff", "validation", "boundary", "identity", "collector")


def main() -> None:
    """Run the named benchmarks, or all; each prints its own table."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="which (default: all)")
    parser.add_argument("--data", type=Path, default=None, help="folder of real data; else the built-in simulator")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores")
    for name in arguments.names or NAMES:
        print(f"\n== {name}", flush=True)
        importlib.import_module(f"bench.{name}").run(arguments.data)


if __name__ == "__main__":
    main()
