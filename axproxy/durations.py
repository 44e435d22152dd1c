"""Durations as Ollama writes them: `300`, `"5m"`, `"1h30m"`; `"-1"` means for ever."""

from __future__ import annotations

import math
import re

FOREVER = math.inf  # seconds

_UNIT = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([^0-9.]*)")


def parse_duration(text: str) -> float:
    """Return the seconds of a Go duration such as `1h30m`; a negative one means `FOREVER`.

    Raises `ValueError` in Go's own words, which Ollama's clients know.
    """
    sign, rest = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    if rest == "0":
        return 0.0
    seconds, position = 0.0, 0
    while position < len(rest) or not rest:
        part = _PART.match(rest, position)
        if part is None:
            raise ValueError(f'time: invalid duration "{text}"')
        if not part[2]:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if part[2] not in _UNIT:
            raise ValueError(f'time: unknown unit "{part[2]}" in duration "{text}"')
        seconds += float(part[1]) * _UNIT[part[2]]
        position = part.end()
    return FOREVER if sign == "-" and seconds > 0 else seconds


def parse_keep_alive(text: str) -> float:
    """Return the seconds of a setting: a bare number is in seconds, negative means `FOREVER`."""
    try:
        seconds = float(text)
    except ValueError:
        return parse_duration(text)
    if math.isnan(seconds):
        raise ValueError(f'time: invalid duration "{text}"')
    return FOREVER if seconds < 0 else seconds
