"""Drains a child's output: passes it on line by line and keeps the last lines.

A child blocks once its pipe is full, in the middle of an answer (observed on the vendor's binary),
so its output is read all the time.
"""

from __future__ import annotations

import codecs
import logging
import os
import re
import threading
from collections import deque
from typing import Protocol

from axproxy.printable import printable

# Colours and cursor movements, and all other control characters but blanks and line ends.
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_LINE_END = re.compile(r"[\r\n]+")
_KEPT_LINES = 200
_LONGEST_LINE = 16_384  # characters; streamed text has no line ends of its own


def plain(text: str) -> str:
    """Return `text` without what a terminal obeys: the program sets a colour on every line."""
    return _CONTROL.sub("", text)


class Listener(Protocol):
    """Gets the output as it comes, colours and all, on the reading thread."""

    def feed(self, line: str) -> None:
        """Take one complete line."""

    def glimpse(self, unfinished: str) -> None:
        """Take the beginning of a line that is still being written."""


class LineSplitter:
    """Splits bytes that come in any pieces into lines.

    A carriage return ends a line, too: the vendor's progress bar uses it.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.rest = ""

    def feed(self, data: bytes) -> list[str]:
        # Only what is new is searched: text may come byte by byte.
        first, *more = _LINE_END.split(self._decoder.decode(data))
        lines = [self.rest + first, *more]
        self.rest = lines.pop()
        if len(self.rest) > _LONGEST_LINE:
            lines.append(self.rest)
            self.rest = ""
        return [line for line in lines if line]


class LogTail:
    """Reads `fd` on a thread of its own until it ends, and closes it."""

    def __init__(self, fd: int, log: logging.Logger, listener: Listener | None = None) -> None:
        self._fd = fd
        self._log = log
        self._listener = listener
        self._last: deque[str] = deque(maxlen=_KEPT_LINES)
        self._thread = threading.Thread(target=self._drain, name=f"{log.name} tail", daemon=True)
        self._thread.start()

    def last_lines(self, count: int) -> list[str]:
        """Return the newest lines, oldest first.  Any thread."""
        return list(self._last)[-count:] if count else []

    def join(self, timeout: float) -> None:
        """Wait until the output has ended, so that `last_lines` is complete."""
        self._thread.join(timeout)

    def _drain(self) -> None:
        splitter = LineSplitter()
        while data := self._read():
            for line in splitter.feed(data):
                self._pass_on(line)
            if self._listener:
                self._listener.glimpse(splitter.rest)
        if splitter.rest:
            self._pass_on(splitter.rest)
        os.close(self._fd)

    def _read(self) -> bytes:
        try:
            return os.read(self._fd, 65_536)
        except OSError:  # reading a terminal whose other side has closed is an error, not an end
            return b""

    def _pass_on(self, line: str) -> None:
        if not (text := plain(line).rstrip()):
            return
        self._last.append(printable(text))  # shown in notes and on terminals
        self._log.debug("%s", text)  # at debug only: prompts and answers are in it
        if self._listener:
            self._listener.feed(line)
