"""Terminal colours, of which the vendor's program sets one on every line."""

from __future__ import annotations

import re

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def plain(text: str) -> str:
    return _COLOUR.sub("", text)
