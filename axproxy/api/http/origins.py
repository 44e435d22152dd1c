"""Which web pages may call the service from a browser, by Ollama's rules.

Two headers decide: `Origin`, and `Host`, by which Ollama refuses pages whose own name was made to
point at 127.0.0.1 (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

_HERE = [
    f"{scheme}://{host}"
    for scheme in ("http", "https")
    for host in ("localhost", "127.0.0.1", "0.0.0.0")
]
_DESKTOP = ("app", "file", "tauri", "vscode-webview", "vscode-file")
_ALWAYS = [*_HERE, *(f"{here}:*" for here in _HERE), *(f"{scheme}://*" for scheme in _DESKTOP)]
_STAINLESS = (
    "Arch Async Custom-Poll-Interval Helper-Method Lang Os Package-Version Poll-Helper Retry-Count "
    "Runtime Runtime-Version Timeout"
)
_HEADERS = (
    *("Authorization", "Content-Type", "User-Agent", "Accept", "X-Requested-With", "Openai-Beta"),
    *(f"X-Stainless-{name}" for name in _STAINLESS.split()),
)
_HEADER_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS",
    "Access-Control-Max-Age": "43200",  # seconds
}
_VARY_PREFLIGHT = "Access-Control-Request-Method, Access-Control-Request-Headers"
_PRIVATE = [
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
]
_LOCAL_ENDINGS = (".localhost", ".local", ".internal")


class BadOrigin(ValueError):
    """No browser sends this origin; the message says what one looks like."""


@dataclass(frozen=True)
class OriginDecision:
    """What to do with a request.

    `status` ends it with an empty body, None lets it pass; the headers belong to the response in
    both cases.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


PASS = OriginDecision()
REFUSE = OriginDecision(403)


class Origins:
    """The allowed origins: pages of this machine, desktop programs, and `more`.

    Each of `more` is an origin such as `http://pi.local:3000`.  It may contain one `*`, which
    matches anything; `*` alone allows every page.  Raises `BadOrigin`.
    """

    def __init__(self, more: Iterable[str] = ()) -> None:
        patterns = [pattern.strip().lower() for pattern in (*_ALWAYS, *more)]
        for pattern in patterns:
            if "://" not in pattern and "*" not in pattern:
                raise BadOrigin(f"an origin such as http://pi.local:3000, not {pattern!r}")
            if pattern.count("*") > 1:
                raise BadOrigin(f"an origin with at most one *, not {pattern!r}")
        self._allows_all = "*" in patterns
        self._exact = frozenset(pattern for pattern in patterns if "*" not in pattern)
        self._ends = [
            (start, end) for start, star, end in (p.partition("*") for p in patterns) if star
        ]

    def judge(
        self, method: str, origin: str, host: str, wanted_headers: str = ""
    ) -> OriginDecision:
        """Decide by the headers `Origin` and `Host`, which are empty where there is none.

        `wanted_headers` is `Access-Control-Request-Headers`: the headers that the page wants to
        send.  A page that may call at all may send them.
        """
        if not origin or origin in (f"http://{host}", f"https://{host}"):
            return PASS  # not a page, or a page of this service
        if not self._allows(origin.lower()):
            return REFUSE
        if self._allows_all:
            allowed = {"Access-Control-Allow-Origin": "*"}
        else:
            allowed = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        if method != "OPTIONS":
            return OriginDecision(None, allowed)
        if not self._allows_all:
            allowed["Vary"] += f", {_VARY_PREFLIGHT}"
        return OriginDecision(204, allowed | _PREFLIGHT | _allowed_headers(wanted_headers))

    def _allows(self, origin: str) -> bool:
        return (
            self._allows_all
            or origin in self._exact
            or any(
                origin.startswith(start)
                and origin.endswith(end)
                and len(origin) >= len(start + end)
                for start, end in self._ends
            )
        )


def _allowed_headers(wanted: str) -> dict[str, str]:
    """Return the headers that a page may send: Ollama's, and all that it asks for."""
    known = {name.lower() for name in _HEADERS}
    asked = (name.strip() for name in wanted.split(","))
    more = [name for name in asked if _HEADER_NAME.fullmatch(name) and name.lower() not in known]
    return {"Access-Control-Allow-Headers": ",".join((*_HEADERS, *dict.fromkeys(more)))}


def is_loopback(address: str) -> bool:
    """Return whether only this machine reaches a server that is bound to `address`."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"


def site_of(address: str) -> str:
    """Return what one client cannot change: its IPv4 address, or the network of its IPv6 address.

    A machine may take any of the 2**64 addresses of its IPv6 network.
    """
    try:
        number = ipaddress.ip_address(address.removeprefix("::ffff:").partition("%")[0])
    except ValueError:
        return address
    if number.version == 4:
        return str(number)
    return str(ipaddress.ip_network((int(number) >> 64 << 64, 64)))


def names_this_machine(host: str, name: str) -> bool:
    """Return whether the header `Host` can only mean this machine, whose name is `name`.

    It is stricter than `LocalHosts`: a private address or a name of the local network may be
    another machine's, or what a page has made to point here.  A request without `Host` (empty) is
    no browser's.
    """
    given = _without_port(host).lower().removesuffix(".")
    try:
        address = ipaddress.ip_address(given)
    except ValueError:
        name = name.lower()
        known = ("", "localhost", name, f"{name}.local")
        return given in known or given.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def is_page_of_this_machine(origin: str, name: str) -> bool:
    """Return whether the header `Origin` is that of a page which this machine serves."""
    scheme, separator, host = origin.partition("://")
    is_page = separator and scheme.lower() in ("http", "https") and host
    return bool(is_page) and names_this_machine(host, name)


class LocalHosts:
    """The hosts that mean this machine.

    `name` is the machine's name; `own_addresses` is called only for public addresses.
    """

    def __init__(self, name: str, own_addresses: Callable[[], Collection[str]]) -> None:
        self._name = name.lower()
        self._own_addresses = own_addresses

    def judge(self, method: str, host: str) -> OriginDecision:
        """Decide by the header `Host`, which is empty when there is none."""
        name = _without_port(host).lower()
        if self._is_own_address(name):
            return PASS
        if name in ("", "localhost", self._name) or name.endswith(_LOCAL_ENDINGS):
            return OriginDecision(204) if method == "OPTIONS" else PASS
        return REFUSE

    def _is_own_address(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        return (
            address.is_loopback
            or address.is_unspecified
            or any(address in network for network in _PRIVATE)
            or str(address) in self._own_addresses()
        )


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, colon, _ = host.partition(":")
    return host if host.count(":") > 1 else name if colon else host
