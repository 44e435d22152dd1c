"""How a process ended, in words."""

from __future__ import annotations

import signal
from collections.abc import Sequence

_ABORTED = "the tokenizer's answer lacked something, a layer file or an option is bad"
_CRASHED = "the tokenizer was unreachable, or a prompt was too long for the model"
_KILLED = "by force, or by the kernel for want of memory; during a load that can wedge the card"

# What the statuses of the vendor's program mean (observed on the binary; 11 and 129 are the low
# bytes of AXCL error codes).  A shell that stands in front of it gives 128 + signal instead.
_RUNTIME = {
    0: "it was interrupted, or its port was taken",
    1: "it did not understand its command line",
    11: "it cannot open /dev/axcl_host; is the driver loaded?",
    126: "the file is no program for this machine",
    127: "a shared library is missing; is /usr/lib/axcl in LD_LIBRARY_PATH?",
    129: "no card is connected",
    255: "its start-up failed: the tokenizer, a model file, or the device index",
    -signal.SIGABRT: _ABORTED,
    128 + signal.SIGABRT: _ABORTED,
    -signal.SIGSEGV: _CRASHED,
    128 + signal.SIGSEGV: _CRASHED,
    -signal.SIGKILL: _KILLED,
    128 + signal.SIGKILL: _KILLED,
    -signal.SIGTERM: "without unloading the model; the driver frees the card",
    128 + signal.SIGTERM: "without unloading the model; the driver frees the card",
}


def describe_exit(status: int) -> str:
    """`status` as `Popen.returncode` gives it: negative for a signal."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def describe_runtime_exit(status: int) -> str:
    """The same with what it usually means for the vendor's program."""
    meaning = _RUNTIME.get(status)
    return describe_exit(status) + (f" ({meaning})" if meaning else "")


def telling_line(lines: Sequence[str]) -> str:
    """The one of a program's last lines that says why it ended.

    That is the last, unless it is a manual: the vendor's program complains of its command line
    first, and then explains all of its options (observed on the binary).
    """
    for complaint, first, second in zip(lines, lines[1:], lines[2:], strict=False):
        if first.startswith("usage: ") and second == "options:":
            return complaint
    return lines[-1] if lines else ""
