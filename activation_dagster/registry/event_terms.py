"""What contract.yaml says of an event beside its versions: its terms, and those that contradict one another."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from activation_dagster.domain.contracts import LateData, Lifecycle, LifecycleState
from activation_dagster.registry.event_versions import Mistake
from activation_dagster.registry.files import suggestion
from activation_dagster.registry.shapes import EventFile

FOLDER_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
"""How sources and environments are named: their events stand in folders of landing named after them."""


def lifecycle_of(about: EventFile, version: str) -> Lifecycle:
    """Where a version is in its life: where its event is, unless that is active and says otherwise of the version."""
    own = about.versions.get(version)
    whole = Lifecycle(state=about.lifecycle, until=about.deprecated_until)
    if own is None or whole.state in (LifecycleState.DRAFT, LifecycleState.RETIRED):
        return whole
    if own.lifecycle is LifecycleState.ACTIVE:
        return whole
    return Lifecycle(state=own.lifecycle, until=own.deprecated_until)


def mistakes_of_terms(about: EventFile, published: Sequence[str], *, owners: Collection[str]) -> Iterator[Mistake]:
    """Every term that contradicts another, leads nowhere, or is not carried out."""
    for name in about.consumers:
        if name not in owners:
            hint = suggestion(name, list(owners))
            yield "consumers", f"names consumer '{name}', which is not in owners.yaml.{hint}"
    for key, names in (("sources", [*about.sources, *about.pinned]), ("environments", about.environments)):
        for name in names:
            if not FOLDER_NAME.fullmatch(name):
                yield (
                    key,
                    f"names '{name}', which no folder of landing could be called; use lower case, digits, _ and -.",
                )
    for source, version in about.pinned.items():
        if version not in published:
            hint = suggestion(version, list(published))
            yield f"pinned.{source}", f"names version '{version}', which has no file.{hint}"
        if about.sources and source not in about.sources:
            hint = suggestion(source, about.sources)
            yield f"pinned.{source}", f"is a source that may not emit the event; add it to sources.{hint}"
    if (about.late_data is LateData.ACCEPT) != (about.late_after_hours is None):
        sentence = "goes with `late_data: quarantine` or `state_only`, and only with these; write both or neither."
        yield "late_after_hours", sentence
    for version in about.versions:
        if version not in published:
            yield f"versions.{version}", f"has no file.{suggestion(version, list(published))} Add it, or take this out."
    lives = [("", about.lifecycle, about.deprecated_until)]
    lives += [(f"versions.{name}.", life.lifecycle, life.deprecated_until) for name, life in about.versions.items()]
    for path, state, until in lives:
        if (state is LifecycleState.DEPRECATED) != (until is not None):
            yield (
                f"{path}deprecated_until",
                "goes with `lifecycle: deprecated`, and only with it; write both or neither.",
            )
