"""What the exit statuses of the vendor's program mean."""

from __future__ import annotations

import signal

from axproxy.process.process import describe_exit

_ABORTED = "the tokenizer's answer lacked something, a layer file or an option is bad"
_CRASHED = "the tokenizer was unreachable, or a prompt was too long for the model"
_USAGE = 1
_OF_THE_CARD = (11, 129)
_KILLED = "by force, or by the kernel for want of memory; during a load that can wedge the card"

# Observed on the binary; 11 and 129 are the low bytes of AXCL error codes.  A shell in front of the
# program reports a signal as 128 + its number.
_MEANING = {
    0: "it was interrupted, or its port was taken",
    _USAGE: "it did not understand its command line",
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


def describe_runtime_exit(status: int, known: str | None = None) -> str:
    """Return how the program ended, with what that usually means, and the reason that is `known`.

    The statuses of a missing card or driver explain themselves.
    """
    meaning = _MEANING.get(status)
    if known and status == _USAGE:  # the dynamic loader ends it with the same status
        meaning, known = known, None
    ended = describe_exit(status) + (f" ({meaning})" if meaning else "")
    return f"{ended}; {known}" if known and status not in _OF_THE_CARD else ended
