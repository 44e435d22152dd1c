"""Which requests are allowed: by their key, their `Origin` and `Host`, or their address."""

from __future__ import annotations

import hmac
import socket

import psutil
from flask import Flask, Response, request

from axproxy.api.errors import error_response
from axproxy.api.http.origins import PASS, LocalHosts, OriginDecision, Origins, is_loopback
from axproxy.errors import ProxyError

_OPEN = frozenset({"/", "/health", "/ready"})  # for watchdogs, which have no key
_WRONG_KEY = (
    "the key is missing or wrong; send it as Authorization: Bearer and the key, or as X-Api-Key"
)


def check_operator(key: str | None) -> None:
    """Refuse the present request unless it may change what all clients use.

    With a key, `KeyCheck` has let the request pass; without one it must come from this machine.
    Raises `ProxyError`.
    """
    if key:
        return
    address = (request.remote_addr or "").removeprefix("::ffff:")  # IPv4 on an IPv6 socket
    # A reverse proxy on this machine forwards requests from anywhere.
    forwarded = {"Forwarded", "X-Forwarded-For"} & set(request.headers.keys())
    if forwarded or not is_loopback(address):
        raise ProxyError(
            "only this machine may do that; ask there, or set AX650_API_KEY and send it", status=403
        )


class KeyCheck:
    """A `before_request` function for Flask that refuses requests without the key."""

    def __init__(self, key: str) -> None:
        self._expected = {"Authorization": f"Bearer {key}".encode(), "X-Api-Key": key.encode()}

    def __call__(self) -> Response | None:
        """Return the refusal; None lets the request pass."""
        # The comparison takes the same time however much of the key is right.
        right = [
            hmac.compare_digest(request.headers.get(name, "").encode(), expected)
            for name, expected in self._expected.items()
        ]
        if any(right) or request.path in _OPEN:
            return None
        if request.path.startswith("/api/"):
            # 401 would send Ollama's own clients to the sign-in of ollama.com.
            return error_response(ProxyError(_WRONG_KEY, status=403))
        refusal = error_response(ProxyError(_WRONG_KEY, status=401))
        refusal.headers["WWW-Authenticate"] = "Bearer"
        return refusal


class OriginCheck:
    """Checks the `Origin` of every request, and with `hosts` also its `Host`."""

    def __init__(self, origins: Origins, hosts: LocalHosts | None) -> None:
        self._origins = origins
        self._hosts = hosts

    def install(self, app: Flask) -> None:
        app.before_request(self._before)
        app.after_request(self._after)

    def _before(self) -> Response | None:
        decision = self._judge_origin()
        if decision.status is None and self._hosts:
            decision = self._hosts.judge(request.method, _host())
        if decision.status is None:
            return None
        response = Response(status=decision.status)
        del response.headers["Content-Type"]
        return response

    def _after(self, response: Response) -> Response:
        response.headers.update(self._judge_origin().headers)
        return response

    def _judge_origin(self) -> OriginDecision:
        origin = request.headers.get("Origin", "")
        return self._origins.judge(request.method, origin, _host()) if origin else PASS


def hosts_of_this_machine() -> LocalHosts:
    return LocalHosts(socket.gethostname(), _addresses)


def _addresses() -> set[str]:
    interfaces = psutil.net_if_addrs().values()
    return {address.address.partition("%")[0] for found in interfaces for address in found}


def _host() -> str:
    # Flask's own `request.host` fills in what the client has not sent.
    host: str = request.environ.get("HTTP_HOST", "")
    return host
