"""Profile updates of one call, gathered in memory and written at once."""

from __future__ import annotations

from collections.abc import Iterable

from activation_dagster.destinations.standin import rules
from activation_dagster.destinations.standin.rules import JsonObject
from activation_dagster.destinations.standin.store import Store, StoredUser


class UserUpdates:
    """The profiles that one call creates or changes; `save` writes them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_id: dict[str, StoredUser | None] = {}
        self._by_email: dict[str, StoredUser | None] = {}
        self._changed: dict[int, StoredUser] = {}

    def expect(self, *, named_ids: Iterable[str | None], named_emails: Iterable[str | None]) -> None:
        """Reads the profiles of a whole call in two queries."""
        ids = {name for name in named_ids if name is not None}
        emails = {name for name in named_emails if name is not None}
        self._by_id = {**dict.fromkeys(ids), **self._store.users_by("user_id", ids)}
        by_email = {**dict.fromkeys(emails), **self._store.users_by("email", emails)}
        # One profile named both ways must be one object, or the later update would undo the earlier.
        for email, user in by_email.items():
            self._by_email[email] = self._by_id.get(user.user_id or "", user) or user if user else None

    def apply(
        self,
        user_id: str | None,
        email: str | None,
        fields: JsonObject,
        *,
        nested: bool,
        identity: JsonObject | None = None,
    ) -> str | None:
        """Creates or changes one profile; gives the failure list's stem if its new identifiers cannot be."""
        user = self._find("user_id", user_id) if user_id is not None else self._find("email", email or "")
        new_email, new_id = (identity or {}).get("email"), (identity or {}).get("userId")
        if new_email is not None and not (isinstance(new_email, str) and rules.is_email(new_email.strip())):
            return "invalidData"
        if new_id is not None and not (isinstance(new_id, str) and rules.is_user_id(new_id)):
            return "invalidData"
        wanted_email = new_email.strip().lower() if isinstance(new_email, str) else None
        for column, wanted in (("email", wanted_email), ("user_id", new_id)):
            if isinstance(wanted, str):
                owner = self._find(column, wanted)
                if owner is not None and owner is not user:
                    return "conflict"
                if self._store.forgotten(column, [wanted]):
                    return "forgotten"
        now = self._store.now_ms()
        if user is None:
            user = StoredUser(user_id=user_id, email=email, created_at_ms=now, received_at_ms=now)
        user.fields = rules.merged(user.fields, fields, nested=nested)
        user.email = wanted_email or user.email
        user.user_id = new_id if isinstance(new_id, str) else user.user_id
        user.received_at_ms = now
        user.times_received += 1
        if user.user_id is not None:
            self._by_id[user.user_id] = user
        if user.email is not None:
            self._by_email[user.email] = user
        self._changed[id(user)] = user
        return None

    def _find(self, column: str, identifier: str) -> StoredUser | None:
        """The profile as this call has left it so far."""
        seen = self._by_id if column == "user_id" else self._by_email
        if identifier not in seen:
            user = self._store.users_by(column, [identifier]).get(identifier)
            other = self._by_id.get(user.user_id or "") or self._by_email.get(user.email or "") if user else None
            seen[identifier] = other or user
        return seen[identifier]

    def save(self) -> None:
        """Writes every changed profile."""
        self._store.put_users([*self._changed.values()])
