"""The webhook: what is signed lands as it was sent before it is acknowledged, and nothing else does."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from activation_dagster.errors import RetryLater
from activation_dagster.sources.landing import Landing
from activation_dagster.sources.webhook import WebhookLimits, WebhookSource, split_events, webhook_routes
from tests.sources.loopback import serving

SECRET = "s3cr3t of the two"
NOW = datetime(2026, 3, 1, 10, 12, tzinfo=UTC)
EVENT = {"type": "track", "messageId": "m-1", "event": "Product Purchased", "properties": {"name": "Müsli\nbowl"}}


class LandingAppender:
    """Lands each request as a segment of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.number = 0
        self.broken = False

    async def append(self, environment: str, source: str, lines: Sequence[bytes]) -> None:
        if self.broken:
            raise RetryLater("The disk is full, at /secret/path. Make room.")
        self.number += 1
        Landing(self.root / environment).seal(source, lines, sealed_at=NOW, suffix=f"w{self.number:06d}")


class Front:
    """A webhook source, reached over HTTP."""

    def __init__(self, appender: LandingAppender, client: httpx.Client) -> None:
        self.appender, self.client = appender, client

    def post(self, body: bytes, signed: bytes | str | None, *, source: str = "web", **headers: str) -> Any:
        """Send a body with the signature of `signed`, with a ready one, or with none."""
        if signed is not None:
            made = signed if isinstance(signed, str) else hmac.new(SECRET.encode(), signed, hashlib.sha1).hexdigest()
            headers["x-signature"] = made
        headers.setdefault("user-agent", "Segment.io/1.0")
        return self.client.post(f"/v1/webhooks/{source}", content=body, headers=headers)

    def landed(self) -> list[bytes]:
        landing = Landing(self.appender.root / "shop")
        return [line for segment in landing.segments() for line in landing.read(segment).splitlines()]


@contextmanager
def opened(root: Path, *, secret: str = SECRET, **more: Any) -> Generator[Front]:
    appender = LandingAppender(root)
    sources = {"web": WebhookSource(name="web", environment="shop", secret=secret, **more)}
    routes = webhook_routes(sources.get, appender, limits=WebhookLimits(max_bytes=10_000, max_events=5))
    with serving(Starlette(routes=routes)) as address, httpx.Client(base_url=address) as client:
        yield Front(appender, client)


@pytest.fixture
def front(tmp_path: Path) -> Generator[Front]:
    with opened(tmp_path) as made:
        yield made


def as_sent(*events: object) -> bytes:
    """As JSON.stringify writes it."""
    return json.dumps(events[0] if len(events) == 1 else events, separators=(",", ":"), ensure_ascii=False).encode()


def test_one_event_and_a_batch_signed_as_a_whole_land_as_they_were_sent(front: Front) -> None:
    one, batch = as_sent(EVENT), as_sent(EVENT, {**EVENT, "messageId": "m-2"})
    assert front.post(one, one).json() == {"success": True}
    assert front.post(batch, batch).status_code == 200
    assert front.post(b"[]", b"[]").status_code == 200
    assert front.landed() == [one, one, as_sent({**EVENT, "messageId": "m-2"})]


def test_a_pretty_printed_event_is_one_line_with_the_same_meaning(front: Front) -> None:
    body = json.dumps(EVENT, indent=2).replace("\n", "\r\n").encode()
    assert front.post(body, body).status_code == 200
    (line,) = front.landed()
    assert json.loads(line) == EVENT


@pytest.mark.parametrize("signed", [None, "", "0" * 40, b"another body", "ä", "0" * 5_000], ids=str)
def test_what_is_not_signed_does_not_land(front: Front, signed: bytes | str | None) -> None:
    if signed == "ä":  # header values are bytes
        answer = front.client.post("/v1/webhooks/web", content=as_sent(EVENT), headers={b"x-signature": b"\xe4"})
    else:
        answer = front.post(as_sent(EVENT), signed)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_signature")
    assert front.landed() == []


def test_a_source_that_does_not_exist_answers_like_a_wrong_signature_even_to_the_empty_secret(front: Front) -> None:
    body = as_sent(EVENT)
    empty = hmac.new(b"", body, hashlib.sha1).hexdigest()
    unknown, wrong = front.post(body, empty, source="no_such"), front.post(body, b"x")
    assert unknown.status_code == wrong.status_code == 401
    assert front.landed() == []


def test_a_source_without_a_secret_takes_nothing(tmp_path: Path) -> None:
    body = as_sent(EVENT)
    with opened(tmp_path, secret="") as front:
        assert front.post(body, hmac.new(b"", body, hashlib.sha1).hexdigest()).status_code == 401


def test_a_batch_of_which_the_first_event_is_signed_lands_only_where_that_is_trusted(tmp_path: Path) -> None:
    batch, first = as_sent(EVENT, {"forged": True}), as_sent(EVENT)
    with opened(tmp_path / "a") as strict:
        assert strict.post(batch, first).status_code == 401
        assert strict.landed() == []
    with opened(tmp_path / "b", trusts_first_event=True) as trusting:
        assert trusting.post(batch, first).status_code == 200
        assert len(trusting.landed()) == 2
        # One event is no batch: what stands behind it would not be signed.
        assert trusting.post(first + b" ", first).status_code == 401
        assert trusting.post(b"[]", b"").status_code == 401


@pytest.mark.parametrize(
    "body", [b"", b"nothing", b"7", b"[1]", b'[{"a":1},]', b'[{"a":1}', b'{"a":1}x', b'{"a":"\xff"}']
)
def test_what_is_no_event_is_400_and_a_deep_one_too(front: Front, body: bytes) -> None:
    assert front.post(body, body).status_code == 400
    deep = b'{"a":' * 1_900
    assert front.post(deep, deep).status_code == 400
    assert front.landed() == []


def test_too_much_is_413_and_gzip_415(front: Front) -> None:
    large, many = as_sent({"a": "x" * 10_000}), as_sent(*[EVENT] * 6)
    assert front.post(large, large).status_code == 413
    assert front.post(many, many).status_code == 413
    assert front.post(b"x", b"x", **{"content-encoding": "gzip"}).status_code == 415


def test_while_nothing_can_be_stored_it_says_come_again_and_not_where(front: Front) -> None:
    front.appender.broken = True
    answer = front.post(as_sent(EVENT), as_sent(EVENT))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "secret" not in answer.text


def test_the_secret_is_in_no_repr() -> None:
    assert SECRET not in repr(WebhookSource(name="web", environment="shop", secret=SECRET))


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3))
EVENTS = st.lists(st.dictionaries(st.text(), JSON, max_size=3), max_size=4)


@given(events=EVENTS, indent=st.sampled_from([None, 0, 2]), ascii_only=st.booleans())
def test_every_event_of_an_array_is_cut_out_whole(events: list[Any], indent: int | None, ascii_only: bool) -> None:
    body = json.dumps(events, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    found = split_events(body)
    assert found is not None
    assert [json.loads(item) for item in found] == events
    assert all(item in body for item in found)


@given(body=st.binary(max_size=40))
def test_no_body_breaks_it(body: bytes) -> None:
    found = split_events(body)
    assert found is None or all(isinstance(json.loads(item), dict) for item in found)
