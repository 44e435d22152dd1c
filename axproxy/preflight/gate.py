"""The gate before each launch: runs the checks in a thread beside the supervisor's."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from axproxy.preflight.finding import Finding
from axproxy.process.restart import RestartPolicy

MAX_AGE = 10.0  # seconds for which the findings count

log = logging.getLogger("preflight")


def why_blocked(findings: Sequence[Finding]) -> str | None:
    """Return what keeps the runtime from being started and what helps, or `None`."""
    fails = [finding for finding in findings if finding.verdict == "fail"]
    if not fails:
        return None
    first = f"{fails[0].seen}; {fails[0].remedy}"
    more = len(fails) - 1
    return f"{first} ({more} more in /health)" if more else first


class LaunchGate:
    """Decides whether the runtime may be launched, from new findings each time.

    The supervisor's thread calls `blocked_by`, many times a second while the launch is blocked.
    The checks run in a thread of their own.  They are repeated with growing delays, because a
    person may be fixing the problem meanwhile.  Any thread may read `findings`.
    """

    def __init__(
        self,
        inspect: Callable[[], Sequence[Finding]],
        clock: Callable[[], float] = time.monotonic,
        delays: RestartPolicy | None = None,
    ) -> None:
        self.findings: tuple[Finding, ...] = ()
        self._inspect = inspect
        self._clock = clock
        self._delays = delays or RestartPolicy(first_delay=0.5, longest_delay=15.0)
        self._thread: threading.Thread | None = None
        self._result: tuple[tuple[Finding, ...], float] | None = None
        self._blocked_by: str | None = None
        self._failed = 0
        self._next = 0.0

    def blocked_by(self) -> str | None:
        """Return what blocks the launch.

        `None` is returned once per inspection that found nothing; an empty text means that the
        first inspection still runs.  Any other sentence stands until a later inspection.
        """
        now = self._clock()
        if self._thread and not self._thread.is_alive():
            self._thread = None
            if self._result and now - self._result[1] <= MAX_AGE:
                self._take_in(*self._result)
                if self._blocked_by is None:
                    return None
        if self._thread is None and now >= self._next:
            self._thread = threading.Thread(target=self._run, name="preflight", daemon=True)
            self._thread.start()
        return self._blocked_by or ""

    def _run(self) -> None:
        self._result = None
        findings = tuple(self._inspect())
        self._result = (findings, self._clock())

    def _take_in(self, findings: tuple[Finding, ...], now: float) -> None:
        known = {finding for finding in self.findings if finding.verdict == "warn"}
        for finding in findings:
            if finding.verdict == "warn" and finding not in known:
                log.warning("%s: %s; %s", finding.name, finding.seen, finding.remedy)
        self.findings = findings
        self._blocked_by = why_blocked(findings)
        self._failed = self._failed + 1 if self._blocked_by else 0
        most = self._delays.attempts
        delay = self._delays.delay(min(self._failed, most)) or 0.0
        self._next = now + delay if self._blocked_by else now
