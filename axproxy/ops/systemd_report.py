"""What systemd is told about us, at each beat of the loop that keeps the children up.

READY is held back until the model answers, so that other programs that need the card can be ordered
after us (`After=ax650.service`): two loads at once fail.  `/health` answers long before.  Where
waiting will not help (given up, a port that is held, no card) READY is sent all the same: the
service is up, says why in its status, and being restarted would not mend it.

How long a start may take is judged by the supervisor, who sees the progress: it takes a load that
stands still down after AX650_START_TIMEOUT and gives up after a number of those.  As long as its
loop beats during that, systemd's own time-out is pushed back; and once we are ready, the same beat
feeds the watchdog.  A loop that hangs does neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from axproxy.errors import ProxyError, Starting, Unloaded
from axproxy.ops.systemd import Notifier

PAUSE = 5.0  # seconds between two reports where nothing has changed
# How far each beat pushes the start time-out back, in seconds; the longest beat (a stop that waits
# for the answer, a question to a card that is dead) is far shorter.
EXTENSION = 120


class Report:
    """`serving` is the status while all is well.  `beat` is called by one thread, several times a
    second; `leaving` by any."""

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
        """`problem` is what stands in the way of a request, as clients are told."""
        if not self._notifier.listens:
            return
        status = problem.message if problem else self._serving
        loading = isinstance(problem, Starting) and not isinstance(problem, Unloaded)
        becomes_ready = not (self._ready or self._leaving or loading)
        now = self._clock()
        if self._last and not becomes_ready:
            said, at = self._last
            if said == status and now - at < PAUSE:
                return
        self._last = (status, now)
        notices: dict[str, str | int] = {"STATUS": status}
        if becomes_ready:
            self._ready = True
            notices["READY"] = 1
        elif not (self._ready or self._leaving):
            notices["EXTEND_TIMEOUT_USEC"] = EXTENSION * 1_000_000
        if self._notifier.watched:
            notices["WATCHDOG"] = 1
        self._notifier.send(**notices)

    def leaving(self) -> None:
        """We were told to stop; what is loading is waited for, so this may take minutes."""
        self._leaving = True
        self._notifier.send(STOPPING=1)
