"""Recognises what other programs do to a run by using the ports of the runtime or its tokenizer.

Neither port can be closed to them: the vendor's program listens on every address and takes requests
from all programs and web pages.  So an answer that another program may have changed must end as an
error.
"""

from __future__ import annotations

from collections.abc import Callable

from axproxy.errors import RuntimeMisbehaved
from axproxy.runtimes.main_api.run_log import RunLog
from axproxy.tokenizer.client import Trace

LOG_LAG = 0.25  # seconds for which the end of a run may be missing in its log
FLUSH = 3  # tokens that the vendor's program streams at a time


def disturbed() -> RuntimeMisbehaved:
    """Return the error for a run in which another program has used one of the ports."""
    return RuntimeMisbehaved(
        "another program is using the runtime's port or its tokenizer's; both must be left to "
        "this service"
    )


def stopped() -> RuntimeMisbehaved:
    """Return the error for a run that another program has ended before its time."""
    return RuntimeMisbehaved(
        "another program has stopped this answer; the ports of the runtime and of its tokenizer "
        "must be left to this service"
    )


class EndCheck:
    """Decides whether a run that is over has ended by itself.  `clock` and `sleep` are in seconds.

    The trace shows a stop unless it came right after a group of three.  The log then does: the last
    token of a run that did not end by itself is not in the cache (observed on the vendor's binary).
    """

    def __init__(
        self, log: RunLog, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._log = log
        self._clock = clock
        self._sleep = sleep

    def check(self, trace: Trace | None, sampled: int, cached_before: int) -> None:
        """Raise `RuntimeMisbehaved` if nothing of ours ended the run and it was stopped.

        `sampled` is the number of its tokens, `cached_before` how many were in the cache before it.
        Without a `trace` nothing is known.
        """
        if trace is None:
            return
        if trace.stopped:
            raise stopped()
        by_itself = cached_before + trace.prompt_tokens + sampled
        if sampled % FLUSH == 0 and self._logged() == by_itself - 1:
            raise stopped()

    def _logged(self) -> int | None:
        # Only a program that logs this number is waited for; its self-test has shown that.
        deadline = self._clock() + LOG_LAG
        while self._log.logs_cached and self._log.cached() is None and self._clock() < deadline:
            self._sleep(0.002)
        return self._log.cached()
