"""Fits a conversation into the window.

The oldest turns go, system prompt and last turn stay.  Where even these are too long, the middle of
the longest text may go, with a mark in its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from axproxy.errors import PromptTooLong
from axproxy.messages import Message, Truncation

CUT = "\n[... a part of this text is left out here, because the whole is too long ...]\n"
_LEAST_KEPT = 64  # characters of each text that is cut
_NEAR = 0.95  # of the limit: filling it up completely would only take more tries

Render = Callable[[Sequence[Message]], str]
Count = Callable[[str], int]


@dataclass(frozen=True)
class Window:
    """The numbers of tokens that a model can hold, as it was compiled.

    `context` (M) bounds prompt and answer together, `prefill_limit` (G) the prompt alone;
    `prefill_chunk` (C) is the number of tokens that the runtime reads at once.
    """

    context: int
    prefill_limit: int
    prefill_chunk: int = 128

    @property
    def longest_cut_prompt(self) -> int:
        """The length to which a text that is too long is cut: there must be room for an answer."""
        return min(self.prefill_limit, self.context * 3 // 4)

    def room_for_answer(self, prompt_tokens: int) -> int:
        """Return the length of the longest answer after a prompt on an empty KV cache.

        The vendor's program then ends the answer without a sign.
        """
        return self.context - prompt_tokens + 1


# The smallest window of any published build: nothing that fits it can harm a bigger one.
SMALLEST_WINDOW = Window(context=1023, prefill_limit=512)


def enforced_window(
    reported: Window | None,
    context: int | None,
    prefill_limit: int | None,
    chunk: int | None = None,
) -> Window:
    """Return the window to enforce, in tokens.

    `context` and `prefill_limit` are the operator's.  They can only make a window smaller that the
    program has `reported`: a prompt above its limit kills the vendor's program.  `chunk` is what
    the names of the model's files tell.
    """
    if reported is None:
        known = Window(
            context or SMALLEST_WINDOW.context,
            prefill_limit or SMALLEST_WINDOW.prefill_limit,
            chunk or SMALLEST_WINDOW.prefill_chunk,
        )
    else:
        known = Window(
            min(context or reported.context, reported.context),
            min(prefill_limit or reported.prefill_limit, reported.prefill_limit),
            reported.prefill_chunk,
        )
    return Window(known.context, min(known.prefill_limit, known.context), known.prefill_chunk)


@dataclass(frozen=True)
class Prompt:
    """Text for the runtime, and its length in tokens.

    `system` is the system prompt that the vendor's tokenizer script gets apart from the text; with
    the built-in tokenizer it is part of the text, and `system` is empty.
    """

    text: str
    tokens: int
    system: str = ""


def trim_target(tokens: int, window: Window) -> int:
    """Return the length to which a conversation of `tokens` is cut.

    A third of the window goes at once.  So the next turns keep the same beginning, and the KV cache
    still holds it.
    """
    # On top of a filled cache the program reads whole chunks only (observed on the binary).
    most = window.prefill_limit - window.prefill_chunk
    step = max(window.prefill_limit // 3, 1)
    return tokens - math.ceil((tokens - most) / step) * step


def fit(
    messages: Sequence[Message],
    limit: int,
    render: Render,
    count: Count,
    *,
    target: Callable[[int], int] = lambda tokens: tokens,
    truncate: Truncation = "turns",
    cut_limit: int | None = None,
    at_least: Callable[[Sequence[Message]], int] = lambda _messages: 0,
) -> Prompt:
    """Return the prompt of the longest ending of the conversation that has at most `limit` tokens.

    A conversation that must be cut is cut to at most `target(its tokens)`, if it has an ending that
    short.  `count` must be exact: one token above the limit kills the vendor's program on an empty
    cache (observed on the binary).  `at_least` is fast and never too high; what it finds too long
    is not rendered.

    With `truncate` "text", a last turn that is too long is cut in its middle, so that the whole
    prompt has at most `cut_limit` tokens.  Raises `PromptTooLong` for what is still too long.
    """

    def prompt(kept: Sequence[Message], most: int) -> Prompt:
        least = at_least(kept)
        if least > most:
            return Prompt("", least)
        text = render(kept)
        return Prompt(text, count(text))

    whole = prompt(messages, limit)
    if whole.tokens <= limit:
        return whole
    starts = [] if truncate == "nothing" else _starts(messages)
    endings = [partial(_ending, messages, start) for start in starts]
    # The shortest first: where that is too long, no other needs to be rendered.
    shortest = prompt(endings[-1](), limit) if endings else whole
    if shortest.tokens > limit:
        ending = endings[-1]() if endings else messages
        most = min(limit, cut_limit or limit)
        if truncate == "text" and (cut := _cut(ending, most, render, count)):
            return cut
        raise PromptTooLong(
            f"the prompt has at least {shortest.tokens} tokens and this model reads at most "
            f"{limit}; shorten the last message or the system prompt",
            shortest.tokens,
            limit,
        )

    def longest(most: int) -> Prompt | None:
        best = shortest if shortest.tokens <= most else None
        low, high = 0, len(endings) - 2
        while best and low <= high:
            middle = (low + high) // 2
            tried = prompt(endings[middle](), most)
            if tried.tokens <= most:
                best, high = tried, middle - 1
            else:
                low = middle + 1
        return best

    return longest(min(target(whole.tokens), limit)) or longest(limit) or shortest


def _starts(messages: Sequence[Message]) -> list[int]:
    """Return the places where a shortened conversation can begin, in order.

    Each is a user's turn where possible, because many templates insist on that.  A tool's result
    never stands alone, because without its question there is nothing to answer.
    """
    turns = [at for at, turn in enumerate(messages) if turn.role != "system"]
    alone = [at for at in turns[-1:] if messages[at].role != "tool"]
    return [at for at in turns[1:] if messages[at].role == "user" or at in alone]


def _ending(messages: Sequence[Message], start: int) -> list[Message]:
    """Return the turns from `start` on, and all system messages."""
    return [turn for at, turn in enumerate(messages) if turn.role == "system" or at >= start]


def _cut(messages: Sequence[Message], limit: int, render: Render, count: Count) -> Prompt | None:
    """Return the prompt with the longest texts cut to an equal length, `None` if that cannot help.

    Instructions are cut only where cutting the other texts is not enough.
    """
    others = [at for at, turn in enumerate(messages) if turn.role != "system"]
    for to_cut in (others, range(len(messages))):

        def prompt(most: int, to_cut: Sequence[int] = to_cut) -> Prompt:
            text = render(
                [
                    _shortened(turn, most) if at in to_cut else turn
                    for at, turn in enumerate(messages)
                ]
            )
            return Prompt(text, count(text))

        longest = max((len(messages[at].content) for at in to_cut), default=0)
        if longest > _LEAST_KEPT and (best := prompt(_LEAST_KEPT)).tokens <= limit:
            return _longest_cut(best, longest, limit, prompt)
    return None


def _longest_cut(best: Prompt, longest: int, limit: int, prompt: Callable[[int], Prompt]) -> Prompt:
    """Return the prompt whose texts keep about as many characters as fit.

    `best` keeps `_LEAST_KEPT` of them, and `longest` are too many.  The steps are even in the
    logarithm: a text of megabytes takes only a few more than one of kilobytes.
    """
    low, high = _LEAST_KEPT, longest
    while best.tokens < _NEAR * limit and high - low > 1 + low // 64:
        middle = max(low + 1, min(high - 1, math.isqrt(low * high)))
        tried = prompt(middle)
        if tried.tokens <= limit:
            best, low = tried, middle
        else:
            high = middle
    return best


def _shortened(turn: Message, most: int) -> Message:
    """Return the turn with at most `most` characters of its text, and a mark in their middle."""
    text = turn.content
    if len(text) <= most:
        return turn
    end = most // 2
    return replace(turn, content=text[: most - end] + CUT + text[len(text) - end :])
