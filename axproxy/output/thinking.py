"""Separates thinking from the answer, in text that comes in pieces.

Models of the Qwen3 and DeepSeek families write their thinking between two tags, before the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from axproxy.messages import Text, Thinking
from axproxy.output.limits import unfinished

OPEN, CLOSE = "<think>", "</think>"


def split_thinking(content: str) -> tuple[str, str]:
    """Return the thinking at the beginning of a whole answer, maybe none, and the rest."""
    # No pattern does this: one that may take blanks in two places tries every way to share them.
    opened = content.lstrip()
    thinking, closed, rest = opened.removeprefix(OPEN).partition(CLOSE)
    if not (opened.startswith(OPEN) and closed):
        return "", content
    return thinking.lstrip(), rest.lstrip()


class ThinkingParser:
    """Turns text into events: call `feed` for each piece, then `finish`.

    The events are the same however the text was cut.  Blanks around the tags are dropped, except
    before the closing tag, as in Ollama; an empty block leaves nothing.  With `wanted` false only
    an empty block is parsed; all other text passes as it is.  `inside` means that the prompt has
    opened the block already, as some models' templates always do, `unasked` that the model may open
    it by itself; thinking that is not `wanted` is then dropped, because the model cannot be kept
    from it.
    """

    def __init__(self, *, wanted: bool, inside: bool = False, unasked: bool = False) -> None:
        self._wanted = wanted
        self._lead: list[str] = []  # read already, and text if no block begins after all
        self._held = ""
        self._events: list[Text | Thinking] = []
        # A step consumes what it can of `_held` and returns the step that takes the rest, or None
        # when it needs more text.
        self._step: Callable[[], Any]
        if inside:
            self._step = self._reopening
        else:
            self._step = self._opening if wanted or unasked else self._perhaps_empty

    def feed(self, text: str) -> list[Text | Thinking]:
        self._held += text
        while self._held and (step := self._step()):
            self._step = step
        return self._take_events()

    def finish(self) -> list[Text | Thinking]:
        """Return the events of the text held back; there is no more text."""
        if self._step in (self._thoughts, self._reopening):
            self._emit_thinking(self._held)
        else:
            self._content()
        self._held = ""
        return self._take_events()

    def _opening(self) -> Any:
        self._skip_blanks()
        if self._held.startswith(OPEN):
            self._held = self._held[len(OPEN) :]
            return self._opened
        return None if OPEN.startswith(self._held) else self._content

    def _reopening(self) -> Any:
        """A model whose prompt has opened the block may open it once more."""
        self._held = self._held.lstrip()
        if self._held.startswith(OPEN):
            self._held = self._held[len(OPEN) :]
            return self._opened
        return None if OPEN.startswith(self._held) else self._thoughts

    def _perhaps_empty(self) -> Any:
        self._skip_blanks()
        if self._held.startswith(OPEN):
            self._lead.append(OPEN)
            self._held = self._held[len(OPEN) :]
            return self._perhaps_closed
        return None if OPEN.startswith(self._held) else self._content

    def _perhaps_closed(self) -> Any:
        self._skip_blanks()
        if self._held.startswith(CLOSE):
            self._held = self._held[len(CLOSE) :]
            return self._closed
        return None if CLOSE.startswith(self._held) else self._content

    def _skip_blanks(self) -> None:
        # Blanks are read once: a model may send nothing else, one by one.
        text = self._held.lstrip()
        self._lead.append(self._held[: len(self._held) - len(text)])
        self._held = text

    def _opened(self) -> Any:
        self._lead = []
        self._held = self._held.lstrip()
        return self._thoughts if self._held else None

    def _thoughts(self) -> Any:
        thought, closed, rest = self._held.partition(CLOSE)
        if closed:
            self._emit_thinking(thought)
            self._held = rest
            return self._closed
        safe = len(self._held) - unfinished(self._held, (CLOSE,))
        self._emit_thinking(self._held[:safe])
        self._held = self._held[safe:]
        return None

    def _closed(self) -> Any:
        self._lead = []
        self._held = self._held.lstrip()
        return self._content if self._held else None

    def _content(self) -> Any:
        self._emit_text("".join(self._lead) + self._held)
        self._lead, self._held = [], ""

    def _emit_thinking(self, text: str) -> None:
        if text and self._wanted:
            self._events.append(Thinking(text))

    def _emit_text(self, text: str) -> None:
        if text:
            self._events.append(Text(text))

    def _take_events(self) -> list[Text | Thinking]:
        events, self._events = self._events, []
        return events
