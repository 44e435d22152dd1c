"""Text from a client can never become one of the model's control tokens.

A chat template writes control tokens (`<|im_start|>`) as plain text, so a user who types one would
forge a turn.  The proxy shields what clients send before it goes into the template: a mark is set
into every control token it contains, and our tokenizer splits at the marks and drops them.  The
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
    """The text without what cannot be passed on: NUL is removed (it ends the runtime's C strings),
    a MARK or a lone surrogate (not encodable) becomes U+FFFD."""
    return without_surrogates(text.replace("\0", "").replace(ESCAPE, REPLACEMENT))


def without_surrogates(text: str) -> str:
    """The text with U+FFFD for every lone surrogate, which no encoding can carry."""
    return _LONE_SURROGATE.sub(REPLACEMENT, text)


class Escaper:
    """Sets MARKs into client text so that none of the `tokens` is in it any more.

    That holds for the shielded text alone, next to another shielded text, and between pieces of a
    template that begin and end with whole control tokens.  Without its MARKs the result is
    `clean(text)`; only a control token of a single character, which nothing can split, becomes
    U+FFFD.  Tokens are found leftmost and longest, as tokenizers do.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        found = sorted({token for token in tokens if token}, key=lambda token: (-len(token), token))
        single = {token for token in found if len(token) == 1}
        whole = [token for token in found if len(token) > 1]
        # The end of the text may begin a token that the neighbour completes ...
        heads = {token[:cut] for token in whole for cut in range(1, len(token))} - single
        # ... and its beginning may prolong the template's last token to a longer one.
        tails = {long[len(short) :] for short in found for long in whole if long.startswith(short)}
        tails.discard("")
        self._single = re.compile(_any_of(single))
        first = "".join(sorted({re.escape(token[0]) for token in whole}))
        # The class comes first because it is quick to fail at nearly every character.
        self._starts = re.compile(
            rf"(?=[{first}])(?=(?:{_any_of(whole)})|(?:{_any_of(heads)})\Z)." if first else _NEVER,
            flags=re.DOTALL,
        )
        self._prolongs = re.compile(
            rf"(?:{_any_of(tails)})|(?:{_any_of(_heads(tails))})\Z", flags=re.DOTALL
        )

    def __call__(self, text: str) -> str:
        """The shielded text."""
        text = self._single.sub(REPLACEMENT, clean(text))
        shielded = self._starts.sub(rf"\g<0>{ESCAPE}", text)
        return ESCAPE + shielded if self._prolongs.match(text) else shielded


def shield(text: str, tokens: Iterable[str]) -> str:
    """`Shield(tokens)(text)`, for a single text; keep the Shield when there are several."""
    return Escaper(tokens)(text)


def _heads(words: Iterable[str]) -> set[str]:
    return {word[:cut] for word in words for cut in range(1, len(word))}


def _any_of(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=lambda w: (-len(w), w))) or _NEVER
