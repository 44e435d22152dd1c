"""A tokenizer in this process, for a program that has its own inside: it only counts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain

from axproxy.control_tokens import ESCAPE, ControlToken
from axproxy.errors import ClientError
from axproxy.models.axllm_folder import AxllmFolder
from axproxy.prompts.chat_formats import ChatFormat
from axproxy.prompts.tokenizer import TokenizerInfo
from axproxy.tokenizer.byte_pairs import BytePairs
from axproxy.tokenizer.json_vocabulary import read_json_vocabulary
from axproxy.tokenizer.mnn_vocabulary import (
    MnnVocabulary,
    VocabularyError,
    read_mnn_vocabulary,
)

_TEXTS_REMEMBERED = 64  # mostly turns of conversations
_LONGEST_REMEMBERED = 1 << 16  # characters


class InProcessTokenizer:
    """Counts what a model's program reads, by the vocabulary in its folder.  Any thread.

    `exact` is as in `BytePairs`.  Raises `VocabularyError` and `OSError`.
    """

    def __init__(self, folder: AxllmFolder, chat_format: ChatFormat) -> None:
        vocabulary = _vocabulary_of(folder)
        self._pairs = BytePairs(vocabulary, folder.family)
        self.exact = self._pairs.exact
        self._info = _info(vocabulary, chat_format)
        texts = sorted((token.text for token in self._info.control_tokens), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, texts)) or r"(?!)")
        self._remembered = lru_cache(_TEXTS_REMEMBERED)(self._pairs.count)

    def info(self) -> TokenizerInfo:
        return self._info

    def count(self, text: str) -> int:
        """Return how many tokens the program makes of the text as `sendable` returns it."""
        control = self._control.findall(text)
        plain = self._control.split(text)
        return len(control) + sum(self._count_plain(sendable(part)) for part in plain if part)

    def truncated(self, text: str, tokens: int) -> str:
        """Return the longest beginning that has at most so many tokens, up to a few characters."""
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if self.count(text[:middle]) <= tokens:
                low = middle
            else:
                high = middle - 1
        return text[:low]

    def tokenize(self, _text: str) -> Sequence[int]:
        raise _no_tokens()

    def detokenize(self, _ids: Sequence[int]) -> str:
        raise _no_tokens()

    def _count_plain(self, text: str) -> int:
        short = len(text) <= _LONGEST_REMEMBERED
        return self._remembered(text) if short else self._pairs.count(text)


def _vocabulary_of(folder: AxllmFolder) -> MnnVocabulary:
    """Return the vocabulary of `tokenizer.json` where the folder has one with byte pairs."""
    if folder.tokenizer_json:
        with suppress(VocabularyError):
            return read_json_vocabulary(folder.tokenizer_json)
    return read_mnn_vocabulary(folder.vocabulary)


def sendable(text: str) -> str:
    """Return an escaped text as the program gets it.

    Its tokenizer makes a control token of the text of one in any message, and knows no escape.
    So a blank breaks what a client has typed in that form.
    """
    return text.replace(ESCAPE, " ")


def _no_tokens() -> ClientError:
    return ClientError("axllm reads messages, not tokens; leave context out and send messages")


def _info(vocabulary: MnnVocabulary, chat_format: ChatFormat) -> TokenizerInfo:
    known = [(token_id, _text(vocabulary, token_id)) for token_id in _ids(vocabulary)]
    control = {text: token_id for token_id, text in known if text.strip()}
    # The marks of the format are control tokens, whether the file says so or not.
    for text in chat_format.control_tokens:
        found = vocabulary.tokens.find(text.encode())
        control.setdefault(text, -1 if found is None else found)
    eos = chat_format.end_of_turn
    return TokenizerInfo(
        eos_id=control.get(eos, -1),
        eos_token=eos,
        bos_id=-1,
        bos_token=None,
        chat_template=chat_format.template,
        vocab_size=len(vocabulary.tokens),
        longest_token_bytes=vocabulary.tokens.longest,
        control_tokens=tuple(
            ControlToken(token_id, text, special=True) for text, token_id in control.items()
        ),
        epoch="",
    )


def _ids(vocabulary: MnnVocabulary) -> list[int]:
    named = dict.fromkeys(chain(vocabulary.special, vocabulary.stop))
    return [token_id for token_id in named if 0 <= token_id < len(vocabulary.tokens)]


def _text(vocabulary: MnnVocabulary, token_id: int) -> str:
    return vocabulary.tokens[token_id].decode(errors="replace")
