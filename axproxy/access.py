"""Who may ask: everybody, or with a key those who send it."""

from __future__ import annotations

import hmac

from flask import Response, request

from axproxy.http_errors import json_response

_OPEN = frozenset({"/", "/health", "/ready"})  # for watchdogs, which have no key
_WRONG = "the key is missing or wrong; send it as Authorization: Bearer and the key"


class KeyCheck:
    """A `before_request` function for Flask; refuses what does not carry `key`."""

    def __init__(self, key: str) -> None:
        self._expected = f"Bearer {key}".encode()

    def __call__(self) -> Response | None:
        """`None` lets the request pass."""
        sent = request.headers.get("Authorization", "").encode()
        # Comparing takes the same time however much of the key is right.
        if hmac.compare_digest(sent, self._expected) or request.path in _OPEN:
            return None
        if request.path.startswith("/api/"):
            # 401 would send Ollama's own clients to the sign-in of ollama.com.
            return json_response({"error": _WRONG}, 403)
        refusal = json_response({"error": _WRONG}, 401)
        refusal.headers["WWW-Authenticate"] = "Bearer"
        return refusal
