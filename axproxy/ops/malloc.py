"""Hints to glibc that keep the C library's heap small.

Other C libraries have no such hints; then nothing happens.
"""

from __future__ import annotations

import ctypes

_ARENA_MAX = -8  # M_ARENA_MAX of <malloc.h>


def keep_one_arena() -> bool:
    """Let all threads share one heap from now on; return False where that is not possible.

    By default a thread that meets another one in `malloc` gets a heap of its own, up to eight per
    core, and free memory in one heap is of no use to the others.  Python's lock lets one thread at
    a time through anyway, so more heaps gain nothing.  MALLOC_ARENA_MAX in the environment would
    change the vendor's program, too.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_ARENA_MAX, 1))
    except AttributeError:
        return False


def trim_heap() -> bool:
    """Return free memory to the system; return False where that is not possible.

    After a vocabulary of 150,000 tokens has been read, as much memory is free as it takes itself.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:
        return False
    return True
