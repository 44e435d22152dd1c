"""Records the runtime's latest run as the tokenizer sees it, for readers that wait for news.

The runtime's log and status are hints; its calls to the tokenizer are exact.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

from axproxy.tokenizer.decode_calls import DecodeCall, DecodeCalls
from axproxy.tokenizer.detokenizer import IncrementalDetokenizer


class RunTrace:
    """The trace of the latest run.  Safe for several threads.

    Every /encode, /decode and /reset makes a new version and wakes the readers.  `new_detokenizer`
    returns a detokenizer for the ids of one run.
    """

    def __init__(self, new_detokenizer: Callable[[], IncrementalDetokenizer]) -> None:
        self._new_detokenizer = new_detokenizer
        # guards everything below; held for microseconds, never while a text is encoded or sent
        self._changed = threading.Condition()
        self._version = 0
        self._starting = False
        self._resets = 0
        self._reset_tokens = 0
        self._run = 0
        # The process before this one may have answered the /encode of a run that still goes on.
        self._calls = DecodeCalls(0, "", from_start=False)
        self._detokenizer = new_detokenizer()
        self._pieces: list[str] = []
        self._dangling = ""
        self._faithful = True

    def started(self) -> None:
        """Record the first call of a new runtime process; a reset follows it."""
        with self._changed:
            self._starting = True

    def encoded(self, prompt_tokens: int, prompt_sha256: str) -> None:
        """Begin the trace of a run."""
        with self._changed:
            self._run += 1
            self._calls = DecodeCalls(prompt_tokens, prompt_sha256)
            self._detokenizer = self._new_detokenizer()
            self._pieces = []
            self._dangling = ""
            self._faithful = True
            self._notify()

    def decoded(self, ids: Sequence[int]) -> str:
        """Record a /decode call and return its text: what the ids add to the run's text.

        The final list of an answer, which has all of its ids, gets the whole text.  NUL is left
        out, here and in the trace, because it ends the runtime's C strings.
        """
        whole = self._new_detokenizer()
        decoded = whole.feed(ids)
        dangling = whole.finish()
        with self._changed:
            call = self._calls.decoded(ids)
            if call is DecodeCall.NEXT:
                decoded = self._detokenizer.feed(ids)
            self._faithful = self._faithful and not any(map(_LOSSY.search, decoded))
            pieces = [_without_nul(piece) for piece in decoded]
            if call is DecodeCall.NEXT:
                self._pieces.extend(pieces)
                self._dangling = dangling if self._calls.undecided else ""
                dangling = ""
            elif call is DecodeCall.FINAL:
                self._pieces, self._dangling = pieces, dangling
            self._notify()
        return "".join(pieces) + dangling

    def reset(self, tokens: int = 0) -> None:
        """Record a /reset: the runtime's cache now holds `tokens` tokens."""
        with self._changed:
            if not self._starting:
                self._calls.interrupted()
            self._starting = False
            self._resets += 1
            self._reset_tokens = tokens
            self._notify()

    def read(self, *, after: int, run: int, have: int, wait: float) -> dict[str, Any]:
        """Return the trace once its version is not `after`, at the latest after `wait` seconds.

        A reader that has the first `have` tokens of `run` gets only the later ones, unless another
        run has begun.  `dangling` is U+FFFD when an answer that is (or, if undecided, may be)
        complete ends inside a character; the pieces and `dangling` join to the whole text.
        `faithful` means that this text is everything that the ids mean.  `stopped`: if the run is
        over, something has stopped it, or it has reached the end of the window.  `disturbed`:
        another program has called the tokenizer as if it were the runtime.
        """
        with self._changed:
            # "Not equal" rather than "greater": `after` may come from the process before this one,
            # whose versions were higher.
            self._changed.wait_for(lambda: self._version != after, timeout=wait)
            sampled = self._calls.ids
            known = have if run == self._run and 0 <= have <= len(sampled) else 0
            return {
                "version": self._version,
                "resets": self._resets,
                "reset_tokens": self._reset_tokens,
                "run": self._run,
                "prompt_sha256": self._calls.prompt_sha256,
                "prompt_tokens": self._calls.prompt_tokens,
                "have": known,
                # There may be pieces of ids that are not certain yet.
                "tokens": list(zip(sampled[known:], self._pieces[known:], strict=False)),
                "dangling": self._dangling,
                "faithful": self._faithful and not self._dangling,
                "stopped": self._calls.stopped,
                "disturbed": self._calls.disturbed,
                "complete": self._calls.complete,
                "undecided": self._calls.undecided,
            }

    def _notify(self) -> None:
        self._version += 1
        self._changed.notify_all()


_LOSSY = re.compile("[\0\ufffd]")  # characters that are left out, or replace bytes that are no text


def _without_nul(piece: str) -> str:
    return piece.replace("\0", "")
