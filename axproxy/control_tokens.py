"""Keeps text from clients from becoming one of the model's control tokens.

A chat template writes control tokens (`<|im_start|>`) as plain text, so a user who types one would
forge a turn.  The service escapes text from clients before it goes into the template: it puts an
`ESCAPE` into every control token in the text, and our tokenizer splits there and drops it.  The
model then reads exactly the characters that were typed, but as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

# A Unicode noncharacter: valid in UTF-8 and JSON, and reserved for use inside one program.
ESCAPE = "\ufdd0"
REPLACEMENT = "\ufffd"

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_NEVER = r"(?!)"


@dataclass(frozen=True)
class ControlToken:
    """One entry of the model's list of added tokens.

    `special` is the model's own flag: true for turn markers, false for words such as `<think>`.
    """

    id: int
    text: str
    special: bool


def clean(text: str) -> str:
    """Return the text without characters that cannot be passed on.

    NUL is removed, because it ends the runtime's C strings.  An `ESCAPE` and a lone surrogate,
    which cannot be encoded, become U+FFFD.
    """
    return without_surrogates(text.replace("\0", "").replace(ESCAPE, REPLACEMENT))


def without_surrogates(text: str) -> str:
    """Return the text with U+FFFD for every lone surrogate, which UTF-8 cannot encode."""
    return _LONE_SURROGATE.sub(REPLACEMENT, text)


class Escaper:
    """Puts `ESCAPE` characters into text from clients, so that none of the `tokens` is left in it.

    That holds for the escaped text alone, next to another escaped text, and between pieces of a
    template that begin and end with whole control tokens.  Without the `ESCAPE` characters the
    result is `clean(text)`, except that a control token of a single character, which cannot be
    split, becomes U+FFFD.  Tokens are found leftmost and longest, as tokenizers find them.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        found = sorted({token for token in tokens if token}, key=lambda token: (-len(token), token))
        single = {token for token in found if len(token) == 1}
        whole = [token for token in found if len(token) > 1]
        # The end of the text may begin a token that the neighbour completes ...
        heads = {token[:cut] for token in whole for cut in range(1, len(token))} - single
        # ... and its beginning may extend the template's last token to a longer one.
        tails = {long[len(short) :] for short in found for long in whole if long.startswith(short)}
        tails.discard("")
        self._single = re.compile(_any_of(single))
        first = "".join(sorted({re.escape(token[0]) for token in whole}))
        # The class comes first because it is quick to fail at nearly every character.
        self._starts = re.compile(
            rf"(?=[{first}])(?=(?:{_any_of(whole)})|(?:{_any_of(heads)})\Z)." if first else _NEVER,
            flags=re.DOTALL,
        )
        self._extends = re.compile(
            rf"(?:{_any_of(tails)})|(?:{_any_of(_heads(tails))})\Z", flags=re.DOTALL
        )

    def __call__(self, text: str) -> str:
        """Return the escaped text."""
        text = self._single.sub(REPLACEMENT, clean(text))
        escaped = self._starts.sub(rf"\g<0>{ESCAPE}", text)
        return ESCAPE + escaped if self._extends.match(text) else escaped


def _heads(words: Iterable[str]) -> set[str]:
    return {word[:cut] for word in words for cut in range(1, len(word))}


def _any_of(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=lambda w: (-len(w), w))) or _NEVER
