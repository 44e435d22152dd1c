"""Text from token ids that arrive one after the other: whole characters, never half of one."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable

_utf8 = codecs.getincrementaldecoder("utf-8")


class TextStream:
    """Puts the bytes of tokens together to text.

    However the ids are split into calls, the pieces and `finish()` join to the same text.  At most
    three bytes are held back.  `bytes_of` gives the bytes of one token.
    """

    def __init__(self, bytes_of: Callable[[int], bytes], *, drops_first_space: bool) -> None:
        self._bytes_of = bytes_of
        self._at_start = drops_first_space
        self._decoder = _utf8(errors="replace")

    def feed(self, ids: Iterable[int]) -> list[str]:
        """One piece of text per id; a character belongs to the token that completes it."""
        return [self._decoder.decode(self._without_first_space(id_)) for id_ in ids]

    def finish(self) -> str:
        """U+FFFD if the text ends within a character, else nothing."""
        return self._decoder.decode(b"", final=True)

    def _without_first_space(self, token_id: int) -> bytes:
        spelled = self._bytes_of(token_id)
        if self._at_start and spelled:
            self._at_start = False
            return spelled.removeprefix(b" ")
        return spelled
