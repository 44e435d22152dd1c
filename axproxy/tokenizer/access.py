"""Decides who may call the tokenizer server, and which of its routes.

Its port is for two programs: the runtime, which is recognised by its process, and the service,
which sends a secret.  A web page in a browser on this machine reaches the port as well; it shows
itself by its `Origin`, by the headers that only browsers send, or by a `Host` that is not this
machine (DNS rebinding).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import socket
import time
from collections.abc import Callable
from email.message import Message

from axproxy.tokenizer.peers import PeerCheck, SameUser

log = logging.getLogger(__name__)

HEADER = "X-Tokenizer-Secret"
VARIABLE = "AX650_TOKENIZER_SECRET"  # how the secret reaches this process
LOG_PAUSE = 60.0  # seconds between two log lines about refused calls

_PROBE = frozenset({"/"})
_RUNTIME = frozenset({"/get_uid", "/bos_id", "/eos_id", "/encode", "/decode", "/reset"})
_BOTH = frozenset({"/tokenize"})  # the simulator asks for the ids of its replies
_BROWSER = ("Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode")


def proof(secret: str) -> str:
    """Return the value of `HEADER` for a secret, which may have any characters."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


class TokenizerAccess:
    """Checks every call.  Without a `secret`, the service's routes answer `is_runtime`, too."""

    def __init__(self, secret: str = "", is_runtime: PeerCheck | None = None) -> None:
        self._proof = proof(secret).encode() if secret else b""
        self._is_runtime = is_runtime or SameUser()
        self._logged = -LOG_PAUSE

    def refusal(self, target: str, headers: Message, peer: Callable[[], bool]) -> str | None:
        """Return why a call must be refused, `None` if it may pass.

        `peer` says whether the connection comes from the runtime; it is asked only if that matters.
        """
        if any(name in headers for name in _BROWSER):
            return "web pages may not call the tokenizer"
        if not _is_here(headers.get_all("Host", [])):
            return "the Host must be this machine's loopback address"
        path = target.partition("?")[0]
        if path in _PROBE:
            return None
        if path in _RUNTIME:
            return None if peer() else "only the runtime may call this"
        if self._has_secret(headers) or (path in _BOTH and peer()):
            return None
        if not self._proof and peer():
            return None
        return f"only the service may call this; start both with the same {VARIABLE}"

    def check_peer(self, connection: socket.socket) -> bool:
        """Return whether a connection comes from the runtime."""
        return self._is_runtime(connection)

    def close(self) -> None:
        """Close what the checks keep open."""
        self._is_runtime.close()

    def log_refusal(self, path: str, reason: str) -> None:
        """Log a refused call, unless one was logged a short time ago."""
        now = time.monotonic()
        if now - self._logged >= LOG_PAUSE:
            self._logged = now
            log.warning("refused a call of %.40r: %s", path, reason)

    def _has_secret(self, headers: Message) -> bool:
        sent = headers.get(HEADER, "").encode("utf-8", "replace")
        # The comparison takes the same time however much of the secret is right.
        return hmac.compare_digest(sent, self._proof) and bool(self._proof)


def _is_here(hosts: list[str]) -> bool:
    if not hosts:
        return True  # an old program; a browser always sends it
    if len(hosts) > 1:
        return False
    name, colon, port = hosts[0].strip().lower().rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()):
        name = hosts[0].strip().lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False
