"""How the vendor's program crashes: by a signal, without flushing, and here without a core file."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import sys
import time
from typing import NoReturn

# The vendor's HTTP thread has sent its response long before the worker crashes.  A Python thread
# may still be waiting for the interpreter's lock, so a crash waits for it.
_RESPONSE_DELAY = 0.05  # seconds


class CppException(Exception):
    """A C++ exception: a 500 on an HTTP thread, an abort anywhere else.

    `kind` is the class as the C++ runtime names it, `what` is the text of what().
    """

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(what)
        self.kind = kind
        self.what = what


def prepare_to_crash() -> None:
    """Keep simulated crashes from leaving core files and Python tracebacks."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.disable()


def segfault() -> NoReturn:
    """End this process by SIGSEGV; lines still buffered for stdout are lost."""
    time.sleep(_RESPONSE_DELAY)
    os.kill(os.getpid(), signal.SIGSEGV)
    while True:  # the signal may be delivered to another thread of this process first
        time.sleep(1)


def abort(message: str) -> NoReturn:
    """Write `message` to stderr and end by SIGABRT; lines still buffered for stdout are lost."""
    time.sleep(_RESPONSE_DELAY)
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
    os.abort()


def terminate(error: CppException) -> NoReturn:
    """End this process as std::terminate does for an uncaught `error`."""
    abort(f"terminate called after throwing an instance of '{error.kind}'\n  what():  {error.what}")
