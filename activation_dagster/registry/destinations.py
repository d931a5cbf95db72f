"""Reading destinations/: where messages may go, how profiles are named there, and each endpoint's limits."""

from __future__ import annotations

from collections.abc import Collection

from activation_dagster.domain.destinations import DestinationContract, Endpoint
from activation_dagster.registry import shapes
from activation_dagster.registry.reading import Reading


def read_destinations(reading: Reading, *, kinds: Collection[str]) -> dict[str, DestinationContract]:
    """The destinations by their file's name, sorted; `kinds` are the identifier kinds that may name a profile."""
    found: dict[str, DestinationContract] = {}
    for path in reading.files("destinations"):
        name = reading.name(path)
        shape = reading.read(path, shapes.DestinationFile)
        if shape is None:
            continue
        reading.owner(name, shape.owner)
        reading.known(name, "profile_key", "identifier kind", shape.profile_key, kinds, "in identity.yaml")
        found[path.stem] = DestinationContract(
            name=path.stem,
            owner=shape.owner,
            kind=shape.kind,
            profile_key=shape.profile_key,
            endpoints={key: _endpoint(key, value) for key, value in shape.endpoints.items()},
            profile_endpoint=_endpoint("profile", shape.profile_endpoint),
        )
    return found


def _endpoint(name: str, shape: shapes.EndpointShape) -> Endpoint:
    return Endpoint(
        name=name,
        path=shape.path,
        is_idempotent=shape.is_idempotent,
        batch_size=shape.batch_size,
        calls_per_second=shape.calls_per_second,
    )
