"""Ends an answer: at its token limit, before a stop string, or at a control token."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from axproxy.messages import FinishReason, Limits


@dataclass(frozen=True)
class Piece:
    """The text that one token adds; `""` while it is half a character.

    `tokens` is above 1 only where there is no exact count: a flush of the vendor's program then
    counts as its three tokens.
    """

    text: str
    token: int | None = None
    tokens: int = 1


def unfinished(text: str, words: Collection[str]) -> int:
    """Return how many characters at the end of `text` could still become one of the words."""
    length = 0
    for word in words:
        at = text.find(word[0], max(len(text) - len(word) + 1, 0))
        while 0 <= at < len(text) - length:
            if word.startswith(text[at:]):
                length = len(text) - at
                break
            at = text.find(word[0], at + 1)
    return length


class StopStrings:
    """Finds the first stop string in text that comes in pieces; no part of it is sent."""

    def __init__(self, stops: Collection[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.hit = False

    def feed(self, text: str) -> str:
        """Return the text that is safe to send now; nothing more once `hit`."""
        self._held += text
        # The stop string that is complete first counts, however the text was cut into pieces.
        found = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.hit = True
            return self._release(min(found)[1])
        return self._release(len(self._held) - unfinished(self._held, self._stops))

    def flush(self) -> str:
        """Return the text held back; the answer has ended without a stop string."""
        return "" if self.hit else self._release(len(self._held))

    def _release(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        return text


class AnswerLimits:
    """Cuts the pieces of a run down to the answer that the request asked for.

    `control_tokens` are ids that end the answer wherever they are sampled: the vendor's program
    does not check the first token, and knows only one of several end-of-text ids (observed on the
    binary).
    """

    def __init__(self, limits: Limits, control_tokens: Collection[int]) -> None:
        self._stops = StopStrings(limits.stop)
        self._most = limits.max_tokens
        self._control = control_tokens
        self.tokens = 0
        self.reason: FinishReason | None = None  # set once the answer is complete

    def feed(self, pieces: Collection[Piece]) -> str:
        """Return the text to send for these pieces; `reason` is set if they end the answer."""
        sent = []
        for piece in pieces:
            if self.reason:
                break
            if piece.token in self._control:
                self.reason = "stop"
                sent.append(self._stops.flush())
                break
            self.tokens += piece.tokens
            sent.append(self._stops.feed(piece.text))
            if self._stops.hit:
                self.reason = "stop"
            elif self._most is not None and self.tokens >= self._most:
                self.reason = "length"
                sent.append(self._stops.flush())
        return "".join(sent)

    def run_ended(self) -> str:
        """Return the text held back; the run has ended by itself."""
        self.reason = self.reason or "stop"
        return self._stops.flush()
