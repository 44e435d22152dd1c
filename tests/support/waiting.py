"""Waiting for a condition instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], seconds: float = 60.0) -> T:
    """The condition's first true value; fails the test when there is none in time.

    The time is there to end a test that would never end; a slow and crowded machine has enough.
    """
    deadline = time.monotonic() + seconds
    pause = 0.005
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        time.sleep(pause)
        pause = min(1.1 * pause, 0.03)  # asking takes time from those who are asked
    return value
