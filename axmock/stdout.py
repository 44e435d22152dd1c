"""The program's standard output with C's buffering: by line on a terminal, by block on a pipe."""

from __future__ import annotations

import os
import threading

BLOCK = 4096  # bytes; stdio's buffer for a pipe


class Stdout:
    """Writes to stdout as stdio does: it holds lines back, and a full pipe blocks every thread.

    On a pipe or file nothing leaves before a flush or a full block, so the lines after the last
    flush are missing until the next one, and lost in a crash.  A reader that stops reading blocks
    the writer while it holds the lock, and with it every thread that logs.  That is how the
    vendor's generation hangs on an unread pipe.
    """

    def __init__(self, fd: int, *, tty: bool | None = None) -> None:
        self._fd = fd
        self._by_line = os.isatty(fd) if tty is None else tty
        self._buffer = bytearray()
        self._lock = threading.RLock()  # guards _buffer and the order of what is written

    def write(self, text: str | bytes) -> None:
        """Add `text`, and send what stdio would send."""
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        with self._lock:
            self._buffer += data
            if self._by_line:
                self._send(self._buffer.rfind(b"\n") + 1)
            elif len(self._buffer) > BLOCK:
                self._send(len(self._buffer) // BLOCK * BLOCK)

    def flush(self) -> None:
        """Send everything, as fflush(stdout) does."""
        with self._lock:
            self._send(len(self._buffer))

    def _send(self, count: int) -> None:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except OSError:
                return  # the reader is gone; SIGPIPE is ignored and stdio drops the text
