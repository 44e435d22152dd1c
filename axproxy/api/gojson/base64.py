"""Where Go's strict base64 decoder stumbles: Ollama tells its clients the place."""

from __future__ import annotations

import re

_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_LINE_ENDS = re.compile(r"[\r\n]*")


def corrupt_at(text: str) -> int | None:
    """The byte, counted from 0, at which `text` stops being base64; `None` when it never does.

    Line ends are skipped wherever they are; the padding has to be there, and nothing after it.
    """
    letters = 0  # of the present group of four
    for at, char in enumerate(text):
        if char in "\r\n":
            continue
        if char == "=":
            return _corrupt_padding(text, at, letters)
        if char not in _ALPHABET:
            return at
        letters = (letters + 1) % 4
    return len(text) - letters if letters else None


def _corrupt_padding(text: str, at: int, letters: int) -> int | None:
    if letters < 2:
        return at
    end = _after_line_ends(text, at + 1)
    if letters == 2:  # one byte in two letters: a second sign is due
        if end == len(text):
            return end
        if text[end] != "=":
            return end - 1
        end = _after_line_ends(text, end + 1)
    return None if end == len(text) else end


def _after_line_ends(text: str, at: int) -> int:
    found = _LINE_ENDS.match(text, at)
    return found.end() if found else at
