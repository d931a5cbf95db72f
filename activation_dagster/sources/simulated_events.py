"""What the teams of the simulated shop send: the words of each event, without its times and its message id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from random import Random
from typing import cast

from activation_dagster.sources.simulated_people import Person

EPOCH_DAY = date(1970, 1, 1).toordinal()
SHOP = "https://shop.example"
BLOCKED_USER_IDS = ("null", "0000")
NO_TIMES = ("yesterday at noon", "2025-02-30T25:61:00.000Z", "31/12/2O25 10:00")

# id, name, price of one. High spenders buy from the second list as well, and only they do.
SMALL_THINGS = (
    ("SKU-1001", "Candle", 4.95),
    ("SKU-1002", "Tea towel", 7.5),
    ("SKU-1003", "Crème brûlée set", 18.9),
    ("SKU-1004", "Müsli bowl", 9.99),
    ("SKU-1005", "Jam jar label", 1.25),
    ("SKU-1006", "Picnic blanket", 24),
    ("SKU-1007", 'Poster "Harbour"', 12.0),
    ("SKU-1008", "Garden gloves", 6.45),
)
GREAT_THINGS = (
    ("SKU-9001", "Espresso machine", 649.0),
    ("SKU-9002", "Oak table", 890.0),
    ("SKU-9003", "Wool rug 2×3 m", 420.0),
    ("SKU-9004", "Reading chair", 530.5),
)
PAGES = ("/", "/sale", "/new", "/category/kitchen", "/category/garden", "/basket")


@dataclass(slots=True, kw_only=True)
class Draft:
    """An event before it is written down: `body` and when things happened (epoch ms, UTC).

    It happened at `occurred_ms`, left the device `waited_ms` later and arrived `travelled_ms` after that. The
    device's clock is `skew_ms` ahead of the true time.
    """

    body: dict[str, object]
    occurred_ms: int
    waited_ms: int
    travelled_ms: int
    skew_ms: int = 0
    said_time: str | None = None  # what stands where the event's time should
    message_id: str = ""
    is_about_consent: bool = False
    net_spend: float = 0.0
    spender: str | None = None

    @property
    def properties(self) -> dict[str, object]:
        """What the event says; not for an identify, which has traits."""
        return cast("dict[str, object]", self.body["properties"])

    @property
    def received_ms(self) -> int:
        """When the event arrived, by the server's clock."""
        return self.occurred_ms + self.waited_ms + self.travelled_ms


def page(rng: Random, person: Person, *, at: int, named: bool, device: str | None = None) -> Draft:
    """The storefront team: a page was looked at; `named` once the person has said who they are."""
    path = rng.choice(PAGES)
    body: dict[str, object] = {"type": "page"}
    body |= _ids(person.user_id if named else None, device or rng.choice(person.devices))
    body |= {"properties": {"url": SHOP + path, "path": path, "title": path.rsplit("/", 1)[-1].title() or "Home"}}
    return _draft(rng, body, at=at, library="analytics.js")


def identify(rng: Random, person: Person, *, at: int, device: str) -> Draft:
    """The storefront team: a person says who they are on a device."""
    traits: dict[str, object] = {
        "email": person.email,
        "first_name": person.first_name,
        "country": person.country,
        "age": person.age,
    }
    if person.region is not None:
        traits["region"] = person.region
    body = {"type": "identify", **_ids(person.user_id, device), "traits": traits}
    return _draft(rng, body, at=at, library="analytics.js")


def purchase(rng: Random, person: Person, *, at: int, great: bool = False) -> Draft:
    """The checkout team: one line of an order. Its servers often know the user id only."""
    product_id, name, price = rng.choice(GREAT_THINGS if great else SMALL_THINGS)
    quantity = rng.randrange(1, 3)
    device = rng.choice(person.devices) if person.user_id is None or rng.random() < 0.3 else None
    properties: dict[str, object] = {
        "order_id": f"o-{rng.getrandbits(40):010x}",
        "product_id": product_id,
        "name": name,
        "quantity": quantity,
        "price": price,
        "currency": person.currency,
    }
    body = _track("Product Purchased", person.user_id, device, properties)
    draft = _draft(rng, body, at=at, library="analytics-python")
    draft.spender, draft.net_spend = person.user_id, price * quantity
    return draft


def cancellation(rng: Random, of: Draft, *, at: int) -> Draft:
    """The checkout team: a purchase is taken back as a whole."""
    quantity = of.properties["quantity"]
    assert isinstance(quantity, int)
    negative = {**of.properties, "quantity": -quantity}
    body: dict[str, object] = {**of.body, "event": "Product Cancelled", "properties": negative}
    draft = _draft(rng, body, at=at, library="analytics-python")
    draft.spender, draft.net_spend = of.spender, -of.net_spend
    return draft


def consent_choice(rng: Random, person: Person, *, at: int, marketing: bool) -> Draft:
    """The privacy team: a person answered the consent banner."""
    body = _track("Segment Consent Preference Updated", person.user_id, person.devices[0], {})
    choices = {"marketing_email": marketing, "personalization": person.wants_personalization}
    draft = _draft(rng, body, at=at, library="analytics.js", context={"consent": {"categoryPreferences": choices}})
    draft.is_about_consent = True
    return draft


def profile_update(rng: Random, person: Person, *, at: int, consent_status: bool | None, version: str = "") -> Draft:
    """The CRM team: a profile was changed; v1 says nothing about consent, v2 carries the marketing e-mail switch."""
    properties: dict[str, object] = {"user_id": person.user_id, "updated_at": instant(at)}
    if consent_status is not None:
        properties["consent_status"] = consent_status
    spoken = version or ("v1" if consent_status is None else "v2")
    body = _track("user_profile_updated", person.user_id, None, properties)
    draft = _draft(rng, body, at=at, library="analytics-java", context={"protocols": {"event_version": spoken}})
    draft.is_about_consent = consent_status is not None
    return draft


def instant(epoch_ms: int) -> str:
    """Epoch milliseconds as ISO 8601 in UTC with milliseconds."""
    return f"{_second(epoch_ms // 1000)}.{epoch_ms % 1000:03d}Z"


def _second(epoch_s: int) -> str:
    days, rest = divmod(epoch_s, 86_400)
    return f"{date.fromordinal(EPOCH_DAY + days)}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"


def _ids(user_id: str | None, device: str | None) -> dict[str, object]:
    named = {"userId": user_id, "anonymousId": device}
    return {name: value for name, value in named.items() if value is not None}


def _track(name: str, user_id: str | None, device: str | None, properties: dict[str, object]) -> dict[str, object]:
    return {"type": "track", "event": name, **_ids(user_id, device), "properties": properties}


def _draft(
    rng: Random, body: dict[str, object], *, at: int, library: str, context: dict[str, object] | None = None
) -> Draft:
    whole: dict[str, object] = {
        **body,
        "context": {"library": {"name": library, "version": "4.2.0"}, **(context or {})},
    }
    return Draft(body=whole, occurred_ms=at, waited_ms=rng.randrange(50, 2000), travelled_ms=rng.randrange(20, 800))
