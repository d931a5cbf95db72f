"""Lines that nobody would write: no bytes make a judge raise, and bulk says of each line what the plain rules say.

`make fuzz [SECONDS=60]` runs it. What breaks a judge is written under .fuzzing, and what was learnt is kept there.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["activation_dagster.domain"]):
    from activation_dagster.domain.contracts import judge
    from activation_dagster.domain.events import envelope_fault
    from activation_dagster.domain.lexical import read_event
    from activation_dagster.domain.masking import shown_payload
    from activation_dagster.domain.reasons import QuarantineReason

from activation_dagster.pipeline.contracts_in_force import contracts_today
from tests.sql.landed import Batches, batches_under
from tests.sql.test_ingest_agrees import assert_agree

LINES_A_BATCH = 300
SEEDS = (
    b'{"type":"track","event":"Product Purchased","userId":"u","messageId":"m","timestamp":"2026-03-01T10:00:00.000Z",'
    b'"properties":{"order_id":"o","product_id":"p","quantity":1,"price":2.5}}',
    b'{"type":"identify","anonymousId":"a","traits":{"email":"a@example.com"},"context":{"protocols":{"event_version":1}}}',
    b'{"type":"page","name":"n","userId":"u","sentAt":"2026-03-01T10:00:00+14:00","timestamp":"2026-03-01 10:00:00Z"}',
    b'{"a":"\\ud83d\\ude00\\u0000","b":[1e400,-0.0,9007199254740993,NaN],"b":{}}',
)

TOKENS = [
    r'"type":',
    r'"event":',
    r'"messageId":',
    r'"userId":',
    r'"anonymousId":',
    r'"properties":{',
    r'"traits":{',
    r'"context":{',
    r'"track"',
    r'"identify"',
    r'"page"',
    r'"timestamp":',
    r'"sentAt":',
    r"2026-03-01T10:00:00Z",
    r"null",
    r"true",
    r"NaN",
    r"Infinity",
    r"1e400",
    r"9007199254740993",
    r"-0",
    r"[",
    r"{",
    r"}",
    r"]",
    r",",
    r":",
    r"\\u0000",
    r"\\ud800",
    r"\\u0061",
]
"""What the dictionary offers: coverage cannot lead into a parser that is written in C."""


class Lines:
    """Judges each line alone, and every so many of them at once in bulk."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._contracts = contracts_today(batches.places)
        self._waiting: list[bytes] = []

    def one(self, data: bytes) -> None:
        """What libFuzzer made."""
        shown_payload(data, reveal=False)
        for line in data.split(b"\n"):
            event = read_event(line.rstrip(b"\r"))
            if not isinstance(event, QuarantineReason) and envelope_fault(event) is None:
                contract = self._contracts.contract_for(event["type"], event.get("event"))
                if contract is not None:
                    judge(contract, contract.newest, event.get(contract.section))
            self._waiting.append(line)
        if len(self._waiting) >= LINES_A_BATCH:
            assert_agree(self._batches, self._waiting)
            self._waiting.clear()


def main(folder: Path) -> None:
    """Run libFuzzer with the arguments given to this file, from the seeds and what earlier runs left in `folder`."""
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS):
        (corpus / f"seed-{number}").write_bytes(seed)
    dictionary = folder / "tokens"
    dictionary.write_text(
        "".join(f'"{token.replace(chr(34), chr(92) + chr(34))}"\n' for token in TOKENS), encoding="utf-8"
    )
    with tempfile.TemporaryDirectory() as home, batches_under(Path(home)) as batches:
        arguments = [*sys.argv, f"-dict={dictionary}", f"-artifact_prefix={folder}/", str(corpus)]
        atheris.Setup(arguments, Lines(batches).one)
        atheris.Fuzz()


if __name__ == "__main__":
    main(Path(".fuzzing"))
