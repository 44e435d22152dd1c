"""JSON as models write it: line breaks within strings are borne, numbers that no reader could take
are not."""

from __future__ import annotations

import json
import math
from typing import Any


def read(text: str) -> Any:
    """The value that the whole text is, but for blanks.  Raises `ValueError`."""
    try:
        return _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_at(text: str, start: int) -> tuple[Any, int]:
    """The value that begins at `start`, and where it ends.  Raises `ValueError`."""
    try:
        return _DECODER.raw_decode(text, start)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:40]} is too large")
    return number


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


_DECODER = json.JSONDecoder(strict=False, parse_float=_finite, parse_constant=_refused)
