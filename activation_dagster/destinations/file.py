"""A local file: one NDJSON line a message, each send key at most once, synced before it counts as delivered."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from activation_dagster.destinations.protocol import (
    Access,
    MayGoOn,
    OnReceipt,
    always,
    check_call,
    not_begun,
    pass_by,
)
from activation_dagster.domain.destinations import DestinationContract, Endpoint
from activation_dagster.domain.reasons import SendFailure
from activation_dagster.domain.sends import Json, Message, Outcome, Receipt

_LINE_START = b'{"send_key":"'


class FileDestination:
    """Appends to the file at `access.address`; several processes may share it, a lock orders them."""

    def __init__(self, contract: DestinationContract, access: Access) -> None:
        self._contract = contract
        self._path = Path(access.address)
        self._seen: set[str] = set()
        self._read_to = 0
        self._identity = (0, 0)

    @property
    def contract(self) -> DestinationContract:
        """What is promised about this file."""
        return self._contract

    def close(self) -> None:
        """Nothing stays open between deliveries."""

    def deliver(
        self,
        endpoint: Endpoint,
        messages: Sequence[Message],
        *,
        on_receipt: OnReceipt = pass_by,
        may_go_on: MayGoOn = always,
    ) -> list[Receipt]:
        """See `Destination.deliver`; all or none of the new lines are written. Every endpoint is idempotent here."""
        check_call(self._contract, endpoint, messages)
        if may_go_on():
            receipts = self._deliver(messages)
        else:
            receipts = [not_begun(message.send_key) for message in messages]
        for receipt in receipts:
            on_receipt(receipt)
        return receipts

    def _deliver(self, messages: Sequence[Message]) -> list[Receipt]:
        lines = {message.send_key: _line(message) for message in messages}
        written: tuple[Outcome, str] = self._write({key: line for key, line in lines.items() if line is not None})
        return [
            _receipt(message, (Outcome.REJECTED, SendFailure.REJECTED_BY_DESTINATION))
            if lines[message.send_key] is None
            else _receipt(message, written)
            for message in messages
        ]

    def _write(self, lines: Mapping[str, bytes]) -> tuple[Outcome, str]:
        if not lines:
            return Outcome.DELIVERED, ""
        try:
            with self._locked() as file:
                self._catch_up(file)
                return self._append(file, lines)
        except OSError:
            return Outcome.RETRY, SendFailure.DESTINATION_UNAVAILABLE
        except (KeyError, TypeError, ValueError):
            # Lines that we did not write: nobody can tell which send keys are there.
            return Outcome.STOPPED, SendFailure.DESTINATION_STOPPED

    @contextmanager
    def _locked(self) -> Generator[int]:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)

    def _catch_up(self, file: int) -> None:
        """Reads the send keys that were added since; cuts off a last line that a crash left unfinished."""
        status = os.fstat(file)
        size, identity = status.st_size, (status.st_dev, status.st_ino)
        if size < self._read_to or identity != self._identity:  # another file was put in its place
            self._seen.clear()
            self._read_to = 0
            _sync_folder(self._path.parent)
            self._identity = identity
        added = os.pread(file, size - self._read_to, self._read_to)
        whole = added.rfind(b"\n") + 1
        torn = added[whole:]
        if not torn.startswith(_LINE_START[: len(torn)]):
            raise ValueError("the last line is not ours to cut off")
        self._seen.update(json.loads(line)["send_key"] for line in added[:whole].splitlines())
        self._read_to += whole
        if torn:
            os.ftruncate(file, self._read_to)

    def _append(self, file: int, lines: Mapping[str, bytes]) -> tuple[Outcome, str]:
        new = {key: line for key, line in lines.items() if key not in self._seen}
        added = b"".join(new.values())
        try:
            written = 0
            while written < len(added):
                written += os.pwrite(file, added[written:], self._read_to + written)
            os.fsync(file)
        except OSError:
            return self._undo(file)
        self._seen.update(new)
        self._read_to += len(added)
        return Outcome.DELIVERED, ""

    def _undo(self, file: int) -> tuple[Outcome, str]:
        try:
            os.ftruncate(file, self._read_to)
            os.fsync(file)
        except OSError:
            return Outcome.IN_DOUBT, SendFailure.OUTCOME_UNKNOWN
        return Outcome.RETRY, SendFailure.DESTINATION_UNAVAILABLE


def _receipt(message: Message, written: tuple[Outcome, str]) -> Receipt:
    outcome, reason = written
    return Receipt(send_key=message.send_key, outcome=outcome, reason=reason)


def _line(message: Message) -> bytes | None:
    """The message as one line; None if no JSON can hold it."""
    fields: dict[str, Json] = {
        "send_key": message.send_key,
        "endpoint": message.endpoint,
        "subject": message.subject,
        "profile_key": message.profile_key,
        "created_at": message.created_at.isoformat(),
        "profile_fields": {**message.profile_fields},
        "execution_input": message.execution_input(),
    }
    try:
        return json.dumps(fields, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    except (TypeError, ValueError):
        return None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
