"""The program's output: log lines with a time, a progress bar, and the generated text itself."""

from __future__ import annotations

import time
from datetime import datetime

from axmock.stdout import Stdout


class Console:
    """Writes the log; stdout and stderr are one stream to a reader."""

    def __init__(self, out: Stdout) -> None:
        self._out = out

    def log(self, level: str, place: str, text: str) -> None:
        """Write one line; `place` is the function and line of the vendor's source."""
        now = datetime.now().strftime("%H:%M:%S.%f")[:-3]
        self.plain(f"{now} {level} {place} | {text}")

    def plain(self, line: str) -> None:
        self._out.write(f"{line}\n")
        self._out.flush()

    def text(self, text: str) -> None:
        """Write generated text, which has no line end of its own."""
        self._out.write(text)
        self._out.flush()

    def bar(self, done: int, total: int, begun: float, text: str) -> None:
        """Draw the bar anew on the same line; only the last one ends it."""
        elapsed = time.monotonic() - begun
        rate = done / elapsed if elapsed else 0.0
        share = done / total
        filled = "#" * round(share * 32)
        self._out.write(
            f"\r{int(share * 100):3d}% | {filled:<32} | {done:3d} / {total:3d} "
            f"[{elapsed:.2f}s<{elapsed / share if share else 0:.2f}s, {rate:.2f} count/s] {text}"
        )
        if done == total:
            self._out.write("\n")
        self._out.flush()
