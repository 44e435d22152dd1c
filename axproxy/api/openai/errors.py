"""Encodes errors as OpenAI's clients expect them, with Ollama's messages."""

from __future__ import annotations

from typing import Any

from axproxy.api.ollama.errors import in_ollama_words
from axproxy.errors import ProxyError

_TYPES = {400: "invalid_request_error", 404: "not_found_error"}


def error_body(error: ProxyError) -> tuple[dict[str, Any], int]:
    """Return the body and the status of the reply to a request that failed."""
    error = in_ollama_words(error)
    return error_object(error), error.status_hint


def error_object(error: ProxyError) -> dict[str, Any]:
    """Return the object that clients read, with the error's message unchanged."""
    kind = _TYPES.get(error.status_hint, "api_error")
    return {"error": {"message": error.message, "type": kind, "param": None, "code": None}}
