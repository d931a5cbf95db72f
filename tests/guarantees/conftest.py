"""Every guarantee is tested on both databases."""

from tests.databases import (
    dialect,
    empty_url,
    migrated_sqlite,
    new_state_url,
    postgres,
    state,
    state_url,
)

__all__ = ["dialect", "empty_url", "migrated_sqlite", "new_state_url", "postgres", "state", "state_url"]
