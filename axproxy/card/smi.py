"""The vendor's `axcl-smi`, asked with care.

It refuses to run twice at once, can hang for a minute when a card is dead, always exits 0, spoils
terminals when it is killed, and each call runs several commands on the card (observed by the
people who run it).  The runtime itself asks it while it loads a model, so nobody else may then.
"""

from __future__ import annotations

import logging
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from axproxy.card.environment import PROGRAMS, with_axcl
from axproxy.card.smi_table import NoTable, Table, read_table

INSTALLED = Path(PROGRAMS) / "axcl-smi"  # on PATH in login shells only
PATIENCE = 10.0  # seconds for one call
BUSY_PAUSE, BUSY_TRIES = 0.7, 4  # a call takes about half a second, so another one soon ends
FRESH = 5.0  # seconds
_MOST_OUTPUT = 256 * 1024  # bytes; eight cards need about three thousand
_POLITELY = ((signal.SIGINT, 1.0), (signal.SIGTERM, 1.0), (signal.SIGKILL, 0.2))

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """What was said; the call began and ended at these seconds of the reader's clock."""

    said: Table | NoTable
    begun: float
    at: float

    @property
    def table(self) -> Table | None:
        return self.said if isinstance(self.said, Table) else None


class AxclSmi:
    """One for the whole process; safe from any thread, one call at a time.

    `configured` is the program to ask instead of the one that is found on PATH or installed.
    """

    def __init__(
        self,
        configured: Path | None = None,
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._configured = configured
        self._patience = patience
        self._clock = clock
        self._asking = threading.Lock()  # held by the one who asks, for as long as that takes
        self._stuck: subprocess.Popen[bytes] | None = None  # it did not die when it was told to
        self._hushed = False
        self._closed = False
        self._last: Reading | None = None

    @property
    def program(self) -> Path | None:
        """The file that is asked; `None` where there is none."""
        if self._configured:
            return self._configured if os.access(self._configured, os.X_OK) else None
        found = shutil.which("axcl-smi") or shutil.which("axcl-smi", path=PROGRAMS)
        return Path(found) if found else None

    @property
    def last(self) -> Reading | None:
        """The latest reading, however old."""
        return self._last

    def hush(self) -> None:
        """From now on nothing is asked, for a model is being loaded; waits for a call under way."""
        self._hushed = True
        if self._asking.acquire(timeout=self._patience):
            self._asking.release()

    def unhush(self) -> None:
        self._hushed = False

    def close(self) -> None:
        """Ends a call under way; whoever waits for it is told that it hangs."""
        self._hushed = self._closed = True

    def look(self, max_age: float = FRESH) -> Reading | None:
        """A reading that is at most `max_age` seconds old.

        Takes up to twice the patience.  `None` while hushed, unless one that young is remembered.
        """
        with self._asking:
            last = self._last
            if last and self._clock() - last.at <= max_age:
                return last
            if self._hushed:
                return None
            begun, said = self._clock(), self._ask()
            for _ in range(BUSY_TRIES):
                if not (isinstance(said, NoTable) and said.why == "busy") or self._hushed:
                    break
                time.sleep(BUSY_PAUSE)
                begun, said = self._clock(), self._ask()
            self._last = Reading(said, begun, self._clock())
            return self._last

    def _ask(self) -> Table | NoTable:
        if self._stuck and self._stuck.poll() is None:
            return NoTable("hung", f"an earlier call still hangs (pid {self._stuck.pid})")
        self._stuck = None
        program = self.program
        if program is None:
            where = (
                f"at {self._configured}" if self._configured else f"on the PATH or at {INSTALLED}"
            )
            return NoTable("missing", f"there is no program axcl-smi {where}")
        try:
            asked = subprocess.Popen(
                [str(program)],  # no -d: its meaning has changed, and it renumbers the cards
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=with_axcl(os.environ),
                start_new_session=True,
            )
        except OSError as error:
            return NoTable("missing", f"{program} cannot be run: {error.strerror}")
        output = self._read(asked)
        if output is None:
            self._end(asked)
            return NoTable("hung", f"{program} did not answer in {self._patience:g} s")
        if asked.stdout:
            asked.stdout.close()
        return read_table(output.decode(errors="replace"))

    def _read(self, asked: subprocess.Popen[bytes]) -> bytes | None:
        """All it prints until it ends; `None` when it does not end in time."""
        if asked.stdout is None:
            return b""
        fd, output, deadline = asked.stdout.fileno(), b"", time.monotonic() + self._patience
        readable = select.poll()  # select() stops at descriptor 1023, and clients may hold more
        readable.register(fd, select.POLLIN)
        while not self._closed and time.monotonic() < deadline and len(output) < _MOST_OUTPUT:
            ended = asked.poll() is not None
            # A helper that it has left behind may keep the pipe open for ever.
            if readable.poll(0 if ended else 50):
                piece = os.read(fd, 65_536)
                output += piece
                if not piece and ended:
                    return output
                if not piece:
                    time.sleep(0.01)  # it has closed its output and is about to end
            elif ended:
                return output
        return None

    def _end(self, asked: subprocess.Popen[bytes]) -> None:
        # Killed outright it can leave its single-instance lock behind; stuck in the driver it may
        # not die at all, so somebody else waits for that.
        for number, seconds in _POLITELY:
            try:
                os.killpg(asked.pid, number)
                asked.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                continue
            except (ProcessLookupError, PermissionError):
                break
        else:
            log.warning("axcl-smi (pid %d) hangs in the driver and cannot be ended", asked.pid)
            self._stuck = asked
        if asked.stdout:
            asked.stdout.close()


def device_indices(device: str, said: Table | NoTable) -> str:
    """What `--devices` is given for `AX650_DEVICE`: `auto` is the first card there is.

    Where `axcl-smi` cannot tell, that is 0, the only card of nearly every machine; the runtime
    itself says so when there is none.
    """
    if device != "auto":
        return device
    if isinstance(said, Table):
        return str(said.cards[0].index)
    return "0"
