"""The collector's answers: what every SDK needs of a success or an error, and what a browser may read of it."""

from __future__ import annotations

import json

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from activation_dagster.sources.collector.intake import Refused

SUCCESS = b'{"success": true}'
JSON_TYPE = (b"content-type", b"application/json")
CORS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"Retry-After, X-Message-Id"),
]
PREFLIGHT = [
    *CORS,
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (b"access-control-allow-headers", b"Content-Type, Content-Encoding, Authorization, X-Retry-Count"),
    (b"access-control-max-age", b"86400"),
    (b"content-length", b"0"),
]


async def send_answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> None:
    """A whole answer, for whoever speaks ASGI itself."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def said_of(refused: Refused) -> bytes:
    """Everything that some SDK reads from an error, at once."""
    said = {"success": False, "code": refused.code, "message": refused.message, "error": refused.message}
    return json.dumps(said).encode()


def advice_of(refused: Refused) -> list[tuple[bytes, bytes]]:
    """The headers that go with an error: when to come again, how to authorize, which methods there are."""
    found: list[tuple[bytes, bytes]] = []
    if refused.retry_after is not None:
        found.append((b"retry-after", str(max(1, refused.retry_after)).encode()))
    if refused.status == 401:
        found.append((b"www-authenticate", b'Basic realm="write key"'))
    if refused.status == 405:
        found.append((b"allow", b"POST, OPTIONS"))
    return found


def refusal(refused: Refused) -> Response:
    """An error as an answer."""
    answer = json_answer(refused.status, said_of(refused))
    answer.raw_headers += advice_of(refused)
    return answer


def json_answer(status: int, content: bytes) -> Response:
    """JSON that a browser of any origin may read."""
    answer = Response(content, status_code=status, media_type="application/json")
    answer.raw_headers += CORS
    return answer


def preflight() -> Response:
    """What a browser asks before it sends."""
    answer = Response(status_code=204)
    answer.raw_headers += PREFLIGHT[:-1]
    return answer


async def http_error(_: Request, error: Exception) -> Response:
    """Starlette's own errors (no such path, another method), told like ours."""
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed"}
    answer = refusal(Refused(error.status_code, codes.get(error.status_code, "error"), str(error.detail)))
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer
