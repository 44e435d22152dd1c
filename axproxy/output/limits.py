"""Where an answer ends: after so many tokens, before a stop string, at a control token."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from axproxy.messages import FinishReason, Limits


@dataclass(frozen=True)
class Piece:
    """What one token adds to the text; `""` while it is half a character.

    `tokens` is above 1 only where nobody has counted and the vendor's flush of three must do.
    """

    text: str
    token: int | None = None
    tokens: int = 1


def unfinished(text: str, words: Collection[str]) -> int:
    """How many characters at the end of `text` could still grow into one of the words."""
    longest = min(max((len(word) for word in words), default=1) - 1, len(text))
    for length in range(longest, 0, -1):
        end = text[-length:]
        if any(word.startswith(end) for word in words):
            return length
    return 0


class StopStrings:
    """Finds the first stop string in text that comes in pieces, without letting any of it out."""

    def __init__(self, stops: Collection[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.hit = False

    def feed(self, text: str) -> str:
        """The text that is safe to send now; nothing more once `hit`."""
        self._held += text
        # The one that is complete first counts, whatever the borders between the pieces.
        found = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.hit = True
            return self._let_go(min(found)[1])
        return self._let_go(len(self._held) - unfinished(self._held, self._stops))

    def flush(self) -> str:
        """What was held back, for the answer has ended without a stop string."""
        return "" if self.hit else self._let_go(len(self._held))

    def _let_go(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        return text


class AnswerLimits:
    """Cuts the pieces of a run down to the answer that was asked for.

    `control_tokens` end the answer wherever they are sampled: the vendor's program does not look
    at the first token, and knows one end-of-text id of several (observed on the binary).
    """

    def __init__(self, limits: Limits, control_tokens: Collection[int]) -> None:
        self._stops = StopStrings(limits.stop)
        self._most = limits.max_tokens
        self._control = control_tokens
        self.tokens = 0
        self.reason: FinishReason | None = None  # set once the answer is complete

    def feed(self, pieces: Collection[Piece]) -> str:
        """The text to send for these pieces; look at `reason` afterwards."""
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
        """The rest, for the run ended by itself."""
        self.reason = self.reason or "stop"
        return self._stops.flush()
