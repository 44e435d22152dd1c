"""Making a conversation fit: the oldest turns go, the system's words and the last turn stay."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from axproxy.errors import PromptTooLong
from axproxy.messages import Message


@dataclass(frozen=True)
class Window:
    """How many tokens fit, compiled into the model.

    `context` (M) bounds prompt and answer together, `prefill_limit` (G) the prompt alone, and
    `prefill_chunk` (C) is the step in which a prompt is read.
    """

    context: int
    prefill_limit: int
    prefill_chunk: int = 128

    def room_for_answer(self, prompt_tokens: int) -> int:
        """The longest answer after a prompt on an empty cache; then the program just ends it."""
        return self.context - prompt_tokens + 1


@dataclass(frozen=True)
class Prompt:
    """Text for the runtime, and its length in tokens.  `system` is what the vendor's tokenizer
    script is told before it; with our own tokenizer that is in the text."""

    text: str
    tokens: int
    system: str = ""


def steady(tokens: int, window: Window) -> int:
    """To how many tokens one cuts a conversation of `tokens`, so that its next turns begin as this
    one does, and find that in the card's cache: a third of the window goes at once."""
    # Beside a filled cache the program reads whole chunks only (observed on the binary).
    most = window.prefill_limit - window.prefill_chunk
    step = max(window.prefill_limit // 3, 1)
    return tokens - math.ceil((tokens - most) / step) * step


def fit(
    messages: Sequence[Message],
    limit: int,
    render: Callable[[Sequence[Message]], str],
    count: Callable[[str], int],
    aim: Callable[[int], int] = lambda tokens: tokens,
) -> Prompt:
    """The longest ending of the conversation whose prompt has at most `limit` tokens.

    A conversation that must be cut is cut to what `aim` makes of its tokens, if it has so short an
    ending.  One more than the limit kills the vendor's program on an empty cache (observed on the
    binary), so `count` must be exact.  Raises `PromptTooLong` when even the last message alone is
    too long.
    """

    def prompt(kept: Sequence[Message]) -> Prompt:
        text = render(kept)
        return Prompt(text, count(text))

    whole = shortest = prompt(messages)
    if whole.tokens <= limit:
        return whole
    starts = _starts(messages)

    def longest(most: int) -> Prompt | None:
        nonlocal shortest
        best, low, high = None, 0, len(starts) - 1
        while low <= high:
            middle = (low + high) // 2
            shortest = prompt(_ending(messages, starts[middle]))
            if shortest.tokens <= most:
                best, high = shortest, middle - 1
            else:
                low = middle + 1
        return best

    if best := longest(min(aim(whole.tokens), limit)) or longest(limit):
        return best
    raise PromptTooLong(
        f"the prompt has at least {shortest.tokens} tokens and this model reads at most {limit}; "
        "shorten the last message or the system prompt"
    )


def _starts(messages: Sequence[Message]) -> list[int]:
    """Where the conversation can begin, ever later, with its oldest turns gone.

    Each is a user's turn where it can be, for many templates insist on that; but a tool's result
    never stands alone, for without its question there is nothing to answer.
    """
    turns = [at for at, turn in enumerate(messages) if turn.role != "system"]
    alone = [at for at in turns[-1:] if messages[at].role != "tool"]
    return [at for at in turns[1:] if messages[at].role == "user" or at in alone]


def _ending(messages: Sequence[Message], start: int) -> list[Message]:
    """From `start` on, with all that the system says."""
    return [turn for at, turn in enumerate(messages) if turn.role == "system" or at >= start]
