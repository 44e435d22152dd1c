"""What the worker prints while it loads its model."""

from __future__ import annotations

import re

from axproxy.card.failure import DEAD_CARD

_LOADED = re.compile(r"loaded (\d{1,4}) of (\d{1,4}): ")
_SERVING = re.compile(r"serving with (\w+)")
_FAULT = re.compile(r"cannot serve: (.+)")


class WorkerLog:
    """What one process has printed since its start; fed by one thread, read by any."""

    def __init__(self) -> None:
        self.load_percent: int | None = None
        self.provider: str | None = None
        self.fault: str | None = None  # why it cannot serve
        self.dead_card: str | None = None  # the first sign of one

    @property
    def serving(self) -> bool:
        return self.provider is not None

    def feed(self, line: str) -> None:
        """Read one complete line."""
        if found := _LOADED.search(line):
            self.load_percent = 100 * int(found[1]) // max(int(found[2]), 1)
        elif found := _SERVING.search(line):
            self.provider = found[1]
            self.load_percent = 100
        elif found := _FAULT.search(line):
            self.fault = found[1].strip()
        if found := DEAD_CARD.search(line):
            self.dead_card = self.dead_card or found[0]

    def glimpse(self, _unfinished: str) -> None:
        """Ignore a line that is still being written; the worker writes whole ones."""
