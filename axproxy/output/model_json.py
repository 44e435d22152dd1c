"""JSON as models write it: line breaks inside strings are accepted.

Numbers too large for a float, `NaN` and nesting that breaks recursive code are not.
"""

from __future__ import annotations

import json
import math
from typing import Any

DEEPEST = 100  # arrays and objects inside each other; code that gets the value may recurse

_BLANKS = " \t\r\n"
_TOO_DEEP = "it is nested too deeply"


def read(text: str) -> Any:
    """Return the one JSON value in `text`; blanks may surround it.  Raises `ValueError`."""
    value, end = read_at(text, len(text) - len(text.lstrip(_BLANKS)))
    if text[end:].strip(_BLANKS):
        raise ValueError("more follows")
    return value


def read_at(text: str, start: int) -> tuple[Any, int]:
    """Return the value that begins at `start`, and where it ends.  Raises `ValueError`."""
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    if too_deep(value):  # or code that checks or encodes it fails later
        raise ValueError(_TOO_DEEP)
    return value, end


def too_deep(value: Any) -> bool:
    """Return whether more than `DEEPEST` arrays and objects are inside each other.

    It does not recurse.
    """
    level = [value]
    for _ in range(DEEPEST + 1):
        containers = [item for item in level if isinstance(item, dict | list)]
        if not containers:
            return False
        level = [
            item
            for container in containers
            for item in (container.values() if isinstance(container, dict) else container)
        ]
    return True


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:40]} is too large")
    return number


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


_DECODER = json.JSONDecoder(strict=False, parse_float=_finite, parse_constant=_refused)
