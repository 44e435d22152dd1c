"""Keeps text from clients from becoming one of the model's control tokens.

A chat template writes control tokens (`<|im_start|>`) as plain text, so a user who types one would
forge a turn.  The service escapes text from clients before it goes into the template: it puts an
`ESCAPE` into every control token in the text, and our tokenizer splits there and drops it.  The
model then reads exactly the characters that were typed, but as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from dataclasses import dataclass
from itertools import pairwise

# A Unicode noncharacter: valid in UTF-8 and JSON, and reserved for use inside one program.
ESCAPE = "\ufdd0"
REPLACEMENT = "\ufffd"

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


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
        found = {token for token in tokens if token}
        single = {token for token in found if len(token) == 1}
        whole = {token for token in found if len(token) > 1}
        # The end of the text may begin a token that the neighbour completes ...
        self._heads = _heads(whole) - single
        # ... and its beginning may extend the template's last token to a longer one.
        tails = {
            token[cut:] for token in whole for cut in range(1, len(token)) if token[:cut] in found
        }
        self._tail_heads = _heads(tails)
        self._longest = max(map(len, whole), default=0)
        self._single = re.compile(_beginning(single))
        # A lookahead, because a token may begin inside another one.
        self._starts = re.compile(_first_of(whole), flags=re.DOTALL)
        self._tails = re.compile(_beginning(tails), flags=re.DOTALL)

    def __call__(self, text: str) -> str:
        """Return the escaped text, in time that grows with its length."""
        text = self._single.sub(REPLACEMENT, clean(text))
        places = {found.start() for found in self._starts.finditer(text)}
        # Only the last few characters can be the beginning of a token that the neighbour completes.
        last = range(max(len(text) - self._longest, 0), len(text))
        places.update(at for at in last if text[at:] in self._heads)
        extends = self._tails.match(text) or text in self._tail_heads
        cuts = [0, *(at + 1 for at in sorted(places)), len(text)]
        parts = [text[start:end] for start, end in pairwise(cuts)]
        return (ESCAPE if extends else "") + ESCAPE.join(parts)


def _heads(words: Iterable[str]) -> set[str]:
    return {word[:cut] for word in words for cut in range(1, len(word))}


_Tree = dict[str, "_Tree"]  # by the next character; empty where a word ends
_NEVER = r"(?!)"


def _first_of(words: Set[str]) -> str:
    """Return a pattern of the first character of any of the words, where the rest follows."""
    branches = [
        f"{re.escape(character)}(?={_pattern(rest)})" for character, rest in _tree(words).items()
    ]
    return "|".join(branches) or _NEVER


def _beginning(words: Set[str]) -> str:
    """Return a pattern that matches where one of the words begins."""
    return _pattern(_tree(words)) if words else _NEVER


def _tree(words: Set[str]) -> _Tree:
    """Return the words as a tree, without those that another one begins.

    Thousands of alternatives side by side would be tried one by one at every place.
    """
    root: _Tree = {}
    for word in words:
        if not any(word[:cut] in words for cut in range(1, len(word))):
            node = root
            for character in word:
                node = node.setdefault(character, {})
    return root


def _pattern(node: _Tree) -> str:
    parts = []
    while len(node) == 1:
        [(character, node)] = node.items()
        parts.append(re.escape(character))
    if node:
        branches = (re.escape(character) + _pattern(rest) for character, rest in node.items())
        parts.append(f"(?:{'|'.join(branches)})")
    return "".join(parts)
