"""How long the model stays on the card after the last answer: Ollama's `keep_alive`."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from axproxy.models.model import Model


class KeepAlive:
    """Counts the time since the last answer; `wait_expired` returns when the card should be freed.

    Times are in seconds; `math.inf` means for ever.  A request's own `keep_alive` stays in force
    until another request sets one, or the model is unloaded.
    """

    def __init__(self, default: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._default = default
        self._clock = clock
        self._span = default
        self._users = 0
        self._used_as: Model | None = None
        self._since = math.inf  # when the last answer ended; not yet used: nothing to count from
        self._stopped = False
        self._changed = threading.Condition()  # guards all of the above

    def begin(self, model: Model | None = None) -> None:
        """Note that a request for this model has arrived; nothing expires until its `end`."""
        with self._changed:
            self._users += 1
            self._used_as = model if model and model.base else None
            self._changed.notify_all()

    def use(self, keep_alive: float | None) -> None:
        """Note that the turn of a request has come; `keep_alive` is its own, if it set one."""
        if keep_alive is not None:
            with self._changed:
                self._span = keep_alive

    def end(self) -> None:
        """Note that a request has ended."""
        with self._changed:
            self._users -= 1
            self._since = self._clock()
            self._changed.notify_all()

    @property
    def used_as(self) -> Model | None:
        """The derived model that was asked for last; None if it was the one with the files."""
        return self._used_as

    def expire(self) -> None:
        """Expire now, or once the requests that are here have ended."""
        with self._changed:
            self._span = 0.0
            self._since = min(self._since, self._clock())
            self._changed.notify_all()

    def forget(self) -> None:
        """Note that the model was unloaded; the next load begins with the default."""
        with self._changed:
            self._span = self._default
            self._since = math.inf

    def stop(self) -> None:
        """Have `wait_expired` return False."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @property
    def seconds_left(self) -> float:
        """Seconds until it expires; `math.inf` when that is not known, or never."""
        with self._changed:
            return self._seconds_left()

    @property
    def announced(self) -> float:
        """Seconds until it expires if the last of the present requests ended now.

        Zero or less once it was ordered to expire; `math.inf` means never.
        """
        with self._changed:
            if not self._users:
                return self._seconds_left()
            late = self._clock() - self._since  # infinite for a model that was not used before
            return self._span or min(0.0, -late if math.isfinite(late) else 0.0)

    def wait_expired(self) -> bool:
        """Block until the time is over; return False when stopped instead."""
        with self._changed:
            while not self._stopped:
                left = self._seconds_left()
                if left <= 0:
                    return True
                self._changed.wait(left if math.isfinite(left) else None)
            return False

    def _seconds_left(self) -> float:
        if self._users or math.isinf(self._since) or math.isinf(self._span):
            return math.inf
        return self._since + self._span - self._clock()
