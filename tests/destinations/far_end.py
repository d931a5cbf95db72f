"""The far end of a stand-in, for a test that looks at what arrived or orders a fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx

API_KEY = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True, slots=True, kw_only=True)
class FarEnd:
    """A running stand-in: `address` and the client of its inspection routes and, with a key, of its API."""

    address: str
    client: httpx.Client

    def post(self, path: str, body: Any, *, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """A raw API call; bytes go as they are."""
        content = body if isinstance(body, bytes) else None
        return self.client.post(path, content=content, json=None if content is not None else body, headers=headers)

    def get(self, path: str, **parameters: str | int) -> Any:
        """The JSON of a GET."""
        return self.client.get(path, params=parameters).json()

    def summary(self) -> dict[str, Any]:
        """Counts of everything."""
        return self.get("/_standin/summary")

    def rows(self, name: str) -> list[dict[str, Any]]:
        """All events, workflow_entries or users (up to a page of 10,000)."""
        return self.get(f"/_standin/{name}", limit=10_000)[name]

    def order(self, endpoint: str, mode: str, **more: Any) -> None:
        """The next call of the endpoint goes wrong."""
        self.client.post("/_standin/faults", json={"endpoint": endpoint, "mode": mode, **more}).raise_for_status()

    def forget(self, user_id: str) -> None:
        """The person may not come back."""
        self.client.post("/_standin/forget", json={"userId": user_id}).raise_for_status()

    def reset(self) -> None:
        """As new."""
        self.client.post("/_standin/reset").raise_for_status()


StartStandin: TypeAlias = Callable[..., FarEnd]
"""Starts one more stand-in; keywords are those of StandinSettings."""
