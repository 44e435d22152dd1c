"""What the runtime's KV cache holds after an answer, and whether a prompt goes on from there.

Prefill is what takes time on these cards, and the vendor's program can go on where it stopped:
text that is sent without a reset is put behind the tokens that it has (observed on the vendor's
binary over hundreds of turns).  We do so only where the cache holds exactly what the prompt begins
with, character by character, and was filled by an answer that ended by itself.  A stopped answer
leaves holes in the cache, or another conversation's tokens.

One difference is allowed, because the templates make it: they leave the thinking of earlier
answers out of the history, while the cache has it, as well as the empty block that asks a model
not to think.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from axproxy.prompts.fitting import Prompt, Window
from axproxy.tokenizer.client import Trace

# At the end of a prompt: thinking is about to begin, or has been declared to be over.
_PRIMED = re.compile(r"<think>\s*(</think>\s*)?\Z")
_THOUGHT = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)
_REST_OF_THOUGHT = re.compile(r".*?</think>\s*", re.DOTALL)


@dataclass(frozen=True)
class CacheVersion:
    """A moment in the tokenizer's trace: its process, the resets and the runs that it has seen.

    While it stays the same, no request has changed the cache, and the runtime is the same process:
    a new one asks for a reset at its start.
    """

    epoch: str
    resets: int
    run: int

    @classmethod
    def of(cls, trace: Trace) -> CacheVersion:
        return cls(trace.epoch, trace.resets, trace.run)


@dataclass(frozen=True)
class Segment:
    """Text in the cache.  With `thought`, a template may leave it out of the history."""

    text: str
    thought: bool = False

    @property
    def secret(self) -> bool:
        """Whether it says more than that there is no thinking."""
        return self.text.replace("<think>", "").replace("</think>", "").strip() != ""


@dataclass(frozen=True)
class CachedPrompt:
    """The cache after an answer that ended by itself: all of its text, in `tokens` tokens.

    The token that ended the answer is not in it.  `client` is who was answered.
    """

    segments: tuple[Segment, ...]
    tokens: int
    version: CacheVersion
    client: str = ""

    def rest_of(self, prompt: str, turn_ends: Collection[str], client: str = "") -> str | None:
        """Return the part of `prompt` that the cache lacks, `None` where the prompt is another one.

        The part begins with one of `turn_ends`, the model's control tokens, so that no token
        reaches over the boundary.  Only the same client may leave thinking out: another one, who
        sends no more than the visible conversation, would get answers that know it.
        """
        at = 0
        for segment in self.segments:
            if prompt.startswith(segment.text, at):
                at += len(segment.text)
            elif not segment.thought or (segment.secret and client != self.client):
                return None
        rest = prompt[at:]
        return rest if rest.startswith(tuple(turn_ends)) else None

    @property
    def text(self) -> str:
        """All of the text in the cache."""
        return "".join(segment.text for segment in self.segments)


@dataclass(frozen=True)
class Continuation:
    """How to go on from `cached`: `rest` is what to send."""

    cached: CachedPrompt
    rest: Prompt

    @property
    def tokens(self) -> int:
        """Tokens of the whole prompt."""
        return self.cached.tokens + self.rest.tokens

    def fits(self, window: Window) -> bool:
        """Return whether the program accepts the rest.

        Beside a filled cache it reads whole chunks only, and a single token would overrun the group
        that it picks for it (observed on the binary).
        """
        room = (window.prefill_limit - self.cached.tokens) // window.prefill_chunk
        return 2 <= self.rest.tokens <= room * window.prefill_chunk

    def leaves_room(self, window: Window, prompt: Prompt, max_tokens: int | None) -> bool:
        """Return whether the answer may be as long as the request wants.

        Where the request sets no limit, it must be able to become about as long as after a reset
        with `prompt`.  Thinking that the template leaves out is still in the cache, and reading the
        prompt again costs less than an answer that is cut.
        """
        whole = window.room_for_answer(prompt.tokens)
        least = max_tokens if max_tokens is not None and max_tokens <= whole else whole * 3 // 4
        return window.room_for_answer(self.tokens) >= least


def cache_after(
    sent: Prompt | Continuation, reply: str, reply_tokens: int, version: CacheVersion
) -> CachedPrompt:
    """Return the cache after `reply` has ended by itself."""
    if isinstance(sent, Continuation):
        before, text = sent.cached.segments, sent.rest.text
    else:
        before, text = (), sent.text
    return CachedPrompt((*before, *_turn(text, reply)), sent.tokens + reply_tokens, version)


def _turn(prompt: str, reply: str) -> tuple[Segment, ...]:
    """Return one prompt and its answer as they lie in the cache, with the thinking set apart."""
    primed = _PRIMED.search(prompt)
    cut = primed.start() if primed else len(prompt)
    unfinished = primed is not None and primed[1] is None
    found = (_REST_OF_THOUGHT if unfinished else _THOUGHT).match(reply)
    thought = prompt[cut:] + (found[0] if found else "")
    if unfinished and not found:  # it never came to an answer
        return (Segment(prompt + reply),)
    rest = reply[found.end() :] if found else reply
    parts = (Segment(prompt[:cut]), Segment(thought, thought=True), Segment(rest))
    return tuple(part for part in parts if part.text)
