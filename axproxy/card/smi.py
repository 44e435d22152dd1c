"""The program `axcl-smi` of the vendor: run one call at a time, with a time limit.

Observed by people who use it: it refuses to run twice at once, can hang for a minute when a card
is dead, always exits with status 0, leaves the terminal damaged when it is killed, and runs
several commands on the card in each call.  The runtime calls it too while it loads a model, so
nothing else may call it then.
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
CALL_TIMEOUT = 10.0  # seconds
BUSY_RETRY_DELAY, BUSY_RETRIES = 0.7, 4  # a call takes about 0.5 s, so another program's ends soon
MAX_AGE = 5.0  # seconds for which a reading is reused
_MAX_OUTPUT = 256 * 1024  # bytes; eight cards need about three thousand
_STOP_LADDER = ((signal.SIGINT, 1.0), (signal.SIGTERM, 1.0), (signal.SIGKILL, 0.2))

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """The result of one call; `begun` and `ended` are seconds of the `AxclSmi`'s clock."""

    result: Table | NoTable
    begun: float
    ended: float

    @property
    def table(self) -> Table | None:
        return self.result if isinstance(self.result, Table) else None


class AxclSmi:
    """Runs `axcl-smi` and remembers its latest output.

    The process has one of them.  Any thread may use it; calls are made one at a time.
    `configured` is the program to run instead of the one on PATH or the installed one.
    """

    def __init__(
        self,
        configured: Path | None = None,
        *,
        timeout: float = CALL_TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._configured = configured
        self._timeout = timeout
        self._clock = clock
        self._calling = threading.Lock()  # held for the whole of a call
        self._stuck: subprocess.Popen[bytes] | None = None  # a call that no signal has ended
        self._paused = False
        self._closed = False
        self._last: Reading | None = None

    @property
    def program(self) -> Path | None:
        """The file that is run, or `None` if there is none."""
        if self._configured:
            return self._configured if os.access(self._configured, os.X_OK) else None
        found = shutil.which("axcl-smi") or shutil.which("axcl-smi", path=PROGRAMS)
        return Path(found) if found else None

    @property
    def last(self) -> Reading | None:
        """The latest reading, however old."""
        return self._last

    def pause(self) -> None:
        """Start no more calls because a model is being loaded; wait for a call under way."""
        self._paused = True
        if self._calling.acquire(timeout=self._timeout):
            self._calling.release()

    def resume(self) -> None:
        """Allow calls again."""
        self._paused = False

    def close(self) -> None:
        """End the call under way, which then counts as hung, and start no more."""
        self._paused = self._closed = True

    def read(self, max_age: float = MAX_AGE) -> Reading | None:
        """Return a reading that is at most `max_age` seconds old.

        Takes up to twice the timeout.  Returns `None` while paused, unless the latest reading is
        young enough.
        """
        with self._calling:
            last = self._last
            if last and self._clock() - last.ended <= max_age:
                return last
            if self._paused:
                return None
            begun, result = self._clock(), self._call()
            for _ in range(BUSY_RETRIES):
                if not (isinstance(result, NoTable) and result.reason == "busy") or self._paused:
                    break
                time.sleep(BUSY_RETRY_DELAY)
                begun, result = self._clock(), self._call()
            self._last = Reading(result, begun, self._clock())
            return self._last

    def _call(self) -> Table | NoTable:
        if self._stuck and self._stuck.poll() is None:
            return NoTable("hung", f"an earlier call still hangs (pid {self._stuck.pid})")
        self._stuck = None
        program = self.program
        if program is None:
            where = f"at {self._configured}" if self._configured else f"on PATH or at {INSTALLED}"
            return NoTable("missing", f"there is no program axcl-smi {where}")
        try:
            process = subprocess.Popen(
                [str(program)],  # no -d: its meaning has changed, and it renumbers the cards
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=with_axcl(os.environ),
                start_new_session=True,
            )
        except OSError as error:
            return NoTable("missing", f"{program} cannot be run: {error.strerror}")
        output = self._output_of(process)
        if output is None:
            self._stop(process)
            return NoTable("hung", f"{program} did not answer in {self._timeout:g} s")
        if process.stdout:
            process.stdout.close()
        return read_table(output.decode(errors="replace"))

    def _output_of(self, process: subprocess.Popen[bytes]) -> bytes | None:
        """Return all the output of `process`, or `None` if it does not end in time."""
        if process.stdout is None:
            return b""
        fd, output, deadline = process.stdout.fileno(), b"", time.monotonic() + self._timeout
        readable = select.poll()  # select() stops at descriptor 1023, and clients may hold more
        readable.register(fd, select.POLLIN)
        while not self._closed and time.monotonic() < deadline and len(output) < _MAX_OUTPUT:
            ended = process.poll() is not None
            # A helper process that it left behind may keep the pipe open for ever.
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

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        # Killed at once, it can leave its single-instance lock behind.  Stuck in the driver, it may
        # not die at all; the next call then checks whether it has.
        for number, seconds in _STOP_LADDER:
            try:
                os.killpg(process.pid, number)
                process.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                continue
            except (ProcessLookupError, PermissionError):
                break
        else:
            log.warning("axcl-smi (pid %d) hangs in the driver and cannot be ended", process.pid)
            self._stuck = process
        if process.stdout:
            process.stdout.close()


def device_indices(device: str, result: Table | NoTable) -> str:
    """Return the value of the runtime's `--devices` for `AX650_DEVICE`.

    `auto` means the first card.  Where `axcl-smi` shows no card, that is 0, the only card of nearly
    every machine; the runtime itself reports an error if it does not exist.
    """
    if device != "auto":
        return device
    if isinstance(result, Table):
        return str(result.cards[0].index)
    return "0"
