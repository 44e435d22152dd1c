"""One child process: it has its own process group, its output is drained, it ends with us."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from axproxy.process.output import Listener, LogTail

_ERROR = re.compile(r"\[E\]\[|error while loading shared libraries")


class Process(Protocol):
    """What a supervisor needs of a process; tests use a fake."""

    pid: int

    def poll(self) -> int | None: ...

    def signal(self, number: signal.Signals) -> None: ...

    def last_words(self) -> list[str]: ...


class RealProcess:
    """A process of the operating system.

    Start it on a thread that lives as long as this program: the death signal below follows the
    *thread* that spawned the process (prctl(2), PR_SET_PDEATHSIG).  Raises `OSError` when the
    command cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: logging.Logger,
        listener: Listener | None = None,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        if shutil.which(command[0]) is None:  # setpriv's own message would not name it
            raise FileNotFoundError(f"{command[0]} is not there, or may not be executed")
        # On a terminal the vendor's program writes line by line.  On a pipe its "hit eos" lines
        # stay in its buffer until the next run, and are lost when it crashes.
        ours, theirs = os.openpty()
        try:
            self._popen = subprocess.Popen(
                [*die_with_parent(log), *command],
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                env=dict(environ) if environ is not None else None,
                cwd=cwd,
                process_group=0,
            )
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self.pid = self._popen.pid
        self._tail = LogTail(ours, log, listener)

    def poll(self) -> int | None:
        """Return the exit status once it has ended, negative for a signal; `None` while it runs."""
        if self._popen.returncode is None and self._popen.poll() is not None:
            self.signal(signal.SIGTERM)  # ends helpers that a wrapper script left behind
        return self._popen.returncode

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group; do nothing if it is gone."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return

    def last_words(self) -> list[str]:
        """Return the last lines of its output; wait up to two seconds for the end of it."""
        self._tail.join(timeout=2.0)
        return self._tail.last_lines(100)  # a list of options has dozens of lines


def die_with_parent(log: logging.Logger) -> list[str]:
    """Return a prefix for a command that must not outlive the thread that starts it."""
    # No preexec_fn: it is unsafe in a program with threads.
    if setpriv := shutil.which("setpriv"):
        return [setpriv, "--pdeathsig", "TERM", "--"]
    log.warning("setpriv is missing (apt install util-linux): a killed service leaves orphans")
    return []


def describe_exit(status: int) -> str:
    """Return how a process ended; `status` is that of `Popen.returncode`, negative for a signal."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def telling_line(lines: Sequence[str]) -> str:
    """Return that of a program's last lines which says why it ended.

    That is its first error line; the last line if it logs no errors as such.  Before a list of its
    options the vendor's program prints its complaint (observed on the binary).
    """
    for complaint, first, second in zip(lines, lines[1:], lines[2:], strict=False):
        if first.startswith("usage: ") and second == "options:":
            return complaint
    for line in lines:
        if error := _ERROR.search(line):  # a progress bar may be before it
            return line[error.start() :]
    return lines[-1] if lines else ""
