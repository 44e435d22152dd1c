"""Conversations for the vendor's tokenizer script, which knows one user's turn at a time.

The system's words go to its `/reset`.  The rest of the conversation is one text: the script opens a
user's turn in front of it, adds `/no_think` and opens the assistant's behind, and reads control
tokens in the text as what they are, so earlier turns are written into it in Qwen's own form.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import takewhile

from axproxy.control_tokens import REPLACEMENT, clean
from axproxy.errors import ClientError, PromptTooLong
from axproxy.messages import ChatRequest, Message
from axproxy.output.thinking import split_thinking
from axproxy.prompts.fitting import Prompt, Window, fit
from axproxy.prompts.renderer import with_format_instruction

# At least what the script puts around a text: marks of turns, /no_think, the assistant's beginning.
FRAME = 16
BUILT_IN = 21  # tokens of the system prompt that it uses where there is none

# An estimate this many times too high is none; and a text this long might keep the script busy for
# the ten seconds after which the runtime crashes.
HOPELESS = 4

# Qwen's tokenizer takes words with the blank before them, digits one by one, blanks and line ends
# together.  Four letters a token is below what English needs, and above what rare words do.
_PIECE = re.compile(r" ?[A-Za-z]{1,4}|[^\S\r\n]+|[\r\n]+|.", re.DOTALL)
_BEYOND = re.compile("[\U00010000-\U0010ffff]")  # emoji and the like: up to three tokens each

_LIVE = re.compile(r"<(?=\||/?(?:think|tool_call|tool_response)>)")


def estimated_tokens(text: str) -> int:
    """About as many tokens as `text` has, rather too many than too few.

    Against Qwen's own vocabulary it says 1.0 to 1.6 times the truth for English, German and code,
    1.1 to 2.6 for other languages, and too few only for what is no language: 0.6 for base64, 0.5
    for scripts that are hardly ever written.
    """
    return len(_PIECE.findall(text)) + 2 * len(_BEYOND.findall(text))


def harmless(text: str) -> str:
    """The text without anything that the script would not survive, or take for a control token.

    Those get a blank behind their `<`.  A U+FFFD in a prompt makes the script take every later text
    for half a character (read in the script), and NUL cuts the runtime's strings.
    """
    return _LIVE.sub("< ", clean(text).replace(REPLACEMENT, ""))


class VendorScriptRenderer:
    """Renders prompts for the vendor's script; their lengths are estimates.

    `end_tokens` and `turn_ends` are empty: they serve the trace, and the script has none.
    """

    end_tokens: frozenset[int] = frozenset()
    turn_ends: tuple[str, ...] = ()

    def render(self, request: ChatRequest, window: Window) -> Prompt:
        """The request's prompt.  Raises `PromptTooLong` where that is beyond doubt; whatever else
        is too long the runtime refuses, and lives, for the system's words are in its cache."""
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
        return with_format_instruction(request, lambda messages: _fitted(messages, window))

    def beginning(self, _request: ChatRequest) -> None:
        """Nothing is kept in the cache from one request to the next."""


def _fitted(messages: Sequence[Message], window: Window) -> Prompt:
    system, turns = _parted(messages, window.prefill_limit)
    before = FRAME + estimated_tokens(system) if system else BUILT_IN
    # Beside a filled cache the program reads whole chunks only (observed on the binary).
    chunks = (window.prefill_limit - before) // window.prefill_chunk
    room = max(chunks, 0) * window.prefill_chunk
    try:
        prompt = fit(turns, room, _written, _count)
    except PromptTooLong as error:
        *earlier, last = turns
        text = _written([*(turn for turn in earlier if turn.role == "system"), last])
        prompt = Prompt(text, _count(text))
        if prompt.tokens > HOPELESS * window.prefill_limit:
            raise PromptTooLong(
                f"the prompt is far longer than the {window.prefill_limit} tokens that this model "
                "reads; shorten the last message or the system prompt"
            ) from error
    return Prompt(prompt.text, prompt.tokens + before, system)


def _count(text: str) -> int:
    return FRAME + estimated_tokens(text)


def _parted(messages: Sequence[Message], limit: int) -> tuple[str, Sequence[Message]]:
    """The system's words at the beginning, and what follows.

    At a reset nobody checks a length, and more than `limit` tokens overrun the card's memory
    (observed on the binary).  So no estimate will do: in the form that Qwen's tokenizer gives it
    first, a text has at most as many tokens as bytes; a longer one stays among the turns.
    """
    leading = list(takewhile(lambda turn: turn.role == "system", messages))
    words = "\n\n".join(turn.content for turn in leading if turn.content)
    system = unicodedata.normalize("NFC", harmless(words))
    if len(leading) < len(messages) and len(system.encode()) + FRAME <= limit:
        return system, messages[len(leading) :]
    return "", messages


def _written(turns: Sequence[Message]) -> str:
    """The turns as one text that begins and ends within a user's turn."""
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
