"""Making a conversation fit: the oldest turns go, the system's words and the last turn stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from axproxy.errors import PromptTooLong
from axproxy.messages import Message


@dataclass(frozen=True)
class Prompt:
    """Text for the runtime, and its length in tokens.  `system` is what the vendor's tokenizer
    script is told before it; with our own tokenizer that is in the text."""

    text: str
    tokens: int
    system: str = ""


def fit(
    messages: Sequence[Message],
    limit: int,
    render: Callable[[Sequence[Message]], str],
    count: Callable[[str], int],
) -> Prompt:
    """The longest ending of the conversation whose prompt has at most `limit` tokens.

    One more than the limit kills the vendor's program on an empty cache (observed on the binary),
    so `count` must be exact.  Raises `PromptTooLong` when even the last message alone is too long.
    """

    def prompt(kept: Sequence[Message]) -> Prompt:
        text = render(kept)
        return Prompt(text, count(text))

    shortest = prompt(messages)
    if shortest.tokens <= limit:
        return shortest
    starts = _starts(messages)
    best, low, high = None, 0, len(starts) - 1
    while low <= high:
        middle = (low + high) // 2
        shortest = prompt(_ending(messages, starts[middle]))
        if shortest.tokens <= limit:
            best, high = shortest, middle - 1
        else:
            low = middle + 1
    if best:
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
