"""Encodes errors as Anthropic's clients expect them, with Ollama's messages."""

from __future__ import annotations

import secrets
from typing import Any

from axproxy.api.ollama.errors import in_ollama_words, mid_stream_error
from axproxy.errors import PromptTooLong, ProxyError

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def error_body(error: ProxyError) -> tuple[dict[str, Any], int]:
    """Return the body and the status of the reply to a request that failed."""
    worded = in_ollama_words(error)
    body = _error_object(error, worded)
    return {**body, "request_id": f"req_{secrets.token_hex(12)}"}, worded.status_hint


def mid_stream_object(error: ProxyError) -> dict[str, Any]:
    """Return what ends a stream after the status was sent."""
    return _error_object(error, mid_stream_error(error))


def _error_object(error: ProxyError, worded: ProxyError) -> dict[str, Any]:
    kind = _TYPES.get(worded.status_hint, "api_error")
    message = worded.message + _numbers(error)
    return {"type": "error", "error": {"type": kind, "message": message}}


def _numbers(error: ProxyError) -> str:
    """Return how long a prompt is and may be, in Anthropic's words: libraries search for them."""
    if not isinstance(error, PromptTooLong) or error.limit is None:
        return ""
    return f"; prompt is too long: {error.tokens} tokens > {error.limit} maximum"
