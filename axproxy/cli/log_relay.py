"""Print the log of a service that shares its terminal with other output."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

CLEAR_LINE = b"\r\x1b[K"


class LogRelay:
    """Copies the lines of `source` to `target`, and none while something else is being printed.

    A thread of its own always reads: a service whose log is not read would stop at the next line.
    It closes `source` at its end.
    `before` is written before each line, such as `CLEAR_LINE` where a line may be moving.
    """

    def __init__(self, source: IO[bytes], target: IO[bytes], before: bytes = b"") -> None:
        self._source, self._target, self._before = source, target, before
        self._lock = threading.Lock()
        self._paused = False
        self._held: list[bytes] = []
        self._thread = threading.Thread(target=self._copy, name="log relay", daemon=True)
        self._thread.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hold the lines back until the body has ended."""
        with self._lock:
            self._paused = True
        try:
            yield
        finally:
            with self._lock:
                self._paused = False
                self._print_held()

    def wait(self, timeout: float) -> None:
        """Wait, at most `timeout` seconds, until all lines of an ended service are printed."""
        self._thread.join(timeout)

    def _copy(self) -> None:
        with self._source:
            for line in self._source:
                with self._lock:
                    self._held.append(line)
                    if not self._paused:
                        self._print_held()

    def _print_held(self) -> None:
        for line in self._held:
            self._target.write(self._before + line)
        self._held.clear()
        self._target.flush()
