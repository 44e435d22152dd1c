"""The vendor's log lines and progress bar, byte for byte (observed on the vendor's binary)."""

from __future__ import annotations

import math
from collections.abc import Callable

from axmock.stdout import Stdout

_COLOURS = {"I": 2, "W": 3, "N": 5, "E": 1}


def log_line(level: str, function: str, line: int, message: str) -> str:
    """Return one line of the vendor's logger, with its colour codes."""
    colour = _COLOURS[level]
    return f"\x1b[1;30;3{colour}m[{level}][{function:>32}][{line:>4}]: {message}\x1b[0m\n"


def c_string(text: str) -> str:
    """Return `text` as C sees it: it ends at the first NUL."""
    return text.partition("\0")[0]


class Console:
    """The logger on stdout; `function` and `line` name the place in the vendor's source."""

    def __init__(self, out: Stdout) -> None:
        self.out = out

    def info(self, function: str, line: int, message: str) -> None:
        """Write a green line."""
        self.out.write(log_line("I", function, line, message))

    def warn(self, function: str, line: int, message: str) -> None:
        """Write a yellow line."""
        self.out.write(log_line("W", function, line, message))

    def notice(self, function: str, line: int, message: str) -> None:
        """Write a purple line."""
        self.out.write(log_line("N", function, line, message))

    def error(self, function: str, line: int, message: str) -> None:
        """Write a red line, to stdout too, as the vendor's program does."""
        self.out.write(log_line("E", function, line, message))


def bar_text(done: int, total: int, *, updates: int, elapsed: float, unit: str, text: str) -> str:
    """Return one state of the progress bar.

    The rate follows from `updates` (how often the bar was drawn) and `elapsed` (seconds), so a bar
    that does not begin at zero still shows its speed; the length follows from `done` and `total`.
    """
    share = done / total
    full = math.ceil(share * 32)
    empty = math.ceil(32 - share * 32)
    average = elapsed / updates
    rate = 1 / average if average else math.inf
    return (
        f"\x1b[1;30;33m\r{int(share * 100):3d}% | {'█' * full}{' ' * empty}"
        f" | {done:3d} / {total:3d}"
        f" [{elapsed:.2f}s<{average * total:.2f}s, {rate:.2f} {unit}/s] \x1b[1;30;32m{text}\x1b[0m"
    )


class Progress:
    """A progress bar that measures whole milliseconds, as the vendor's does."""

    def __init__(self, out: Stdout, total: int, clock: Callable[[], float]) -> None:
        self._out = out
        self._total = total
        self._clock = clock
        self._updates = 0
        self._begun = int(clock() * 1000)

    def update(self, done: int, unit: str, text: str = "") -> None:
        """Draw the bar at `done` and flush it."""
        self._updates += 1
        elapsed = (int(self._clock() * 1000) - self._begun) / 1000
        state = bar_text(
            done, self._total, updates=self._updates, elapsed=elapsed, unit=unit, text=text
        )
        self._out.write(state)
        self._out.flush()
