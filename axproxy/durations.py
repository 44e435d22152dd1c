"""Lengths of time as Ollama writes them: `300`, `"5m"`, `"1h30m"`, `"-1"` for ever."""

from __future__ import annotations

import math
import re

FOREVER = math.inf  # seconds

_UNIT = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


def parse_duration(text: str) -> float:
    """Seconds of a Go duration such as `1h30m`; negative ones mean `FOREVER`.

    Raises `ValueError` with Go's own wording, which Ollama's clients have seen before.
    """
    sign, rest = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    if rest == "0":
        return 0.0
    seconds, position = 0.0, 0
    for part in _PART.finditer(rest):
        if part.start() != position:
            break
        seconds += float(part[1]) * _UNIT[part[2]]
        position = part.end()
    if not rest or position != len(rest):
        if re.fullmatch(r"\d+\.?\d*|\.\d+", rest):
            raise ValueError(f'time: missing unit in duration "{text}"')
        raise ValueError(f'time: invalid duration "{text}"')
    return FOREVER if sign == "-" and seconds > 0 else seconds


def parse_keep_alive(text: str) -> float:
    """Seconds of an environment value: a bare number counts seconds, negative means `FOREVER`."""
    try:
        seconds = float(text)
    except ValueError:
        return parse_duration(text)
    if math.isnan(seconds):
        raise ValueError(f'time: invalid duration "{text}"')
    return FOREVER if seconds < 0 else seconds
