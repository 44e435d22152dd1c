"""Renders conversations for the vendor's tokenizer script, which takes one user's turn at a time.

The system prompt goes to its `/reset`.  The rest of the conversation is one text.  The script opens
a user's turn before it, adds `/no_think` and opens the assistant's turn after it.  Control tokens
in the text are live, so earlier turns are written into it in Qwen's own form.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import groupby, takewhile

from axproxy.control_tokens import REPLACEMENT, clean
from axproxy.errors import ClientError, ClientGone, PromptTooLong
from axproxy.messages import ChatRequest, Message, Truncation
from axproxy.output.thinking import CLOSE, split_thinking
from axproxy.prompts.fitting import Prompt, Window, fit
from axproxy.prompts.renderer import Gone, render_with_format, still_there

# Tokens that the script puts around a text, or fewer: turn markers, /no_think, the assistant's
# beginning.
FRAME = 16
BUILT_IN = 21  # tokens of the system prompt that the script uses where there is none

# NFC makes at most one character of so many, and sorts a run of accents in quadratic time.
LONGEST_SHORTENING, MOST_ACCENTS = 4, 30

# No estimate is this many times too high.  A text this long might also keep the script busy for the
# ten seconds after which the runtime crashes.
HOPELESS = 4

# Qwen's tokenizer takes words with the blank before them, digits one by one, runs of blanks and of
# line ends together.  English has more than four letters per token, rare words have fewer.
_PIECE = re.compile(r" ?[A-Za-z]{1,4}|[^\S\r\n]+|[\r\n]+|.", re.DOTALL)
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")  # emoji and the like: up to three tokens each

_LIVE = re.compile(r"<(?=[|\uff5c]|/?(?:think|tool_call|tool_response)>)")


def estimated_tokens(text: str) -> int:
    """Estimate the tokens of `text`, rather too many than too few.

    Measured with Qwen's own vocabulary, the estimate is 1.0 to 1.6 times the true number for
    English, German and code, and 1.1 to 2.6 times for other languages.  It is too low only for text
    in no language: 0.6 for base64, 0.5 for scripts that are hardly ever written.
    """
    return sum(1 for _ in _PIECE.finditer(text)) + 2 * len(_ASTRAL.findall(text))


def harmless(text: str) -> str:
    """Return the text without control tokens and without what the script does not survive.

    Control tokens get a blank after their `<`.  U+FFFD is removed: in a prompt it makes the script
    take every later text for half a character (read in the script).  NUL is removed, because it
    cuts the runtime's strings.
    """
    return _LIVE.sub("< ", clean(text).replace(REPLACEMENT, ""))


class VendorScriptRenderer:
    """Renders prompts for the vendor's script; their lengths are estimates.

    `end_tokens` and `turn_ends` are empty: they serve the trace, and the script has none.
    """

    end_tokens: frozenset[int] = frozenset()
    turn_ends: tuple[str, ...] = ()

    def render(self, request: ChatRequest, window: Window, gone: Gone = still_there) -> Prompt:
        """Return the request's prompt.

        Raises `PromptTooLong` where the prompt is too long beyond doubt.  Any other prompt that is
        too long is refused by the runtime, which survives it because the system prompt is in its
        cache.  Raises `ClientError` for what the script cannot do, and `ClientGone`.
        """
        if request.raw:
            raise ClientError(
                "the vendor's tokenizer script puts every prompt into a user's turn, so there is "
                "no raw mode; set AX650_TOKENIZER=builtin"
            )
        if request.context:
            raise ClientError(
                "the vendor's tokenizer script knows no context; use /api/chat, or set "
                "AX650_TOKENIZER=builtin"
            )
        return render_with_format(
            request, lambda messages, truncate: _render(messages, window, truncate, gone)
        )

    def beginning(self, _request: ChatRequest) -> None:
        """Return nothing: the script keeps nothing in the cache between requests."""


def _render(
    messages: Sequence[Message], window: Window, truncate: Truncation, gone: Gone
) -> Prompt:
    system, turns = _split_system(messages, window.prefill_limit)
    before = FRAME + estimated_tokens(system) if system else BUILT_IN
    # On top of a filled cache the program reads whole chunks only (observed on the binary).
    chunks = (window.prefill_limit - before) // window.prefill_chunk
    room = max(chunks, 0) * window.prefill_chunk

    def as_text(turns: Sequence[Message]) -> str:
        if gone():
            raise ClientGone
        return _as_text(turns)

    try:
        prompt = fit(
            turns,
            room,
            as_text,
            _count,
            truncate=truncate,
            cut_limit=min(room, window.longest_cut_prompt - before),
            at_least=_least,
        )
    except PromptTooLong as error:
        *earlier, last = turns
        if truncate != "nothing":
            earlier = [turn for turn in earlier if turn.role == "system"]
        kept = [*earlier, last]
        hopeless = HOPELESS * window.prefill_limit
        prompt = Prompt("", _least(kept))
        if prompt.tokens <= hopeless:
            text = _as_text(kept)
            prompt = Prompt(text, _count(text))
        if prompt.tokens > hopeless:
            raise PromptTooLong(
                f"the prompt is far longer than the {window.prefill_limit} tokens that this model "
                "reads; shorten the last message or the system prompt",
                prompt.tokens,
                window.prefill_limit,
            ) from error
    return Prompt(prompt.text, prompt.tokens + before, system)


def _count(text: str) -> int:
    return FRAME + estimated_tokens(text)


def _least(turns: Sequence[Message]) -> int:
    """Return fewer tokens than are estimated for the turns, without looking at each character.

    A piece is at most a blank and four letters; blanks may all be in one piece.
    """
    words = (
        turn.content.rpartition(CLOSE)[2] if turn.role == "assistant" else turn.content
        for turn in turns
    )
    return sum(len("".join(clean(text).replace(REPLACEMENT, "").split())) for text in words) // 4


def _split_system(messages: Sequence[Message], limit: int) -> tuple[str, Sequence[Message]]:
    """Return the system prompt at the beginning, and the turns after it.

    The runtime does not check the length at a reset, and more than `limit` tokens overrun the
    card's memory (observed on the binary).  So an estimate is not enough.  In NFC, the form that
    Qwen's tokenizer gives it first, a text has at most as many tokens as bytes; a longer system
    prompt stays among the turns.
    """
    leading = list(takewhile(lambda turn: turn.role == "system", messages))
    words = "\n\n".join(turn.content for turn in leading if turn.content)
    if len(words) > LONGEST_SHORTENING * limit or _longest_run_of_accents(words) > MOST_ACCENTS:
        return "", messages
    system = unicodedata.normalize("NFC", harmless(words))
    if len(leading) < len(messages) and len(system.encode()) + FRAME <= limit:
        return system, messages[len(leading) :]
    return "", messages


def _longest_run_of_accents(text: str) -> int:
    runs = groupby(text, key=lambda character: unicodedata.combining(character) > 0)
    return max((sum(1 for _ in run) for accents, run in runs if accents), default=0)


def _as_text(turns: Sequence[Message]) -> str:
    """Return the turns as one text that begins and ends inside a user's turn."""
    text, speaker = "", "user"
    for number, turn in enumerate(turns):
        role = turn.role if turn.role in ("system", "assistant") else "user"
        if number or role != speaker:
            text += _change_to(role)
        words = split_thinking(turn.content)[1] if role == "assistant" else turn.content
        text += harmless(words)
        speaker = role
    return text if speaker == "user" else text + _change_to("user")


def _change_to(role: str) -> str:
    return f"<|im_end|>\n<|im_start|>{role}\n"
