"""Waiting for the runtime, which works on one job at a time: until it is idle, until it accepts."""

from __future__ import annotations

import time
from collections.abc import Callable

from axproxy.errors import ClientGone, RuntimeStalled
from axproxy.runtimes.main_api.client import Poll

BUSY_PAUSES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064)  # seconds; the last one repeats
IDLE_PAUSE = 0.1  # seconds


class Waiting:
    """Gives up with `RuntimeStalled` after `patience` seconds, with `ClientGone` once `gone()`."""

    def __init__(
        self,
        gone: Callable[[], bool],
        patience: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gone = gone
        self._patience = patience
        self._clock = clock
        self._sleep = sleep

    def until_idle(self, poll: Callable[[], Poll]) -> None:
        """Drains what is left of earlier runs; ours have ended, so a running one is a stranger's
        (somebody else on the port), which is not ours to stop."""
        deadline = self._clock() + self._patience
        while not poll().done:
            self._pause(IDLE_PAUSE, deadline)

    def until_accepted(self, ask: Callable[[], bool]) -> None:
        """Asks again and again: "llm is running" is normal while a reset is worked on."""
        deadline = self._clock() + self._patience
        pauses = iter(BUSY_PAUSES)
        while not ask():
            self._pause(next(pauses, BUSY_PAUSES[-1]), deadline)

    def _pause(self, seconds: float, deadline: float) -> None:
        if self._gone():
            raise ClientGone
        if self._clock() > deadline:
            raise RuntimeStalled(
                "the runtime has been busy for too long; try again in a few minutes"
            )
        self._sleep(seconds)
