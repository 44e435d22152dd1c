"""Asks one running process whether it is ready, then whether it still answers.

It runs in a thread of its own, because asking can block and the supervisor's tick must not.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

MISSES_ALLOWED = 3

log = logging.getLogger(__name__)


class NotReady(Exception):
    """It is still starting; ask again."""


class Unusable(Exception):
    """It runs but will never be of use; the message says why."""


class Probe:
    """`check_ready` and `check_alive` return when all is well and raise `NotReady` or `Unusable`.

    `check_ready` is given a function that says whether the answer has stopped to matter.  Both are
    called from the watch's thread only: every `pause` seconds while waiting for readiness, every
    `heartbeat` afterwards, when fewer than `MISSES_ALLOWED` in a row may raise `NotReady`.
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
        self.useless: str | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """No verdict is given any more; does not wait for a question under way."""
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
            self.useless = str(finding)

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
        """False when the question itself failed, which says nothing about the process."""
        try:
            question()
        except (NotReady, Unusable):
            raise
        except Exception:  # without this thread nobody would ask ever again
            log.exception("a question to a process failed and is put again")
            self._cancelled.wait(self._heartbeat)
            return False
        return True
