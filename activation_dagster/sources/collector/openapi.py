"""The collector's interface in OpenAPI 3.1, as it is served and fuzzed."""

from __future__ import annotations

from typing import Any

EVENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": ["identify", "track", "page", "screen", "group", "alias"]},
        "messageId": {"type": "string", "maxLength": 100},
        "userId": {"type": ["string", "null"]},
        "anonymousId": {"type": ["string", "null"]},
        "event": {"type": "string"},
        "properties": {"type": "object"},
        "traits": {"type": "object"},
        "context": {"type": "object"},
        "timestamp": {"type": "string", "format": "date-time"},
        "sentAt": {"type": "string", "format": "date-time"},
        "writeKey": {"type": "string"},
    },
}
BATCH: dict[str, Any] = {
    "type": "object",
    "required": ["batch"],
    "properties": {
        "batch": {"type": "array", "items": {"$ref": "#/components/schemas/Event"}},
        "context": {"type": "object"},
        "integrations": {"type": "object"},
        "sentAt": {"type": "string", "format": "date-time"},
        "writeKey": {"type": "string"},
    },
}
SUCCESS: dict[str, Any] = {
    "type": "object",
    "required": ["success"],
    "properties": {"success": {"type": "boolean", "const": True}},
}
ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["success", "code", "message", "error"],
    "properties": {
        "success": {"type": "boolean", "const": False},
        "code": {"type": "string"},
        "message": {"type": "string"},
        "error": {"type": "string"},
    },
}
RECEIPT: dict[str, Any] = {
    "type": "object",
    "required": ["messageId", "status"],
    "properties": {
        "messageId": {"type": "string"},
        "status": {"type": "string", "enum": ["pending", "accepted", "duplicate", "quarantined", "shed"]},
        "reason": {"type": ["string", "null"]},
    },
}
TEXT: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
WORDS = {
    400: "The request cannot be read, or is larger than the limit.",
    401: "The write key is missing, unknown, or is taken no more.",
    404: "Nothing is known of it.",
    405: "Another method.",
    408: "The body did not come in time.",
    429: "Too much at once: see Retry-After.",
    503: "Nothing can be stored now: see Retry-After.",
}


def description(max_batch_bytes: int) -> dict[str, Any]:
    """The whole description, as JSON."""
    paths: dict[str, Any] = {}
    for names, kind in (
        (("track", "identify", "page", "screen", "group", "alias", "t", "i", "p", "s", "g", "a"), "Event"),
        (("batch", "import", "b"), "Batch"),
    ):
        for name in names:
            paths[f"/v1/{name}"] = {
                "post": {
                    "summary": f"Take {'events' if kind == 'Batch' else 'an event'}; on disk when this is answered.",
                    "description": f"JSON under any content type, gzip, at most {max_batch_bytes} bytes unpacked. "
                    "The write key comes as user of Basic authorization or as writeKey in the body.",
                    "security": [{"writeKey": []}, {}],
                    "requestBody": {
                        "required": True,
                        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind}"}}},
                    },
                    "responses": _answers("Success", 400, 401, 408, 429, 503),
                }
            }
    paths["/v1/m"] = {
        "post": {
            "summary": "What analytics.js says of itself: taken and dropped.",
            "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
            "responses": _answers("Success", 400, 408, 429),
        }
    }
    paths["/v1/projects/{key}/settings"] = {
        "get": {
            "summary": "What SDKs read when they start.",
            "parameters": [_path("key", "A write key.")],
            "responses": _answers("Settings", 401, 404),
        }
    }
    paths["/v1/receipts/{messageId}"] = {
        "get": {
            "summary": "What became of an event of this source.",
            "security": [{"writeKey": []}],
            "parameters": [_path("messageId", "The event's messageId.")],
            "responses": _answers("Receipt", 401, 404),
        }
    }
    for path, errors in (("/health/live", ()), ("/health/ready", (503,))):
        paths[path] = {
            "get": {"summary": "Whether it runs, or takes events.", "responses": _answers("Success", *errors)}
        }
    paths["/metrics"] = {
        "get": {
            "summary": "Figures for Prometheus.",
            "responses": {
                "200": {"description": "Figures.", "content": {"text/plain": {"schema": {"type": "string"}}}}
            },
        }
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Activation collector", "version": "1", "description": "Segment's Tracking API."},
        "paths": paths,
        "components": {
            "securitySchemes": {"writeKey": {"type": "http", "scheme": "basic"}},
            "schemas": {
                "Event": EVENT,
                "Batch": BATCH,
                "Success": SUCCESS,
                "Error": ERROR,
                "Receipt": RECEIPT,
                "Settings": {"type": "object", "required": ["integrations"]},
            },
        },
    }


def _answers(good: str, *errors: int) -> dict[str, Any]:
    return {
        "200": {"description": "Done.", "content": _of(good)},
        **{str(status): {"description": WORDS[status], "content": _of("Error")} for status in errors},
    }


def _of(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _path(name: str, words: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": words,
        "schema": {"type": "string", "minLength": 1},
    }
