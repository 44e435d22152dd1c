"""Who may ask: everybody, or with a key those who send it."""

from __future__ import annotations

import hmac

from flask import Response, request

from axproxy.api.errors import error_response
from axproxy.api.http.origins import is_loopback
from axproxy.errors import ProxyError

_OPEN = frozenset({"/", "/health", "/ready"})  # for watchdogs, which have no key
_WRONG = (
    "the key is missing or wrong; send it as Authorization: Bearer and the key, or as X-Api-Key"
)


def check_operator(key: str | None) -> None:
    """Raises `ProxyError` unless the request may change what everybody uses: `KeyCheck` has let it
    pass, or without a key it comes from this machine."""
    if key:
        return
    address = (request.remote_addr or "").removeprefix("::ffff:")  # IPv4 on an IPv6 socket
    # What a proxy on this machine passes on comes from anywhere.
    forwarded = {"Forwarded", "X-Forwarded-For"} & set(request.headers.keys())
    if forwarded or not is_loopback(address):
        raise ProxyError(
            "only this machine may do that; ask there, or set AX650_API_KEY and send it", status=403
        )


class KeyCheck:
    """A `before_request` function for Flask; refuses what does not carry `key`."""

    def __init__(self, key: str) -> None:
        self._expected = {"Authorization": f"Bearer {key}".encode(), "X-Api-Key": key.encode()}

    def __call__(self) -> Response | None:
        """`None` lets the request pass."""
        # Comparing takes the same time however much of the key is right.
        right = [
            hmac.compare_digest(request.headers.get(name, "").encode(), expected)
            for name, expected in self._expected.items()
        ]
        if any(right) or request.path in _OPEN:
            return None
        if request.path.startswith("/api/"):
            # 401 would send Ollama's own clients to the sign-in of ollama.com.
            return error_response(ProxyError(_WRONG, status=403))
        refusal = error_response(ProxyError(_WRONG, status=401))
        refusal.headers["WWW-Authenticate"] = "Bearer"
        return refusal
