"""How often a child that dies is started again, and how long we wait before each time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RestartPolicy:
    """Delays double from `first_delay` to `longest_delay` seconds; after `attempts` restarts in a
    row the child is given up.  One that stayed ready for `settled_after` seconds is forgiven; one
    that was given up is tried once more every `retried_after` seconds, for what broke it may have
    been somebody else's and over."""

    attempts: int = 8
    first_delay: float = 1.0
    longest_delay: float = 60.0
    settled_after: float = 120.0
    retried_after: float = 3600.0

    def delay(self, deaths: int) -> float | None:
        """Seconds to wait after the `deaths`-th death in a row; `None` means give up."""
        if deaths > self.attempts:
            return None
        doubled: float = self.first_delay * 2 ** (max(deaths, 1) - 1)
        return min(doubled, self.longest_delay)

    def forgiven(self, ready_for: float) -> bool:
        """Whether earlier deaths are forgotten after `ready_for` seconds without one."""
        return ready_for >= self.settled_after
