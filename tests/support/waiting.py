"""Waiting for a condition instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], seconds: float = 60.0) -> T:
    """Return the condition's first true value; fail the test if there is none in time.

    The limit only ends tests that would never end; it is long enough for a slow and busy machine.
    """
    deadline = time.monotonic() + seconds
    pause = 0.005
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        time.sleep(pause)
        pause = min(1.2 * pause, 0.1)  # each check takes time from the checked program
    return value
