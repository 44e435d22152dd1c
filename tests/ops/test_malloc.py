"""The heap of the C library, measured in processes of their own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Four threads that are all inside malloc at once, which is where glibc makes new heaps.
CODE = """
import ctypes, sys, threading
from axproxy.ops import malloc as heap
if "one" in sys.argv:
    assert heap.keep_one_arena()
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
c.free.argtypes = [ctypes.c_void_p]
together = threading.Barrier(4)
def work():
    together.wait()
    held = [c.malloc(100) for _ in range(2000)]
    together.wait()
    for each in held:
        c.free(each)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = ctypes.CDLL(None).fopen
file.restype = ctypes.c_void_p
out = file(b"/dev/stdout", b"w")
c.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
c.malloc_info(0, out)
c.fflush.argtypes = [ctypes.c_void_p]
c.fflush(out)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc takes these hints")
def test_all_threads_can_share_one_heap() -> None:
    def heaps(*words: str) -> int:
        command = [sys.executable, "-c", CODE, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.count(
            "<heap nr="
        )

    assert heaps() > 1
    assert heaps("one") == 1
