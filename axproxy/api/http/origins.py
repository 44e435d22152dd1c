"""Whether a request's `Host` can be this machine, which is how Ollama keeps web pages out that have
had their own name point at 127.0.0.1."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection

from axproxy.api.http.cors import PASS, REFUSE, OriginDecision

_PRIVATE = [
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
]
_LOCAL_ENDINGS = (".localhost", ".local", ".internal")


def is_loopback(address: str) -> bool:
    """Whether a server bound to `address` is reached from this machine only."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"


class LocalHosts:
    """`name` is the machine's; `own_addresses` is asked only about public ones."""

    def __init__(self, name: str, own_addresses: Callable[[], Collection[str]]) -> None:
        self._name = name.lower()
        self._own_addresses = own_addresses

    def judge(self, method: str, host: str) -> OriginDecision:
        """`host` is the header, empty when there is none."""
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
