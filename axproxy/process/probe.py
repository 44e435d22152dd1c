"""Asks one running process whether it is ready, then whether it still answers.

The questions can block, and the supervisor's tick must not; so they run in a thread of their own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

MISSES_ALLOWED = 3  # probes in a row without an answer

log = logging.getLogger(__name__)


class NotReady(Exception):
    """The process is still starting, or missed one probe; ask again."""


class Unusable(Exception):
    """The process runs but will never be of use; the message says why."""


class Probe:
    """Puts the questions; the supervisor reads `ready` and `unusable`.

    `check_ready` and `check_alive` return when all is well, and raise `NotReady` or `Unusable`.
    `check_ready` gets a function that returns True once its answer is no longer needed.  Both are
    called by the probe's thread only: `check_ready` every `pause` seconds until it succeeds, then
    `check_alive` every `heartbeat` seconds.  `MISSES_ALLOWED` times `NotReady` in a row from
    `check_alive` make the process unusable.
    """

    def __init__(
        self,
        check_ready: Callable[[Callable[[], bool]], None],
        check_alive: Callable[[], None],
        pause: float = 0.1,
        heartbeat: float = 10.0,
    ) -> None:
        self._check_ready = check_ready
        self._check_alive = check_alive
        self._pause = pause
        self._heartbeat = heartbeat
        self._cancelled = threading.Event()
        self.ready = False
        self.unusable: str | None = None
        self._thread = threading.Thread(target=self._run, name="probe", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Stop asking.  A question under way is not waited for, and its answer is dropped."""
        self._cancelled.set()

    def _run(self) -> None:
        try:
            while not self.ready:
                if self._cancelled.is_set():
                    return
                try:
                    self.ready = self._answered(lambda: self._check_ready(self._cancelled.is_set))
                except NotReady:
                    self._cancelled.wait(self._pause)
            self._keep_asking()
        except Unusable as finding:
            self.unusable = str(finding)

    def _keep_asking(self) -> None:
        misses = 0
        while not self._cancelled.wait(self._heartbeat):
            try:
                if self._answered(self._check_alive):
                    misses = 0
            except NotReady as miss:
                misses += 1
                if misses >= MISSES_ALLOWED:
                    raise Unusable(f"it has stopped answering ({miss})") from miss

    def _answered(self, question: Callable[[], None]) -> bool:
        """Return False if the question itself failed, which says nothing about the process."""
        try:
            question()
        except (NotReady, Unusable):
            raise
        except Exception:  # without this thread the process would not be probed again
            log.exception("a probe failed by itself and is repeated")
            self._cancelled.wait(self._heartbeat)
            return False
        return True
