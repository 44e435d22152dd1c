"""What the runtime is doing, as seen from the tokenizer: the latest run, for readers who wait.

The runtime's own log and status are hints; its calls to the tokenizer are exact.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

from axproxy.tokenizer.decode_calls import Call, DecodeCalls
from axproxy.tokenizer.detokenizer import IncrementalDetokenizer


class RunTrace:
    """The latest run.  Every /encode, /decode and /reset makes a new version and wakes readers.

    `new_stream` makes a decoder for the ids of one run.
    """

    def __init__(self, new_stream: Callable[[], IncrementalDetokenizer]) -> None:
        self._new_stream = new_stream
        # guards everything below; held for microseconds, never while a text is encoded or sent
        self._changed = threading.Condition()
        self._version = 0
        self._resets = 0
        self._reset_tokens = 0
        self._run = 0
        # A run may be under way whose /encode was answered by our predecessor.
        self._tally = DecodeCalls(0, "", from_start=False)
        self._stream = new_stream()
        self._pieces: list[str] = []
        self._dangling = ""
        self._faithful = True

    def encoded(self, prompt_tokens: int, prompt_sha256: str) -> None:
        """A run begins."""
        with self._changed:
            self._run += 1
            self._tally = DecodeCalls(prompt_tokens, prompt_sha256)
            self._stream = self._new_stream()
            self._pieces = []
            self._dangling = ""
            self._faithful = True
            self._tell()

    def decoded(self, ids: Sequence[int]) -> str:
        """The runtime asks for the text of ids; the answer is what they add to the run's text.  An
        answer's final list, which has all of its ids, gets the whole text.  NUL is left out, here
        and in the trace: it would cut the text in the runtime's C strings."""
        whole = self._new_stream()
        decoded = whole.feed(ids)
        dangling = whole.finish()
        with self._changed:
            call = self._tally.decoded(ids)
            if call is Call.NEXT:
                decoded = self._stream.feed(ids)
            self._faithful = self._faithful and not any(map(_LOSSY.search, decoded))
            pieces = [_without_nul(piece) for piece in decoded]
            if call is Call.NEXT:
                self._pieces.extend(pieces)
                self._dangling = dangling if self._tally.undecided else ""
                dangling = ""
            elif call is Call.FINAL:
                self._pieces, self._dangling = pieces, dangling
            self._tell()
        return "".join(pieces) + dangling

    def reset(self, tokens: int = 0) -> None:
        """The runtime forgets its conversation, and begins one with so many tokens."""
        with self._changed:
            self._resets += 1
            self._reset_tokens = tokens
            self._tell()

    def read(self, *, after: int, run: int, have: int, wait: float) -> dict[str, Any]:
        """The trace, as soon as its version is not `after`, at the latest after `wait` seconds.

        A reader who already has the first `have` tokens of `run` gets only the later ones, unless
        another run has begun.  `dangling` is U+FFFD when an answer that is (or, undecided, may be)
        complete ends within a character; the pieces and it join to the whole text.  `faithful` says
        that this text is all that the ids stand for, and that nobody has stopped the run.
        """
        with self._changed:
            # "Not", rather than "above": a version of our predecessor must not put a reader off.
            self._changed.wait_for(lambda: self._version != after, timeout=wait)
            sampled = self._tally.ids
            known = have if run == self._run and 0 <= have <= len(sampled) else 0
            return {
                "version": self._version,
                "resets": self._resets,
                "reset_tokens": self._reset_tokens,
                "run": self._run,
                "prompt_sha256": self._tally.prompt_sha256,
                "prompt_tokens": self._tally.prompt_tokens,
                "have": known,
                # There may be pieces of ids that are still undecided.
                "tokens": list(zip(sampled[known:], self._pieces[known:], strict=False)),
                "dangling": self._dangling,
                "faithful": self._faithful and not (self._dangling or self._tally.stopped),
                "complete": self._tally.complete,
                "undecided": self._tally.undecided,
            }

    def _tell(self) -> None:
        self._version += 1
        self._changed.notify_all()


_LOSSY = re.compile("[\0\ufffd]")  # what is left out, or stands for bytes that are no text


def _without_nul(piece: str) -> str:
    return piece.replace("\0", "")
