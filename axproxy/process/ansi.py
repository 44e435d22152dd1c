"""Terminal colours, of which the vendor's program sets one on every line."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")  # colours, and whatever else moves a cursor


def plain(text: str) -> str:
    return _CONTROL.sub("", text)
