"""Every kind of destination, one line each."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from activation_dagster.destinations.file import FileDestination
from activation_dagster.destinations.iterable import IterableDestination
from activation_dagster.destinations.protocol import Access, Destination
from activation_dagster.domain.destinations import DestinationContract
from activation_dagster.errors import WrongUse

KINDS: Mapping[str, Callable[[DestinationContract, Access], Destination]] = {
    "file": FileDestination,
    "iterable": IterableDestination,
}
"""The `kind` of a destination's contract → what opens it."""


def open_destination(contract: DestinationContract, access: Access) -> Destination:
    """The destination of a contract, ready to deliver; close it after use. An unknown kind raises WrongUse."""
    constructor = KINDS.get(contract.kind)
    if constructor is None:
        near = difflib.get_close_matches(contract.kind, KINDS, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Take one of: {', '.join(sorted(KINDS))}."
        raise WrongUse(f"Destination '{contract.name}' is of kind '{contract.kind}', which nobody wrote. {hint}")
    return constructor(contract, access)
