"""Counts tokens in this process, for a program that has its tokenizer inside.

The pairs with the lowest rank are merged first, as tiktoken does it, within the words that the
family's pattern finds.  The patterns are those in the families' published tokenizers.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import lru_cache

import regex

from axproxy.tokenizer.mnn_vocabulary import NO_RANK, Kind, MnnVocabulary

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _REST
_QWEN_WITH_MARKS = (
    _CONTRACTIONS
    + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"
    + _REST
)
_LLAMA = _QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_PATTERNS = {
    "qwen2": _QWEN,
    "qwen2.5": _QWEN,
    "qwen3": _QWEN,
    "qwen3.5": _QWEN_WITH_MARKS,
    "deepseek": _QWEN,
    "llama": _LLAMA,
    "smollm": _GPT2,
}
_LONGEST_REMEMBERED = 48  # bytes of a word whose count is kept
_WORDS_REMEMBERED = 8192


class BytePairs:
    """Counts by one vocabulary; safe to use from several threads.

    `exact` says that the family's pattern is known and the vocabulary's kind is one of byte pairs;
    where it is not, the count is an estimate.
    """

    def __init__(self, vocabulary: MnnVocabulary, family: str) -> None:
        self._tokens = vocabulary.tokens
        self._ranks = vocabulary.ranks
        merges = vocabulary.kind in (Kind.TIKTOKEN, Kind.HUGGINGFACE)
        self.exact = merges and family in _PATTERNS
        self._words = regex.compile(_PATTERNS.get(family, _QWEN))
        self._count_word: Callable[[bytes], int] = self._merged if merges else self._longest_match
        self._remembered = lru_cache(_WORDS_REMEMBERED)(self._count_word)

    def count(self, text: str) -> int:
        """Return the number of tokens of a text without control tokens."""
        total = 0
        for word in self._words.findall(text):
            piece = word.encode(errors="replace")
            short = len(piece) <= _LONGEST_REMEMBERED
            total += self._remembered(piece) if short else self._count_word(piece)
        return total

    def _merged(self, word: bytes) -> int:
        """Return how many tokens are left of a word once no pair can be merged."""
        if len(word) < 2 or self._tokens.find(word) is not None:
            return 1
        # Each part is known by where it begins; `after` is where the next one does.
        after = list(range(1, len(word) + 1))
        before = list(range(-1, len(word) - 1))
        pairs = [pair for at in range(len(word) - 1) if (pair := self._pair(word, at, after))]
        heapq.heapify(pairs)
        parts = len(word)
        while pairs:
            _, at, end = heapq.heappop(pairs)
            middle = after[at] if after[at] > 0 else len(word)
            if middle >= len(word) or after[middle] != end:
                continue  # one of the two parts has been merged with another
            after[at] = end
            after[middle] = 0  # begins no part any more
            if end < len(word):
                before[end] = at
            parts -= 1
            for start in (at, before[at]):
                if start >= 0 and (pair := self._pair(word, start, after)):
                    heapq.heappush(pairs, pair)
        return parts

    def _pair(self, word: bytes, at: int, after: list[int]) -> tuple[int, int, int] | None:
        """Return rank, beginning and end of the part at `at` with the one after it."""
        middle = after[at]
        if middle >= len(word):
            return None
        end = after[middle]
        token = self._tokens.find(word[at:end])
        if token is None:
            return None
        rank = token if self._ranks is None else self._ranks[token]
        return None if rank == NO_RANK else (rank, at, end)

    def _longest_match(self, word: bytes) -> int:
        """Return how many tokens cover the word, the longest first; a byte is always one."""
        at = parts = 0
        while at < len(word):
            most = min(len(word) - at, self._tokens.longest)
            fits = (
                n for n in range(most, 1, -1) if self._tokens.find(word[at : at + n]) is not None
            )
            at += next(fits, 1)
            parts += 1
        return parts
