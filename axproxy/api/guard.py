"""Who may ask, as far as the headers `Host` and `Origin` tell: before a request, and after it."""

from __future__ import annotations

import socket

import psutil
from flask import Flask, Response, request

from axproxy.api.http.cors import PASS, OriginDecision, Origins
from axproxy.api.http.origins import LocalHosts


class Guard:
    """Looks at every request; with `hosts` also at what it calls this machine."""

    def __init__(self, origins: Origins, hosts: LocalHosts | None) -> None:
        self._origins = origins
        self._hosts = hosts

    def install(self, app: Flask) -> None:
        app.before_request(self._before)
        app.after_request(self._after)

    def _before(self) -> Response | None:
        verdict = self._judge_origin()
        if verdict.status is None and self._hosts:
            verdict = self._hosts.judge(request.method, _host())
        if verdict.status is None:
            return None
        response = Response(status=verdict.status)
        del response.headers["Content-Type"]
        return response

    def _after(self, response: Response) -> Response:
        response.headers.update(self._judge_origin().headers)
        return response

    def _judge_origin(self) -> OriginDecision:
        origin = request.headers.get("Origin", "")
        return self._origins.judge(request.method, origin, _host()) if origin else PASS


def this_machine() -> LocalHosts:
    return LocalHosts(socket.gethostname(), _addresses)


def _addresses() -> set[str]:
    interfaces = psutil.net_if_addrs().values()
    return {address.address.partition("%")[0] for found in interfaces for address in found}


def _host() -> str:
    # Flask's own `request.host` fills in what the client has not sent.
    host: str = request.environ.get("HTTP_HOST", "")
    return host
