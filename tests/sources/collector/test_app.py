"""The Tracking API as unmodified SDKs speak it: what they send arrives, and no answer makes them lose it."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.sources.collector.running import (
    DEV_KEY,
    KEY,
    NARROW_KEY,
    OLD_KEY,
    SLOW_KEY,
    Running,
    basic,
    in_a_thread,
    settings_under,
    until,
)

SINGLE = {
    **{name: name for name in ("track", "identify", "page", "screen", "group", "alias")},
    "t": "track",
    "i": "identify",
    "p": "page",
    "s": "screen",
    "g": "group",
    "a": "alias",
}
BATCHES = ("batch", "import", "b")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    with in_a_thread(settings_under(tmp_path_factory.mktemp("collector"))) as found:
        yield found


@pytest.fixture(scope="module")
def client(running: Running) -> Generator[httpx.Client]:
    with httpx.Client(base_url=running.url, timeout=60) as found:
        yield found


def event(**more: Any) -> dict[str, Any]:
    return {"messageId": uuid.uuid4().hex, "userId": "u1", "type": "track", "event": "Thing Done", **more}


def assert_taken(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert answer.headers["content-type"] == "application/json"
    assert answer.content == b'{"success": true}'


def assert_refused(answer: httpx.Response, status: int, code: str) -> None:
    said = answer.json()
    assert (answer.status_code, said["code"], said["success"]) == (status, code, False)
    assert said["message"]
    assert said["error"]


# -- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("name", SINGLE)
def test_each_call_is_taken_and_is_of_its_path_s_type(
    running: Running, client: httpx.Client, name: str, slash: str
) -> None:
    message = uuid.uuid4().hex
    sent = {"messageId": message, "userId": "u1", "event": "Thing Done", "previousId": "u0", "writeKey": KEY}
    assert_taken(client.post(f"/v1/{name}{slash}", json=sent))
    landed = running.sealed(message)
    assert landed["type"] == SINGLE[name]
    assert "writeKey" not in landed


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("name", BATCHES)
def test_each_batch_path_takes_all_its_events(running: Running, client: httpx.Client, name: str, slash: str) -> None:
    events = [event(), event(type="page"), event(type="identify")]
    sent = {"batch": events, "sentAt": "2026-03-01T10:00:00.000Z", "writeKey": KEY}
    assert_taken(client.post(f"/v1/{name}{slash}", json=sent))
    for place, one in enumerate(events):
        landed = running.sealed(one["messageId"])
        assert landed["sentAt"] == sent["sentAt"]
        assert landed["collector"]["position"] == place


def test_an_empty_batch_is_fine_and_lands_nothing(client: httpx.Client) -> None:
    assert_taken(client.post("/v1/batch", json={"batch": [], "writeKey": KEY}))


def test_what_analytics_js_says_of_itself_is_taken_and_dropped(client: httpx.Client) -> None:
    assert_taken(client.post("/v1/m", content=b'{"series":[]}'))


def test_settings_name_this_collector_without_a_scheme(running: Running, client: httpx.Client) -> None:
    said = client.get(f"/v1/projects/{KEY}/settings").json()
    assert said["integrations"]["Segment.io"]["apiHost"] == f"127.0.0.1:{running.port}/v1"
    assert said["integrations"]["Segment.io"]["apiKey"] == KEY
    assert_refused(client.get("/v1/projects/nobody/settings"), 401, "invalid_write_key")


def test_other_paths_and_methods_are_told_in_json(client: httpx.Client) -> None:
    assert_refused(client.get("/v1/track"), 405, "method_not_allowed")
    assert_refused(client.get("/nowhere"), 404, "not_found")
    assert_refused(client.put("/health/live"), 405, "method_not_allowed")


# -- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"authorization": basic(KEY)}, {}),
        ({"authorization": "basic " + base64.b64encode(KEY.encode()).decode()}, {}),
        ({}, {"writeKey": KEY}),
        ({"authorization": "Bearer token"}, {"writeKey": KEY}),
    ],
    ids=["basic", "basic without a colon", "body", "oauth"],
)
def test_the_key_may_come_in_each_way_that_sdks_send_it(
    client: httpx.Client, headers: dict[str, str], body: dict[str, str]
) -> None:
    assert_taken(client.post("/v1/track", json={**event(), **body}, headers=headers))
    assert_taken(client.post("/v1/batch", json={"batch": [event()], **body}, headers=headers))


@pytest.mark.parametrize("token", ["token", "eyJhbGciOiJSUzI1NiJ9.e30.c2ln", f"{KEY}:"])
@pytest.mark.parametrize("path", ["batch", "import", "b"])
def test_a_bearer_token_never_refuses_a_body_that_names_its_key(client: httpx.Client, path: str, token: str) -> None:
    """Server SDKs with OAuth send both; the token is for Segment, and the key says whose events these are."""
    headers = {"authorization": f"Bearer {token}"}
    assert_taken(client.post(f"/v1/{path}", json={"batch": [event()], "writeKey": KEY}, headers=headers))
    assert_taken(client.post(f"/v1/{path}", json={"batch": [event(writeKey=KEY)]}, headers=headers))
    assert_refused(client.post(f"/v1/{path}", json={"batch": [event()]}, headers=headers), 401, "invalid_write_key")


def test_the_key_may_stand_behind_the_batch_or_inside_an_event(client: httpx.Client) -> None:
    inside = event(writeKey=KEY)
    assert_taken(client.post("/v1/b", content=json.dumps({"batch": [event()], "writeKey": KEY})))
    assert_taken(client.post("/v1/b", json={"batch": [inside]}))


@pytest.mark.parametrize("key", ["", "unknown", OLD_KEY, "\u00e9", KEY + "x", KEY[:-1]])
def test_a_key_that_is_unknown_missing_or_over_is_401(client: httpx.Client, key: str) -> None:
    assert_refused(client.post("/v1/track", json=event(writeKey=key)), 401, "invalid_write_key")
    assert_refused(
        client.post("/v1/track", json=event(), headers={"authorization": "Basic !"}), 401, "invalid_write_key"
    )


def test_a_development_key_never_reaches_another_environment(running: Running, client: httpx.Client) -> None:
    one = event()
    assert_taken(client.post("/v1/track", json=one, headers={"authorization": basic(DEV_KEY)}))
    assert running.sealed(one["messageId"], "dev")["messageId"] == one["messageId"]
    assert one["messageId"] not in [landed.get("messageId") for landed in running.events("demo")]


def test_a_source_that_sends_more_than_it_may_is_429_and_told_when_to_come_again(client: httpx.Client) -> None:
    sent = {"batch": [event() for _ in range(40)]}
    assert_taken(client.post("/v1/batch", json=sent, headers={"authorization": basic(SLOW_KEY)}))
    answer = client.post("/v1/batch", json=sent, headers={"authorization": basic(SLOW_KEY)})
    assert_refused(answer, 429, "rate_limited")
    assert int(answer.headers["retry-after"]) >= 1


# -- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense", None]
)
def test_json_is_read_under_any_content_type(running: Running, client: httpx.Client, content_type: str | None) -> None:
    one = event(writeKey=KEY)
    headers = {} if content_type is None else {"content-type": content_type}
    assert_taken(client.post("/v1/t", content=json.dumps(one).encode(), headers=headers))
    running.sealed(one["messageId"])


@pytest.mark.parametrize("path", ["track", "batch"])
def test_gzip_and_chunks_are_taken_on_every_path(running: Running, client: httpx.Client, path: str) -> None:
    one = event(text="x" * 20_000)
    body = gzip.compress(json.dumps({"batch": [one]} if path == "batch" else one).encode())

    def chunks() -> Iterator[bytes]:
        for at in range(0, len(body), 50):
            yield body[at : at + 50]

    headers = {"authorization": basic(KEY), "content-encoding": "gzip"}
    assert_taken(client.post(f"/v1/{path}", content=chunks(), headers=headers))
    running.sealed(one["messageId"])


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"text"', b'{"event":', b"\xff", b"{}{}", b"event=a&userId=b"]
)
def test_an_unreadable_body_is_400_with_a_code_and_a_sentence(client: httpx.Client, body: bytes) -> None:
    for path in ("track", "batch"):
        answer = client.post(f"/v1/{path}", content=body, headers={"authorization": basic(KEY)})
        assert_refused(answer, 400, "invalid_json")


@pytest.mark.parametrize(
    ("body", "encoding", "code"),
    [
        (b"no gzip", "gzip", "invalid_gzip"),
        (gzip.compress(b"{}" * 500, mtime=0)[:20], "gzip", "invalid_gzip"),
        (b"{}", "br", "unsupported_encoding"),
    ],
)
def test_a_body_that_cannot_be_unpacked_is_400(client: httpx.Client, body: bytes, encoding: str, code: str) -> None:
    headers = {"authorization": basic(KEY), "content-encoding": encoding}
    assert_refused(client.post("/v1/batch", content=body, headers=headers), 400, code)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_over_the_limit_is_400(client: httpx.Client, packed: bool, chunked: bool) -> None:
    body = json.dumps({"batch": [event(text="x" * 30_000) for _ in range(20)]}).encode()
    assert len(body) > 500 * 1024
    headers = {"authorization": basic(KEY)}
    if packed:
        body, headers["content-encoding"] = gzip.compress(body, mtime=0), "gzip"
    content = iter([body]) if chunked else body
    assert_refused(client.post("/v1/batch", content=content, headers=headers), 400, "payload_too_large")


def test_a_bad_event_in_a_good_batch_is_landed_to_wait_and_the_others_go_their_way(
    running: Running, client: httpx.Client
) -> None:
    first, last = event(), event()
    marker = uuid.uuid4().hex
    bad = b'{"type":"track","event":"a","userId":"u","note":"%s","properties":{"x":NaN}}' % marker.encode()
    body = b'{"batch":[' + b",".join([json.dumps(first).encode(), bad, b"5", json.dumps(last).encode()]) + b"]}"
    assert_taken(client.post("/v1/batch", content=body, headers={"authorization": basic(KEY)}))
    running.sealed(first["messageId"])
    running.sealed(last["messageId"])
    assert any(line.endswith(bad[1:]) for line in running.lines())


def test_over_limit_events_are_landed_with_their_reason(running: Running, client: httpx.Client) -> None:
    large = event(text="x" * 33_000)
    assert_taken(client.post("/v1/track", json=large, headers={"authorization": basic(KEY)}))
    assert running.sealed(large["messageId"])["collector"]["refused"] == "too_large"
    many = [event(messageId=f"{large['messageId']}-{number}") for number in range(2_502)]
    assert_taken(client.post("/v1/batch", json={"batch": many}, headers={"authorization": basic(KEY)}))
    assert running.sealed(many[2_500]["messageId"])["collector"]["refused"] == "too_many"
    assert "refused" not in running.sealed(many[2_499]["messageId"])["collector"]


# -- what is kept beside it -------------------------------------------------------------------------------------------


def test_a_message_id_is_made_where_there_is_none_and_told(running: Running, client: httpx.Client) -> None:
    answer = client.post("/v1/track", json={"event": "a", "userId": "u", "writeKey": KEY})
    assert_taken(answer)
    assert running.sealed(answer.headers["x-message-id"])["event"] == "a"


def test_client_address_agent_and_privacy_signal_are_kept(running: Running, client: httpx.Client) -> None:
    one = event(writeKey=KEY, context={"consent": {"categoryPreferences": {"ads": False}}})
    client.post("/v1/track", json=one, headers={"sec-gpc": "1", "user-agent": "analytics/9"})
    landed = running.sealed(one["messageId"])
    said = landed["collector"]
    assert (said["ip"], said["userAgent"], said["gpc"]) == ("127.0.0.0", "analytics/9", True)
    assert landed["context"] == one["context"]


def test_the_verdict_is_stamped(running: Running, client: httpx.Client) -> None:
    unknown, barred = event(), event()
    barred["event"] = "Product Purchased"
    client.post("/v1/track", json=unknown, headers={"authorization": basic(KEY)})
    assert running.sealed(unknown["messageId"])["collector"]["verdict"] == "unknown_event"
    purchase = event(event=_purchase())
    client.post("/v1/track", json=purchase, headers={"authorization": basic(NARROW_KEY)})
    assert running.sealed(purchase["messageId"])["collector"]["verdict"] == "source_not_allowed"


def test_a_retired_version_and_one_that_is_not_published_are_refused_here_too(tmp_path: Path) -> None:
    settings = settings_under(tmp_path)
    about = settings.contracts / "events" / "bad_debt_adjusted" / "contract.yaml"
    about.write_text(about.read_text() + "lifecycle: retired\n")
    retired = event(event="Bad Debt Adjusted", properties={})
    unpublished = event(event=_purchase(), context={"protocols": {"event_version": "v9"}})
    with in_a_thread(settings) as own, httpx.Client(base_url=own.url, timeout=60) as client:
        for one in (retired, unpublished):
            assert_taken(client.post("/v1/track", json=one, headers={"authorization": basic(KEY)}))
        assert own.sealed(retired["messageId"])["collector"]["verdict"] == "contract_not_active"
        assert own.sealed(unpublished["messageId"])["collector"]["verdict"] == "unknown_version"


def _purchase() -> str:
    from activation_dagster.registry.loading import load_contracts

    return load_contracts(Path("contracts"), environment="demo").events["product_purchased"].name


# -- browsers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/t", "/v1/batch", "/v1/m", f"/v1/projects/{KEY}/settings"])
def test_a_browser_may_send_what_analytics_js_sends(client: httpx.Client, path: str) -> None:
    asked = client.options(
        path,
        headers={
            "origin": "https://shop.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type,x-retry-count",
        },
    )
    assert asked.status_code == 204
    allowed = asked.headers["access-control-allow-headers"].lower()
    assert all(name in allowed for name in ("authorization", "content-type", "x-retry-count"))
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert asked.headers["access-control-allow-origin"] == "*"


def test_answers_and_refusals_may_be_read_by_a_browser(client: httpx.Client) -> None:
    for answer in (client.post("/v1/t", json=event(writeKey=KEY)), client.post("/v1/t", content=b"{")):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "Retry-After" in answer.headers["access-control-expose-headers"]


# -- operation --------------------------------------------------------------------------------------------------------


def test_health_metrics_and_description_are_served(client: httpx.Client) -> None:
    client.post("/v1/track", json=event(), headers={"authorization": basic(KEY)})
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").json()["success"] is True
    metrics = client.get("/metrics").text
    assert 'collector_events_total{source="shop",verdict="unknown_event"}' in metrics
    assert "collector_request_seconds_bucket" in metrics
    described = client.get("/openapi.json").json()
    assert {f"/v1/{name}" for name in (*SINGLE, *BATCHES)} <= set(described["paths"])


def test_a_receipt_is_pending_from_the_first_second_and_only_its_own_source_may_ask(client: httpx.Client) -> None:
    one = event(messageId=f'é"/{uuid.uuid4().hex}')
    assert_taken(client.post("/v1/track", json=one, headers={"authorization": basic(KEY)}))
    path = f"/v1/receipts/{httpx.URL('http://x/' + one['messageId']).raw_path.decode()[1:]}"
    for _ in range(2):
        answer = client.get(path, headers={"authorization": basic(KEY)})
        assert (answer.status_code, answer.json()["status"]) == (200, "pending")
    assert_refused(client.get(path, headers={"authorization": basic(DEV_KEY)}), 404, "unknown_message")
    assert_refused(client.get(path), 401, "invalid_write_key")
    assert_refused(client.get("/v1/receipts/none", headers={"authorization": basic(KEY)}), 404, "unknown_message")


def test_a_body_that_is_cut_off_lands_nothing_and_hurts_nobody(running: Running, client: httpx.Client) -> None:
    one = event(writeKey=KEY)
    body = json.dumps(one).encode()
    for cut in (0, 1, len(body) // 2, len(body) - 1):
        with socket.create_connection(("127.0.0.1", running.port), timeout=60) as sender:
            head = f"POST /v1/track HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            sender.sendall(head.encode() + body[:cut])
    after = event()
    assert_taken(client.post("/v1/track", json=after, headers={"authorization": basic(KEY)}))
    running.sealed(after["messageId"])
    assert one["messageId"] not in [landed.get("messageId") for landed in running.events()]
    assert running.collector is not None
    held = running.collector.intake
    until(lambda: held.held == 0)


def test_contracts_that_change_are_taken_and_broken_ones_leave_the_last_good_ones_in_force(tmp_path: Path) -> None:
    settings = settings_under(tmp_path)
    file = settings.contracts / "sources.yaml"
    sound = file.read_text()
    with in_a_thread(settings) as own, httpx.Client(base_url=own.url, timeout=60) as client:

        def status(key: str) -> int:
            return client.post("/v1/track", json=event(writeKey=key)).status_code

        assert own.collector is not None
        assert status(KEY) == 200
        file.write_text("sources: [")
        until(lambda: own.collector is not None and own.collector._desk.trouble)
        assert status(KEY) == 200
        assert "refused" in client.get("/health/ready").json()["contracts"]
        file.write_text(sound.replace("shop:\n    owner", "shop2:\n    owner", 1))
        one = event(writeKey=KEY)

        def lands_elsewhere() -> bool:
            one["messageId"] = uuid.uuid4().hex
            client.post("/v1/track", json=one)
            landing = own.landing().root
            return (landing / ".open" / "shop2").exists()

        until(lands_elsewhere)
        assert own.collector._desk.trouble == ""
