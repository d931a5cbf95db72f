"""Schemathesis on a running collector, by the description that it serves: never a 500, and no answer it does not name.

`make fuzz-collector` installs it in a folder of its own and runs this: `fuzz_collector.py ST [EXAMPLES]`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.sources.collector.running import KEY, basic, in_a_process, settings_under

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def main() -> int:
    """Fuzz once without a key and once with one; the exit code of the first run that found something, else 0."""
    examples = sys.argv[2] if len(sys.argv) > 2 else "50"
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-collector-") as folder,
        in_a_process(settings_under(Path(folder))) as one,
    ):
        for headers in ([], ["--header", f"Authorization: {basic(KEY)}"]):
            command = [sys.argv[1], "run", f"{one.url}/openapi.json", "--checks", CHECKS, "--max-examples", examples]
            found = subprocess.run([*command, "--suppress-health-check", "all", "--seed", "1", *headers]).returncode
            if found:
                return found
        assert one.process is not None
        if one.process.poll() is not None:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
