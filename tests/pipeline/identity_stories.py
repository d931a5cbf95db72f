"""Stories of people who are seen under several identifiers: what they buy, say and choose, and where it is landed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as some
from sqlalchemy import select

from activation_dagster.domain.identifiers import Identifier
from activation_dagster.domain.separations import Pair, pair_of
from activation_dagster.pipeline.places import Places
from activation_dagster.state.tables import FORMER, READJUDICATED, links, profiles
from tests.pipeline.small_shop import NOW, REPOSITORY, Event

FIRST = NOW - timedelta(days=9)
LANDED_AT = NOW - timedelta(minutes=40)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One event: who was seen together, and what they did at which hour."""

    does: str = "page"
    user: str | None = None
    device: str | None = None
    email: str | None = None
    hour: int = 0

    def without(self, pairs: Sequence[Pair]) -> Seen:
        """The same where no two of a pair are seen together: the weaker is left out, or names nobody."""
        kept: list[tuple[str, Identifier]] = []
        for name, kind in (("user", "user_id"), ("email", "email"), ("device", "anonymous_id")):
            value = getattr(self, name)
            if value is not None and all(pair_of(one, Identifier(kind, value)) not in pairs for _, one in kept):
                kept.append((name, Identifier(kind, value)))
        names = {name for name, _ in kept}
        gone = {"user": None, "email": None, "device": None if self.device is None else "null"}
        return replace(self, **{name: none for name, none in gone.items() if name not in names})


def as_event(seen: Seen, message_id: str) -> Event:
    """The call that a sender makes."""
    at = FIRST + seen.hour * timedelta(hours=6)
    context: dict[str, Any] = {} if seen.email is None else {"traits": {"email": seen.email}}
    call: dict[str, Any] = {"type": "page", "properties": {"path": "/"}}
    if seen.does in ("yes", "no"):
        context["consent"] = {"categoryPreferences": {"marketing_email": seen.does == "yes", "personalization": True}}
        call = {"type": "track", "event": "Segment Consent Preference Updated", "properties": {}}
    elif seen.does in ("US", "DE"):
        call = {"type": "identify", "traits": {"country": seen.does, "first_name": f"N{seen.hour}"}}
    elif seen.does == "buy":
        bought = {"product_id": "sku-1", "price": 300.0 + seen.hour, "quantity": 1, "currency": "USD"}
        call = {"type": "track", "event": "Product Purchased", "properties": bought}
    whole = {
        "messageId": message_id,
        "userId": seen.user,
        "anonymousId": seen.device,
        "timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "context": context,
        **call,
    }
    return {name: value for name, value in whole.items() if value not in (None, "")}


sightings = some.builds(
    Seen,
    does=some.sampled_from(["page", "page", "yes", "no", "buy", "buy", "US", "DE"]),
    user=some.sampled_from([None, None, "ann", "bea", "none"]),
    device=some.sampled_from([None, "phone", "tablet", "laptop", "null"]),
    email=some.sampled_from([None, None, "a@shop.test", "b@shop.test"]),
    hour=some.integers(0, 30),
).filter(lambda seen: bool(seen.user or seen.device))
stories = some.lists(some.tuples(sightings, some.sampled_from([0, 0, 1])), min_size=2, max_size=9)
"""Sightings in the order of arrival, each with how many batches later than the one before it comes."""


def elsewhere(seen: Seen, world: str) -> Seen:
    """The same among other people, so that many stories are told in one run and never meet."""

    def there(name: str | None) -> str | None:
        return name if name in (None, "none", "null") else f"{world}.{name}"

    return replace(seen, user=there(seen.user), device=there(seen.device), email=there(seen.email))


def cut(told: Sequence[Sequence[tuple[Seen, int]]], batches: int = 3) -> list[list[Seen]]:
    """Many stories, each in a world of its own, in so many batches."""
    found: list[list[Seen]] = [[] for _ in range(batches)]
    for world, story in enumerate(told):
        number = 0
        for seen, later in story:
            number = min(number + later, batches - 1)
            found[number].append(elsewhere(seen, str(world)))
    return [batch for batch in found if batch]


def land_batches(places: Places, batches: Sequence[Sequence[Seen]], *, first: int = 0) -> None:
    """The same segments wherever this is called, each a batch where `batch_max_bytes` is 1."""
    for number, batch in enumerate(batches, start=first):
        content = [json.dumps(as_event(seen, f"{number}.{place}")).encode() for place, seen in enumerate(batch)]
        places.landing.seal("web", content, sealed_at=LANDED_AT + number * timedelta(minutes=1), suffix="told")


# -- contracts ---------------------------------------------------------------------------------------------------------


def limit(kind: str, most: int) -> Callable[[dict[str, Any]], None]:
    def change(contract: dict[str, Any]) -> None:
        contract["kinds"][kind]["limit"] = most

    return change


def rule(**rules: Any) -> Callable[[dict[str, Any]], None]:
    def change(contract: dict[str, Any]) -> None:
        contract["rules"] = rules

    return change


def of_kind(kind: str, **terms: Any) -> Callable[[dict[str, Any]], None]:
    def change(contract: dict[str, Any]) -> None:
        contract["kinds"][kind] |= terms

    return change


def without_email(contract: dict[str, Any]) -> None:
    del contract["kinds"]["email"]


CONTRACTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "as it is": lambda _: None,
    "one device": limit("anonymous_id", 1),
    "one address": limit("email", 1),
    "small": rule(maximum_cluster=3),
    "largest": rule(winner="largest"),
    "apart": rule(on_conflict="keep_apart"),
    "quarantine": rule(on_conflict="quarantine"),
    "weak device": of_kind("anonymous_id", strength="weak"),
    "unique address": of_kind("email", unique=True),
    "shared device": of_kind("anonymous_id", shared={"more_than": 1, "of": "user_id"}),
    "short-lived device": of_kind("anonymous_id", time_to_live_days=2),
    "one device a day": limit("anonymous_id", {"most": 1, "per": "day"}),  # pyright: ignore[reportArgumentType]
    "no address": without_email,
}
"""Identity contracts that make other people of the same stories."""


def write_contract(root: Path, name: str) -> None:
    """Put one of the identity contracts into a contracts folder, under a version of its name."""
    contract = yaml.safe_load((REPOSITORY / "contracts" / "identity.yaml").read_text(encoding="utf-8"))
    CONTRACTS[name](contract)
    contract["traits"] = {"default": "latest", "policies": {"first_name": "most_frequent"}}
    contract["version"] = name.replace(" ", "_")
    (root / "identity.yaml").write_text(yaml.safe_dump(contract, sort_keys=False), encoding="utf-8")


def contracts_at(folder: Path, name: str) -> Path:
    """A contracts folder of its own with one of the identity contracts."""
    root = folder / "contracts"
    shutil.copytree(REPOSITORY / "contracts", root)
    write_contract(root, name)
    return root


# -- what state holds --------------------------------------------------------------------------------------------------

UNTOLD = ("known_seq", "decided_at", "rules_version")
"""When and under which version of the rules something was found is not what was found."""


def held(places: Places, *, but_for: Sequence[str] = ()) -> dict[str, list[tuple[Any, ...]]]:
    """Every row that follows from who is who; links without those refused for a reason of `but_for`.

    Profiles that nobody is any more, which a history from scratch never knew, are left out.
    """
    found: dict[str, list[tuple[Any, ...]]] = {}
    with places.state.read() as connection:
        for table in READJUDICATED:
            columns = [column for column in table.columns if column.name not in UNTOLD]
            query = select(*columns)
            if table is links and but_for:
                query = query.where(links.c.reason.not_in(but_for))
            found[table.name] = sorted((tuple(row) for row in connection.execute(query)), key=repr)
    return found


def without_gone(rows: dict[str, list[tuple[Any, ...]]], known: dict[str, list[tuple[Any, ...]]]) -> Any:
    """`rows` without the profiles, and where they lead, that `known` has never heard of."""
    heard = {row[0] for row in known[profiles.name]}
    return rows | {name: [row for row in rows[name] if row[0] in heard] for name in ("profiles", "profile_redirects")}


def former_rows(places: Places) -> int:
    """How many rows were ended."""
    with places.state.read() as connection:
        return sum(len(connection.execute(select(table)).all()) for table in FORMER.values())


def unlike(here: dict[str, list[tuple[Any, ...]]], fresh: dict[str, list[tuple[Any, ...]]]) -> dict[str, Any]:
    """By table, the rows of one environment that the other has not; nothing where they hold the same.

    An event that two identifiers were kept apart in says what another says that never showed both: the ledger tells of
    it again, because it is another event. That is no difference.
    """
    found: dict[str, Any] = {}
    for name, rows in without_gone(here, fresh).items():
        more = [row for row in rows if row not in set(fresh[name])]
        less = [row for row in fresh[name] if row not in set(rows)]
        if name == links.name:
            said = {row[1:] for row in fresh[name]}
            more = [row for row in more if row[1:] not in said]
        if more or less:
            found[name] = (more, less)
    return found
