"""What the exit statuses of `axllm serve` mean (read in AXERA-TECH/ax-llm, src/main.cpp)."""

from __future__ import annotations

import signal

from axproxy.process.process import describe_exit

_MEANING = {
    0: "it was interrupted, or its port was taken while it loaded",
    11: "it cannot open /dev/axcl_host; is the driver loaded?",
    126: "the file is no program for this machine",
    127: "a shared library is missing; is /usr/lib/axcl in LD_LIBRARY_PATH?",
    129: "no card is connected",
    134: "it did not understand its command line",
    255: "its start-up failed",
    -signal.SIGABRT: "it did not understand its command line, or a library gave up",
    -signal.SIGSEGV: "it crashed",
    -signal.SIGKILL: (
        "by force, or by the kernel for want of memory; during a load that can wedge the card"
    ),
}


def describe_axllm_exit(status: int, fault: str | None) -> str:
    """Return how the program ended, with what that usually means, and the `fault` it logged."""
    ended = describe_exit(status)
    if fault:
        return f"{ended}: {fault}"
    meaning = _MEANING.get(status)
    return f"{ended} ({meaning})" if meaning else ended
