"""How the vendor's program dies: by a signal, without flushing, and without leaving a core file."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import sys
import time
from typing import NoReturn

# The vendor's HTTP thread has answered long before the worker gets anywhere near a crash; a Python
# thread may still be waiting for the interpreter's lock.
_LAST_WORDS = 0.05  # seconds


class CppException(Exception):
    """A C++ exception on its way up: a 500 on an HTTP thread, an abort anywhere else.

    `kind` is the class as the C++ runtime names it, `what` the text of what().
    """

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(what)
        self.kind = kind
        self.what = what


def prepare_to_crash() -> None:
    """Keep simulated crashes from leaving core files or Python tracebacks."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.disable()


def segfault() -> NoReturn:
    """Die by SIGSEGV, now; lines still buffered for stdout are lost."""
    time.sleep(_LAST_WORDS)
    os.kill(os.getpid(), signal.SIGSEGV)
    while True:  # the signal may be delivered to another thread of this process first
        time.sleep(1)


def abort(message: str) -> NoReturn:
    """Write `message` to stderr and die by SIGABRT; lines still buffered for stdout are lost."""
    time.sleep(_LAST_WORDS)
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
    os.abort()


def terminate(error: CppException) -> NoReturn:
    """Die as std::terminate does when nobody catches `error`."""
    abort(f"terminate called after throwing an instance of '{error.kind}'\n  what():  {error.what}")
