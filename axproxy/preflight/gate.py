"""The gate before a launch: looks anew each time, beside the supervisor's thread."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from axproxy.preflight.finding import Finding
from axproxy.process.restart import RestartPolicy

FRESH = 10.0  # seconds for which a look counts

log = logging.getLogger("preflight")


def sentence(findings: Sequence[Finding]) -> str | None:
    """What keeps the runtime from being started, and what helps; `None` when nothing does."""
    fails = [finding for finding in findings if finding.verdict == "fail"]
    if not fails:
        return None
    first = f"{fails[0].seen}; {fails[0].remedy}"
    more = len(fails) - 1
    return f"{first} (/health tells {more} more)" if more else first


class LaunchGate:
    """`blocked_by` is asked by the supervisor's thread, many times a second while something is in
    the way; the looking itself happens in a thread of its own, with growing pauses, for a person
    may be mending things meanwhile.  `findings` may be read by anybody."""

    def __init__(
        self,
        look: Callable[[], Sequence[Finding]],
        clock: Callable[[], float] = time.monotonic,
        pauses: RestartPolicy | None = None,
    ) -> None:
        self.findings: tuple[Finding, ...] = ()
        self._look = look
        self._clock = clock
        self._pauses = pauses or RestartPolicy(first_delay=0.5, longest_delay=15.0)
        self._thread: threading.Thread | None = None
        self._looked: tuple[tuple[Finding, ...], float] | None = None
        self._blocked_by: str | None = None
        self._failed = 0
        self._next = 0.0

    def blocked_by(self) -> str | None:
        """`None` once when a fresh look has found nothing in the way; an empty text while the first
        look is not over; else the sentence that stands until a later look."""
        now = self._clock()
        if self._thread and not self._thread.is_alive():
            self._thread = None
            if self._looked and now - self._looked[1] <= FRESH:
                self._take_in(*self._looked)
                if self._blocked_by is None:
                    return None
        if self._thread is None and now >= self._next:
            self._thread = threading.Thread(target=self._run, name="preflight", daemon=True)
            self._thread.start()
        return self._blocked_by or ""

    def _run(self) -> None:
        self._looked = None
        findings = tuple(self._look())
        self._looked = (findings, self._clock())

    def _take_in(self, findings: tuple[Finding, ...], now: float) -> None:
        known = {finding for finding in self.findings if finding.verdict == "warn"}
        for finding in findings:
            if finding.verdict == "warn" and finding not in known:
                log.warning("%s: %s; %s", finding.name, finding.seen, finding.remedy)
        self.findings = findings
        self._blocked_by = sentence(findings)
        self._failed = self._failed + 1 if self._blocked_by else 0
        most = self._pauses.attempts
        pause = self._pauses.delay(min(self._failed, most)) or 0.0
        self._next = now + pause if self._blocked_by else now
