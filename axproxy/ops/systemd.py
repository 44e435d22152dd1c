"""What systemd is told about the service: sd_notify(3), in a few lines of our own.

`READY=1` is held back until the model answers, so that other programs that need the card can be
ordered after this one (`After=ax650.service`): two loads at once fail.  `/health` answers long
before.  Where waiting does not help (given up, a port that is held, no card) `READY=1` is sent all
the same: the service runs, its status says why it cannot answer, and a restart would not fix it.

The supervisor decides how long a load may take, because it sees the progress: it stops a load that
makes none for AX650_START_TIMEOUT, and gives up after a number of those.  While its loop beats, the
start timeout of systemd is extended; after `READY=1` the same beat feeds the watchdog.  A loop that
hangs does neither.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, MutableMapping

from axproxy.errors import ProxyError, Starting, Unloaded
from axproxy.printable import printable

REPORT_INTERVAL = 5.0  # seconds between two reports where nothing has changed
# How far each beat pushes the start timeout back, in seconds.  The longest beat (a stop that waits
# for the answer, a question to a card that is dead) is far shorter.
TIMEOUT_EXTENSION = 120
_LONGEST_VALUE = 800  # characters, of four bytes at most: systemd drops a datagram above 4096 bytes

log = logging.getLogger(__name__)


class Notifier:
    """Sends datagrams to the service manager that started this program.

    `address` is the value of `NOTIFY_SOCKET`: a path, or `@` and a name in the abstract namespace;
    empty without a service manager.  `watched` says that it expects `WATCHDOG=1`.
    """

    def __init__(self, address: str = "", watched: bool = False) -> None:
        self.listens = bool(address)
        self.watched = watched
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    @classmethod
    def taken_from(cls, environ: MutableMapping[str, str]) -> Notifier:
        """Make a notifier from the environment, and remove its variables from there.

        So no child can send notifications in the name of the service.
        """
        address = environ.pop("NOTIFY_SOCKET", "")
        # The companion variable names the main process, which is gunicorn's master.  The watchdog
        # is fed from its worker, where the supervisor lives.
        environ.pop("WATCHDOG_PID", None)
        return cls(address, watched=environ.pop("WATCHDOG_USEC", "0") != "0")

    def send(self, **notices: str | int) -> None:
        """Send one datagram; drop it if it cannot be delivered, because the next follows soon."""
        if not self.listens:
            return
        lines = [f"{name}={_one_line(value)}" for name, value in notices.items()]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            # A systemd that is too busy to read must not stop the supervisor's loop.
            sender.setblocking(False)
            try:
                sender.sendto("\n".join(lines).encode(), self._address)
            except OSError as error:
                log.debug("systemd did not get %s: %s", notices, error)


class SystemdReport:
    """Reports the state of the service to systemd.

    `serving` is the status while all is well.  One thread calls `beat` several times a second; any
    thread may call `leaving`.
    """

    def __init__(
        self, notifier: Notifier, serving: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._notifier = notifier
        self._serving = serving
        self._clock = clock
        self._ready = False
        self._leaving = False
        self._last: tuple[str, float] | None = None  # the status, when it was sent

    def beat(self, problem: ProxyError | None) -> None:
        """Report `problem`, which is what stands in the way of a request, in the same words."""
        if not self._notifier.listens:
            return
        status = problem.message if problem else self._serving
        loading = isinstance(problem, Starting) and not isinstance(problem, Unloaded)
        becomes_ready = not (self._ready or self._leaving or loading)
        now = self._clock()
        if self._last and not becomes_ready:
            last_status, sent = self._last
            if last_status == status and now - sent < REPORT_INTERVAL:
                return
        self._last = (status, now)
        notices: dict[str, str | int] = {"STATUS": status}
        if becomes_ready:
            self._ready = True
            notices["READY"] = 1
        elif not (self._ready or self._leaving):
            notices["EXTEND_TIMEOUT_USEC"] = TIMEOUT_EXTENSION * 1_000_000
        if self._notifier.watched:
            notices["WATCHDOG"] = 1
        self._notifier.send(**notices)

    def leaving(self) -> None:
        """Report that the service stops.

        That may take minutes, because a load cannot be interrupted.
        """
        self._leaving = True
        self._notifier.send(STOPPING=1)


def _one_line(value: str | int) -> str:
    return printable(" ".join(str(value).split()))[:_LONGEST_VALUE]
