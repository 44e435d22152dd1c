"""Checks that work grows with its input and no faster, on any machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

LARGEST = 1 << 18
_TOO_MUCH = 9  # times, for an input four times as long; quadratic work takes sixteen times as long
_NOISE = 0.03  # seconds that a busy machine adds


def assert_linear(
    make: Callable[[int], Any], work: Callable[[Any], object], largest: int = LARGEST
) -> None:
    """Work on inputs of growing length, up to `largest`; fail at the first that costs too much.

    `make` makes the input of that many characters; only `work` is measured, in CPU time.
    """
    before = 0.0
    for size in (largest >> 4, largest >> 2, largest):
        given = make(size)
        spent = _seconds(work, given)
        most = _TOO_MUCH * before + _NOISE
        if before and spent > most:  # look again before blaming the work
            spent = _seconds(work, given)
        assert not before or spent < most, (
            f"{size} characters took {spent:.3f} s, a quarter of them {before:.3f} s"
        )
        before = spent


def _seconds(work: Callable[[Any], object], given: Any) -> float:
    begun = time.process_time()
    work(given)
    return time.process_time() - begun


def repeated(text: str, *, before: str = "", after: str = "") -> Callable[[int], str]:
    """Return what makes a text of any length out of one that is repeated."""
    return lambda size: before + text * (size // len(text)) + after
