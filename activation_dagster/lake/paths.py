"""Dotted paths of the contracts (`userId`, `traits.email`, `context.x.y`) as SQL over `ingested_events`."""

from __future__ import annotations

ENVELOPE = {"userId": "e.user_id", "anonymousId": "e.anonymous_id", "previousId": "e.previous_id"}
SECTIONS = ("properties", "traits", "context")


def json_at(path: str) -> str:
    """SQL for the JSON text at a path below properties, traits or context of `e`; null where nothing is there.

    The cheap test for the last name spares parsing the section of every event that does not have it.
    """
    section, *steps = path.split(".")
    if section not in SECTIONS or not steps:
        raise ValueError(f"'{path}' does not begin with properties, traits or context")
    inside = "".join(f'."{step}"' for step in steps).replace("'", "''")
    probe = steps[-1].replace("'", "''")
    return f"case when contains(e.{section}, '\"{probe}\"') then json_extract(e.{section}, '${inside}')::varchar end"


def text_at(path: str) -> str:
    """SQL for the text at a path of `e`; null where nothing or no text is there."""
    if path in ENVELOPE:
        return ENVELOPE[path]
    found = json_at(path)
    return f"case when starts_with({found}, '\"') then ({found})::json->>'$' end"
