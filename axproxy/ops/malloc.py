"""The C library's heap, told to keep no more memory than is used.

glibc's hints, which other C libraries lack: there nothing happens.
"""

from __future__ import annotations

import ctypes

_ARENA_MAX = -8  # M_ARENA_MAX of <malloc.h>


def keep_one_arena() -> bool:
    """Has all threads share one heap from now on; whether that was possible.

    By default each thread that meets another one in `malloc` gets a heap of its own, up to eight
    per core, and what is free in one is of no use to the others.  Python's lock lets one thread at
    a time through anyway, so nothing is gained by that.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_ARENA_MAX, 1))
    except AttributeError:
        return False


def give_back() -> bool:
    """Returns what is free to the system; whether that was possible.

    Reading a vocabulary of 150 000 tokens leaves as much free memory behind as it needs itself.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:
        return False
    return True
