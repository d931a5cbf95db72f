"""Reading owners.yaml and failure_modes.yaml: which teams there are, and who answers for which reason code."""

from __future__ import annotations

from activation_dagster.registry import shapes
from activation_dagster.registry.contract_set import FailureMode, Owner
from activation_dagster.registry.reading import Reading

FILE = "failure_modes.yaml"


def read_owners(reading: Reading) -> dict[str, Owner]:
    """The owners by the name that contracts give them."""
    shape = reading.read(reading.root / "owners.yaml", shapes.OwnerFile)
    return {
        slug: Owner(slug=slug, name=owner.name, contact=owner.contact)
        for slug, owner in (shape.owners.items() if shape else ())
    }


def read_failure_modes(reading: Reading) -> dict[str, FailureMode]:
    """The failure modes by `group.code`."""
    shape = reading.read(reading.root / FILE, shapes.FailureModesFile)
    found: dict[str, FailureMode] = {}
    groups = [name for name in shapes.FailureModesFile.model_fields if name != "quarantine_keep_days"]
    for group in groups if shape else ():
        for code, mode in getattr(shape, group).items():
            reading.owner(FILE, mode.owner)
            keep_days: int | None = None
            if shape is not None and isinstance(mode, shapes.QuarantineModeShape):
                keep_days = mode.keep_days or shape.quarantine_keep_days
            found[f"{group}.{code}"] = FailureMode(
                code=code, group=group, owner=mode.owner, response=mode.response, keep_days=keep_days
            )
    return found
