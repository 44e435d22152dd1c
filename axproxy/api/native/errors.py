"""Errors of our own API, and of every path that belongs to no other."""

from __future__ import annotations

from typing import Any

from axproxy.errors import ProxyError


def error_body(error: ProxyError) -> tuple[dict[str, Any], int]:
    """Return the body and the status of the reply to a request that failed."""
    return {"error": error.message}, error.status_hint
