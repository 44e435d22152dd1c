"""Decides when a child that failed is started again, and when the supervisor gives up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RestartPolicy:
    """Exponential backoff; all times are in seconds.

    Delays double from `first_delay` to `longest_delay`.  After `attempts` restarts in a row the
    supervisor gives up.  A child that stayed ready for `settled_after` is forgiven its earlier
    failures.  A child that was given up is tried once more every `retried_after`, because the cause
    may lie outside the child and be over; every `doubted_after` if the reason is not certain.
    """

    attempts: int = 8
    first_delay: float = 1.0
    longest_delay: float = 60.0
    settled_after: float = 120.0
    retried_after: float = 3600.0
    doubted_after: float = 60.0

    def delay(self, failures: int) -> float | None:
        """Return the seconds to wait after so many failures in a row; `None` means give up."""
        if failures > self.attempts:
            return None
        doubled: float = self.first_delay * 2 ** (max(failures, 1) - 1)
        return min(doubled, self.longest_delay)

    def forgiven(self, ready_for: float) -> bool:
        """Return True if earlier failures are forgotten after so long without a new failure."""
        return ready_for >= self.settled_after
