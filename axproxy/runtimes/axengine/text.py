"""Puts the text of an answer together from its tokens, as they come one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_LONGEST_WINDOW = 24  # tokens that are turned into text again with each new one
_KEPT = 4  # of them, when a new window begins
_HALF = "\ufffd"


class TokenText:
    """Turns tokens into text with a tokenizer that knows only how to turn a row of them into text.

    A token may hold a part of a character, and the blank before a word depends on what is before
    it.  So the text of the last few tokens is made twice, with and without the new one.
    """

    def __init__(self, detokenize: Callable[[Sequence[int]], str]) -> None:
        self._detokenize = detokenize
        self._window: list[int] = []
        self._known = ""

    def feed(self, token: int) -> str:
        """Return the whole characters that the token completes, `""` while there is none."""
        self._window.append(token)
        text = self._detokenize(self._window)
        if text.endswith(_HALF):
            return ""
        new = text[len(self._known) :]
        self._known = text
        if len(self._window) >= _LONGEST_WINDOW:
            self._window = self._window[-_KEPT:]
            self._known = self._detokenize(self._window)
        return new

    def finish(self) -> str:
        """Return what is left, with U+FFFD for half a character."""
        return self._detokenize(self._window)[len(self._known) :] if self._window else ""
