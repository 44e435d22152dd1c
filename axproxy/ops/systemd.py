"""Datagrams to the service manager that started us: sd_notify(3), in our own words."""

from __future__ import annotations

import logging
import socket
from collections.abc import MutableMapping

# systemd drops a datagram of more than 4096 bytes whole.
_LONGEST = 800  # characters of a value, four bytes each at most

log = logging.getLogger(__name__)


class Notifier:
    """`address` is what `NOTIFY_SOCKET` holds: a path, or `@` and a name in the abstract namespace;
    empty where nobody listens.  `watched` says that `WATCHDOG=1` is waited for."""

    def __init__(self, address: str = "", watched: bool = False) -> None:
        self.listens = bool(address)
        self.watched = watched
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    @classmethod
    def taken_from(cls, environ: MutableMapping[str, str]) -> Notifier:
        """Removes what it reads, so that nobody after us can speak for the service."""
        address = environ.pop("NOTIFY_SOCKET", "")
        # The variable's companion names the main process, which is gunicorn's master; we feed the
        # watchdog from its worker, where the supervisor lives.
        environ.pop("WATCHDOG_PID", None)
        return cls(address, watched=environ.pop("WATCHDOG_USEC", "0") != "0")

    def send(self, **notices: str | int) -> None:
        """One datagram; one that cannot be delivered is dropped, for the next follows soon."""
        if not self.listens:
            return
        lines = [f"{name}={_one_line(value)}" for name, value in notices.items()]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaker:
            # A systemd that is too busy to listen must not stop the loop that speaks to it.
            speaker.setblocking(False)
            try:
                speaker.sendto("\n".join(lines).encode(), self._address)
            except OSError as error:
                log.debug("systemd was not told %s: %s", notices, error)


def _one_line(value: str | int) -> str:
    return " ".join(str(value).split())[:_LONGEST]
