"""Makes text from clients, models and programs safe to show on a terminal and in the journal."""

from __future__ import annotations

import re

# Control characters but tab and line feed: C0, DEL and C1, among them the beginnings of escape
# sequences (ESC, CSI, OSC, DCS) and BEL.  Then what ends lines or turns the direction of writing
# in Unicode, invisible marks, and what cannot be written as UTF-8.
_UNSAFE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    r"\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    r"""Return `text` with each unsafe character as its escape in Python, such as `\x1b`.

    Tabs and line feeds stay.
    """
    return _UNSAFE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
