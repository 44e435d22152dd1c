"""Words, sizes and bars for a terminal of 80 columns."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

_UNITS = ("B", "KB", "MB", "GB", "TB")  # decimal, as the `ollama` command shows sizes


def wants_colour(stream: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Return whether the stream is a terminal and NO_COLOR (no-color.org) is not set."""
    environ = os.environ if environ is None else environ
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def coloured(text: str, code: str, stream: TextIO | None = None) -> str:
    """Return the text in a colour of ECMA-48, where the stream (by default stdout) shows it."""
    return f"\x1b[{code}m{text}\x1b[0m" if wants_colour(stream or sys.stdout) else text


def size_text(size: float) -> str:
    """Return bytes as the `ollama` command does: `1.9 GB`, `523 MB`."""
    for unit in _UNITS:
        if size < 999.5 or unit == _UNITS[-1]:
            break
        size /= 1000
    return f"{size:.1f} {unit}" if size < 9.95 and unit != "B" else f"{size:.0f} {unit}"


def time_text(seconds: float) -> str:
    """Return a length of time in its two greatest units: `42 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = max(0, round(seconds))
    for unit, length, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= length:
            rest = whole % length // part
            return f"{whole // length} {unit}" + (f" {rest} {smaller}" if rest else "")
    if whole >= 60:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    return f"{whole} s"


def bar(percent: float, width: int = 20) -> str:
    """Return a bar of `width` characters between brackets."""
    full = round(max(0.0, min(100.0, percent)) / 100 * width)
    return f"[{'#' * full}{'.' * (width - full)}]"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows in columns; the first row is the header."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
