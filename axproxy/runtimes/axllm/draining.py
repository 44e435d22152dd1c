"""What happens to the rest of a run whose client has left: the program has no way to stop it.

It runs to its natural end or to its limit of tokens, and must not get another request before:
two at once mix their texts in one model (read in AXERA-TECH/ax-llm).  So its stream is read on and
thrown away, and where others wait and that would take longer than a load, the program is restarted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from axproxy.local_http import LocalHTTPError
from axproxy.runtimes.axllm.event_stream import EventStream

UNKNOWN_LOAD = 90.0  # seconds; Qwen3-4B on a Raspberry Pi 5 takes 88
SLOWEST = 1.0  # tokens per second, where the speed is not known
_LOOK = 0.25  # seconds between two looks at whether the drain shall end

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Remainder:
    """What is left of a run: at most `tokens`, at `speed` tokens per second if that is known."""

    tokens: int
    speed: float | None = None

    @property
    def seconds(self) -> float:
        """How long the rest takes at most."""
        return self.tokens / (self.speed or SLOWEST)


def is_restart_cheaper(rest: Remainder, load_seconds: float | None, waiting: int) -> bool:
    """Return whether to restart the program instead of waiting for the rest of a run.

    A load costs the program's cache too, and every restart is a risk for the card, so it must save
    time for those who wait; without any, nothing is restarted.
    """
    return waiting > 0 and rest.seconds > (load_seconds or UNKNOWN_LOAD)


class Drain:
    """Reads the rest of one stream on a thread of its own and throws it away.

    `stall` is how many seconds without a byte count as a hang; `stalled` is set then.
    """

    def __init__(
        self,
        stream: EventStream,
        rest: Remainder,
        stall: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._rest = rest
        self._stall = stall
        self._clock = clock
        self._began = clock()
        self._read = 0
        self._ended = threading.Event()
        self.stalled = False
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Return whether the run has ended, after at most `seconds`."""
        return self._ended.wait(seconds)

    @property
    def rest(self) -> Remainder:
        """What is left now."""
        return Remainder(max(self._rest.tokens - self._read, 0), self._rest.speed)

    def _run(self) -> None:
        last = self._clock()
        try:
            while not self._stream.ended:
                events = self._stream.events(_LOOK)
                now = self._clock()
                if events:
                    self._read += len(events)
                    last = now
                elif now - last > self._stall:
                    self.stalled = True
                    return
        except LocalHTTPError:
            pass  # the program has ended, and with it the run
        finally:
            self._stream.close()
            if not self.stalled:
                log.debug("the rest of a run took %.1f s", self._clock() - self._began)
            self._ended.set()
