"""Which requests are allowed: by their key, their `Origin` and `Host`, or their address."""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
import socket

import psutil
from flask import Flask, Response, request

from axproxy.api.errors import error_response
from axproxy.api.http.named_keys import KeyFile, KeyLimits
from axproxy.api.http.origins import (
    PASS,
    LocalHosts,
    OriginDecision,
    Origins,
    is_loopback,
    is_page_of_this_machine,
    names_this_machine,
)
from axproxy.api.http.policy import authorized_keys, named_keys, required_key
from axproxy.api.http.requests import CLIENT, COUNT, NAMED_KEY
from axproxy.api.http.signatures import AuthorizedKeys, Judgement
from axproxy.api_keys import NamedKey
from axproxy.errors import ProxyError
from axproxy.settings import Settings

# For watchdogs, which have no key, and the page's files, which must come before it can ask for one.
_OPEN = frozenset({"/", "/health", "/ready", "/ui"})
_OPEN_FILES = re.compile(r"/ui/[\w.]+\.(js|css|svg)")
_WRONG_KEY = (
    "the key is missing or wrong; send it as Authorization: Bearer and the key, or as X-Api-Key"
)
_OR_SIGN = "; for the ollama command line set OLLAMA_AUTH=1 and list its key here"
_STALE = (
    "the request was signed at another time than now; set the clocks of both machines, for example "
    "with timedatectl, and send it again"
)

# What changes the models of all clients.
_FOR_OPERATORS = re.compile(r"/api/(pull|push|create|copy|delete|blobs/.*)")
_END = "axproxy.end_of_request"  # in the WSGI environment: what ends the count of the request

_ADDRESSES = ("Forwarded", "X-Forwarded-For", "X-Real-IP")  # of clients behind a proxy

# What proxies, load balancers and content networks add to the requests that they pass on.
_ADDED_BY_PROXY = re.compile(
    r"forwarded(-.*)?|x-forwarded(-.*)?|via|x-via|cdn-loop|proxy-connection"
    r"|(.*-)?real-?ip|(.*-)?client-?ip|(.*-)?connecting-ip|(.*-)?user-ip"
    r"|x-remote-(ip|addr)|remote-addr|x-originating-ip|x-original-.*|x-rewrite-url"
    r"|x-proxy-.*|x-proxyuser-.*|x-envoy-.*|x-amzn-trace-id|cf-.*|fly-.*|tailscale-.*",
    re.IGNORECASE,
)


class Access:
    """Which requests have the key, and which may change what all clients use.

    Requests must send `key` or one of `named`, or be signed with one of `signers`; with none of
    them, no key is needed.
    """

    def __init__(
        self,
        key: str | None,
        signers: AuthorizedKeys | None = None,
        named: KeyFile | None = None,
        limits: KeyLimits | None = None,
    ) -> None:
        self._key = key.encode() if key else None
        self._signers = signers
        self._named = named
        self._limits = limits or KeyLimits()

    def installed_in(self, app: Flask) -> Access:
        app.before_request(self.before_request)
        app.after_request(self._after_request)
        return self

    @property
    def is_open(self) -> bool:
        """Whether requests need no key."""
        return self._key is None and self._signers is None and self._named is None

    def has_key(self) -> bool:
        """Return whether the present request sends the key or is signed with one."""
        return self._has_full_key() or self._named_key() is not None

    def _has_full_key(self) -> bool:
        return self._sends_key() or self._signature() == "right"

    def _named_key(self) -> NamedKey | None:
        found: NamedKey | None = request.environ.get(NAMED_KEY)
        return found

    def _sends_key(self) -> bool:
        # The comparison takes the same time however much is right.
        right = [hmac.compare_digest(key, self._key or b"") for key in _sent_keys()]
        return self._key is not None and any(right)

    def is_operator(self) -> bool:
        """Return whether the present request may change what all clients use, and see details.

        With a key it must send it; without one it must come from this machine.
        """
        if self.is_open:
            return is_from_this_machine()
        named = self._named_key()
        return self._has_full_key() or bool(named and named.operator)

    def check_operator(self) -> None:
        """Refuse the present request unless it is an operator's; raises `ProxyError`."""
        if not self.is_operator():
            raise ProxyError(
                "only this machine may do that; ask there, or set AX650_API_KEY and send it",
                status=403,
            )

    def before_request(self) -> Response | None:
        """Return the refusal of a request without the key; None lets the request pass."""
        request.environ[CLIENT] = self._client()
        if self._named:
            request.environ[NAMED_KEY] = self._named.find(_sent_keys())
        is_open = self.is_open or request.path in _OPEN or _OPEN_FILES.fullmatch(request.path)
        if is_open or self._has_full_key():
            return None
        if named := self._named_key():
            if _FOR_OPERATORS.fullmatch(request.path) and not named.operator:
                why = f"the key {named.name} may not change models; ask who gave it"
                return error_response(ProxyError(why, status=403))
            request.environ[COUNT] = functools.partial(self._count, named)
            return None
        why = _WRONG_KEY + (_OR_SIGN if self._signers else "")
        if self._signature() == "stale":
            why = _STALE
        if request.path.startswith("/api/"):
            # 401 would send Ollama's own clients to the sign-in of ollama.com.
            return error_response(ProxyError(why, status=403))
        refusal = error_response(ProxyError(why, status=401))
        refusal.headers["WWW-Authenticate"] = "Bearer"
        return refusal

    def _count(self, key: NamedKey) -> None:
        """Count the present request, once; it ends when its response is closed."""
        if _END not in request.environ:
            request.environ[_END] = self._limits.begin(key)

    def _after_request(self, response: Response) -> Response:
        if end := request.environ.get(_END):
            response.call_on_close(end)
        return response

    def _signature(self) -> Judgement:
        if self._signers is None:
            return "wrong"
        environ = request.environ
        # Clients sign the path as they write it; ours is decoded, and has no doubled slashes.
        as_sent = environ.get("RAW_URI", "").partition("?")[0]
        return self._signers.judge(
            request.headers.get("Authorization", ""),
            request.method,
            {as_sent, environ.get("PATH_INFO", "")},
            environ.get("QUERY_STRING", ""),
        )

    def _client(self) -> str:
        """Return who sends the present request: by the key, or else by the address.

        Behind a proxy the address is the proxy's, and a header has the client's.  A client may
        invent that header, but not the address beside it.
        """
        if self.is_open:
            sent = [request.headers.get(name, "") for name in _ADDRESSES]
            sent.append(request.remote_addr or "")
        else:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            # A signed request has the client's public key before the signature.
            ours = token if scheme.lower() == "bearer" else scheme.partition(":")[0]
            sent = [ours, request.headers.get("X-Api-Key", "")]
        return hashlib.sha256(repr(sent).encode("utf-8", "surrogateescape")).hexdigest()


def access_for(settings: Settings) -> Access:
    """Return who may call by these settings.  Raises `SettingsError`."""
    return Access(required_key(settings), authorized_keys(settings), named_keys(settings))


def _sent_keys() -> list[bytes]:
    """Return what the present request sends as a key, in the two places where it may be."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    sent = [token.strip() if scheme.lower() == "bearer" else ""]
    sent.append(request.headers.get("X-Api-Key", ""))
    return [text.encode("latin-1", "replace") for text in sent]  # as WSGI gives bytes


def is_from_this_machine() -> bool:
    """Return whether the present request was made on this machine, for this machine.

    A proxy or a browser on this machine has a loopback address, too, but passes on what strangers
    want.  So the peer, the `Host` and the `Origin` must be this machine, and no header of a proxy
    may be there.
    """
    address = (request.remote_addr or "").removeprefix("::ffff:")  # IPv4 on an IPv6 socket
    name = socket.gethostname()
    if not (is_loopback(address) and names_this_machine(_host(), name)):
        return False
    if any(map(_ADDED_BY_PROXY.fullmatch, request.headers.keys())):
        return False
    origin = request.headers.get("Origin")
    if origin is None:  # browsers may leave it out, and then say this
        return request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
    return is_page_of_this_machine(origin, name)


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
        if not origin:
            return PASS
        wanted = request.headers.get("Access-Control-Request-Headers", "")
        return self._origins.judge(request.method, origin, _host(), wanted)


def hosts_of_this_machine() -> LocalHosts:
    return LocalHosts(socket.gethostname(), _addresses)


def _addresses() -> set[str]:
    interfaces = psutil.net_if_addrs().values()
    return {address.address.partition("%")[0] for found in interfaces for address in found}


def _host() -> str:
    # Flask's own `request.host` fills in what the client has not sent.
    host: str = request.environ.get("HTTP_HOST", "")
    return host
