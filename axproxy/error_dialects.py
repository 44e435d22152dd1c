"""Errors as JSON, in the dialect of the API that was called."""

from __future__ import annotations

from typing import Any

from axproxy.errors import ProxyError
from axproxy.ollama_errors import told

_OPENAI_TYPES = {400: "invalid_request_error", 404: "not_found_error"}


def error_body(path: str, error: ProxyError) -> tuple[dict[str, Any], int]:
    """The body and the status for an error of a request to `path`."""
    if path.startswith("/api/"):
        error = told(error)
    elif path.startswith("/v1/"):
        error = told(error)
        return openai_body(error), error.status_hint
    return {"error": error.message}, error.status_hint


def openai_body(error: ProxyError) -> dict[str, Any]:
    kind = _OPENAI_TYPES.get(error.status_hint, "api_error")
    return {"error": {"message": error.message, "type": kind, "param": None, "code": None}}
