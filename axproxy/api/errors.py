"""Errors as JSON, in the dialect of the API that was called."""

from __future__ import annotations

import secrets
from typing import Any

from axproxy.api.ollama.errors import in_ollama_words
from axproxy.errors import ProxyError

_MESSAGES = "/v1/messages"
_OPENAI_TYPES = {400: "invalid_request_error", 404: "not_found_error"}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def error_body(path: str, error: ProxyError) -> tuple[dict[str, Any], int]:
    """The body and the status for an error of a request to `path`."""
    if path.startswith(("/api/", "/v1/")):
        error = in_ollama_words(error)
    if path == _MESSAGES:
        body = anthropic_body(error) | {"request_id": f"req_{secrets.token_hex(12)}"}
    elif path.startswith("/v1/"):
        body = openai_body(error)
    else:
        body = {"error": error.message}
    return body, error.status_hint


def openai_body(error: ProxyError) -> dict[str, Any]:
    kind = _OPENAI_TYPES.get(error.status_hint, "api_error")
    return {"error": {"message": error.message, "type": kind, "param": None, "code": None}}


def anthropic_body(error: ProxyError) -> dict[str, Any]:
    kind = _ANTHROPIC_TYPES.get(error.status_hint, "api_error")
    return {"type": "error", "error": {"type": kind, "message": error.message}}
