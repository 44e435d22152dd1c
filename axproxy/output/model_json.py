"""JSON as models write it: line breaks within strings are borne; numbers that no reader could take
and brackets without end are not."""

from __future__ import annotations

import json
import math
from typing import Any

from axproxy.output.json_depth import too_deep

_BLANKS = " \t\r\n"
_TOO_DEEP = "it is nested too deeply"


def read(text: str) -> Any:
    """The value that the whole text is, but for blanks.  Raises `ValueError`."""
    value, end = read_at(text, len(text) - len(text.lstrip(_BLANKS)))
    if text[end:].strip(_BLANKS):
        raise ValueError("more follows")
    return value


def read_at(text: str, start: int) -> tuple[Any, int]:
    """The value that begins at `start`, and where it ends.  Raises `ValueError`."""
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    if too_deep(value):  # or whoever checks it, or writes it again, fails where this did not
        raise ValueError(_TOO_DEEP)
    return value, end


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:40]} is too large")
    return number


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


_DECODER = json.JSONDecoder(strict=False, parse_float=_finite, parse_constant=_refused)
