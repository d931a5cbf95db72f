"""Every exception of the platform, sorted by what the caller must do about it.

ActivationError
├── MendTheFile               a person must correct a file that they wrote
│   ├── ContractsInvalid      contracts/ holds one or more faults; all of them are listed
│   └── RepairInvalid         a repair holds one or more faults; all of them are listed
├── MendTheEnvironment        a person must correct the installation
│   ├── SettingsInvalid       an environment variable is missing or wrong
│   ├── StateUnusable         the state database cannot be opened, is of another version, or stays locked
│   └── LakeDamaged           a lake table does not hold what state says it holds
├── RetryLater                nothing is wrong that time does not mend
│   ├── LeaseHeld             somebody else works on this batch, or on this environment
│   ├── LeaseLost             our lease ran out and somebody else took over; stop at once
│   ├── CommitConflict        two writers met on one lake table more often than we retry
│   ├── LandingUnwritable     landing takes no event now: disk full, read-only, or too slow
│   └── LandingBusy           more events wait for the disk than we keep in memory
├── StopTheDestination        no call to this destination can succeed until somebody acts
└── WrongUse                  the caller asked for something that does not exist

An expected failure is no exception: a violation, a refusal, a conflict and a receipt are returned as values.
A sentence has three parts: what happened, where, what to do. It never holds personal data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class ActivationError(Exception):
    """Root of all our exceptions; catch it only at a door (cli, defs)."""


class MendTheFile(ActivationError):
    """A person must correct a file."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Fault:
    """One mistake in one file: where it is (`file`, `path` inside it) and a sentence saying what to do."""

    file: str
    path: str
    sentence: str

    def __str__(self) -> str:
        where = f"{self.file}: {self.path}" if self.path else self.file
        return f"{where}: {self.sentence}"


class ContractsInvalid(MendTheFile):
    """All faults of all contract files at once, sorted by file and path."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults))
        count = len(self.faults)
        super().__init__(
            f"{count} mistake{'s' if count != 1 else ''} in the contracts:\n"
            + "\n".join(f"  {fault}" for fault in self.faults)
        )


class RepairInvalid(MendTheFile):
    """All faults of a repair file at once, sorted by their place in it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults))
        count = len(self.faults)
        super().__init__(
            f"{count} mistake{'s' if count != 1 else ''} in the repair:\n"
            + "\n".join(f"  {fault}" for fault in self.faults)
        )


class MendTheEnvironment(ActivationError):
    """A person must correct the installation."""


class SettingsInvalid(MendTheEnvironment):
    """An environment variable is missing or wrong; the sentence names it."""


class StateUnusable(MendTheEnvironment):
    """The state database cannot be opened, its schema is of another version, or somebody keeps it locked."""


class LakeDamaged(MendTheEnvironment):
    """A lake table does not hold what state says it holds."""


class RetryLater(ActivationError):
    """Nothing is wrong that time does not mend."""


class LeaseHeld(RetryLater):
    """Somebody else works on this batch, or on this environment."""


class LeaseLost(RetryLater):
    """Our lease ran out and somebody else took over: write nothing more."""


class CommitConflict(RetryLater):
    """Two writers met on one lake table more often than we retry."""


class LandingUnwritable(RetryLater):
    """Landing takes no event now (the disk is full, read-only, broken or too slow): nothing was acknowledged."""


class LandingBusy(RetryLater):
    """More events wait for the disk than we keep in memory: come again in a moment."""


class StopTheDestination(ActivationError):
    """No call to this destination can succeed until somebody acts (a key was refused, say)."""


class WrongUse(ActivationError):
    """The caller asked for something that does not exist."""
