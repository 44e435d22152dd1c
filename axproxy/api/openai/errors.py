"""Encodes errors as OpenAI's clients expect them: Ollama's messages, OpenAI's types and codes."""

from __future__ import annotations

from typing import Any

from axproxy.api.ollama.errors import in_ollama_words, mid_stream_error
from axproxy.errors import PromptTooLong, ProxyError, TooManyRequests, UnknownModel

_TYPES = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    404: "not_found_error",
}


def error_body(error: ProxyError) -> tuple[dict[str, Any], int]:
    """Return the body and the status of the reply to a request that failed."""
    worded = in_ollama_words(error)
    return _error_object(error, worded), worded.status_hint


def mid_stream_object(error: ProxyError) -> dict[str, Any]:
    """Return what ends a stream after the status was sent."""
    return _error_object(error, mid_stream_error(error))


def _error_object(error: ProxyError, worded: ProxyError) -> dict[str, Any]:
    kind = _TYPES.get(worded.status_hint, "api_error")
    if isinstance(error, TooManyRequests):
        kind = "requests"
    message = worded.message + _numbers(error)
    return {"error": {"message": message, "type": kind, "param": None, "code": _code(error)}}


def _code(error: ProxyError) -> str | None:
    """Return OpenAI's code for the error, `None` where it has none."""
    match error:
        case PromptTooLong():
            return "context_length_exceeded"
        case UnknownModel():
            return "model_not_found"
        case TooManyRequests():
            return "rate_limit_exceeded"
    return "invalid_api_key" if error.status_hint == 401 else None


def _numbers(error: ProxyError) -> str:
    """Return how long a prompt is and may be, in OpenAI's words: libraries search for them."""
    if not isinstance(error, PromptTooLong) or error.limit is None:
        return ""
    return (
        f". This model's maximum context length is {error.limit} tokens. However, your messages "
        f"resulted in {error.tokens} tokens."
    )
