"""The model's reasoning told apart from its answer, in text that comes in pieces.

Models of the Qwen3 and DeepSeek families write it between two tags before they answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from axproxy.messages import Text, Thinking
from axproxy.output.limits import unfinished

OPEN, CLOSE = "<think>", "</think>"

Said = Text | Thinking

_BLOCK = re.compile(rf"\s*{OPEN}\s*(.*?){CLOSE}\s*", re.DOTALL)


def split_thinking(content: str) -> tuple[str, str]:
    """The reasoning that a whole answer begins with, maybe none, and the rest."""
    if found := _BLOCK.match(content):
        return found[1], content[found.end() :]
    return "", content


class ThinkingParser:
    """Feed text, then `finish`; the events are the same however the text was cut.

    Blanks around the tags vanish, but for those before the closing one, as in Ollama; an empty
    block leaves nothing.  With `wanted` false nothing else is parsed: the text passes as it is.
    `inside` says that the prompt has opened the block already, which some models' templates always
    do; reasoning that is not `wanted` is then dropped, for the model cannot be kept from it.
    """

    def __init__(self, *, wanted: bool, inside: bool = False) -> None:
        self._wanted = wanted
        self._held = ""
        self._said: list[Said] = []
        # What the next text belongs to: a step takes what it can from `_held` and answers the step
        # that goes on with the rest, or None until more text has come.
        self._step: Callable[[], Any]
        if inside:
            self._step = self._reopening
        else:
            self._step = self._opening if wanted else self._perhaps_empty

    def feed(self, text: str) -> list[Said]:
        self._held += text
        while self._held and (step := self._step()):
            self._step = step
        return self._told()

    def finish(self) -> list[Said]:
        """What was held back, for there is no more."""
        if self._step in (self._thoughts, self._reopening):
            self._think(self._held)
        else:
            self._say(self._held)
        self._held = ""
        return self._told()

    def _opening(self) -> Any:
        text = self._held.lstrip()
        if text.startswith(OPEN):
            self._held = text[len(OPEN) :]
            return self._opened
        return None if OPEN.startswith(text) else self._content

    def _reopening(self) -> Any:
        """A model whose prompt has opened the block may open it once more."""
        self._held = self._held.lstrip()
        if self._held.startswith(OPEN):
            self._held = self._held[len(OPEN) :]
            return self._opened
        return None if OPEN.startswith(self._held) else self._thoughts

    def _perhaps_empty(self) -> Any:
        text = self._held.lstrip()
        if not text.startswith(OPEN):
            return None if OPEN.startswith(text) else self._content
        rest = text[len(OPEN) :].lstrip()
        if rest.startswith(CLOSE):
            self._held = rest[len(CLOSE) :]
            return self._closed
        return None if CLOSE.startswith(rest) else self._content

    def _opened(self) -> Any:
        self._held = self._held.lstrip()
        return self._thoughts if self._held else None

    def _thoughts(self) -> Any:
        thought, closed, rest = self._held.partition(CLOSE)
        if closed:
            self._think(thought)
            self._held = rest
            return self._closed
        safe = len(self._held) - unfinished(self._held, (CLOSE,))
        self._think(self._held[:safe])
        self._held = self._held[safe:]
        return None

    def _closed(self) -> Any:
        self._held = self._held.lstrip()
        return self._content if self._held else None

    def _content(self) -> Any:
        self._say(self._held)
        self._held = ""

    def _think(self, text: str) -> None:
        if text and self._wanted:
            self._said.append(Thinking(text))

    def _say(self, text: str) -> None:
        if text:
            self._said.append(Text(text))

    def _told(self) -> list[Said]:
        said, self._said = self._said, []
        return said
