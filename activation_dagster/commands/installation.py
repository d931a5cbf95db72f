"""The installation that a command works on: its settings and its places, opened only when a command runs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activation_dagster.pipeline.places import Places
    from activation_dagster.settings import Settings


def read_settings() -> Settings:
    """What the environment says. Raises SettingsInvalid."""
    from activation_dagster.settings import load_settings

    return load_settings()


@contextmanager
def places_of(settings: Settings) -> Generator[Places]:
    """The places of an installation, closed on leaving. Raises StateUnusable."""
    from activation_dagster.wiring import open_places

    with open_places(settings) as places:
        yield places


@contextmanager
def opened() -> Generator[Places]:
    """The places that the environment names, closed on leaving."""
    with places_of(read_settings()) as places:
        yield places
