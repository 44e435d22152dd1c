"""Reads a vocabulary in MNN's text form, as `axllm` models have it, into a compact table.

The first line is a magic number and the kind of the tokenizer, the second the number of special,
stop and prefix ids, the third these ids; then follow the tokens (AXERA-TECH/ax-llm, whose tokenizer
is MNN's).  As a dictionary 150,000 tokens would take over 20 MB of the service's memory; the table
takes 3.
"""

from __future__ import annotations

import base64
import binascii
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

_MAGIC = 430
LARGEST = 64 << 20  # bytes; the largest published file has 7 MB
MOST_TOKENS = 1 << 20
NO_RANK = 0xFFFFFFFF  # also of an empty slot


class VocabularyError(ValueError):
    """The file is no such vocabulary; the message says why and what to do."""


class Kind(IntEnum):
    """The kinds of tokenizers; the numbers are MNN's."""

    SENTENCEPIECE = 0
    TIKTOKEN = 1
    BERT = 2
    HUGGINGFACE = 3


class TokenTable:
    """Tokens by their bytes: one buffer, the places in it, and a hash table of ids."""

    def __init__(self, expected: int) -> None:
        self._bytes = bytearray()
        self._ends = array("I")
        size = 1 << (2 * expected + 1).bit_length()
        self._mask = size - 1
        self._slots = array("I", [NO_RANK]) * size
        self.longest = 1  # bytes

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, token_id: int) -> bytes:
        start = self._ends[token_id - 1] if token_id else 0
        return bytes(self._bytes[start : self._ends[token_id]])

    def add(self, token: bytes) -> None:
        """Add the token with the next id; of equal tokens the first counts."""
        slot = self._slot(token)
        if self._slots[slot] == NO_RANK:
            self._slots[slot] = len(self._ends)
        self._bytes += token
        self._ends.append(len(self._bytes))
        self.longest = max(self.longest, len(token))

    def find(self, token: bytes) -> int | None:
        """Return the token's id, `None` if there is no such token."""
        found = self._slots[self._slot(token)]
        return None if found == NO_RANK else found

    def _slot(self, token: bytes) -> int:
        slot, ends = hash(token) & self._mask, self._ends
        while (known := self._slots[slot]) != NO_RANK:
            start = ends[known - 1] if known else 0
            if self._bytes[start : ends[known]] == token:
                break
            slot = (slot + 1) & self._mask
        return slot


@dataclass(frozen=True)
class MnnVocabulary:
    """A vocabulary; `ranks` are the order of merges by id, `None` where it is that of the ids."""

    kind: Kind
    tokens: TokenTable
    special: tuple[int, ...]
    stop: tuple[int, ...]
    ranks: array[int] | None = None


def read_mnn_vocabulary(path: Path) -> MnnVocabulary:
    """Read the file.  Raises `VocabularyError` and `OSError`."""
    if path.stat().st_size > LARGEST:
        raise VocabularyError(f"{path} is too large for a vocabulary; download it again")
    with path.open("rb") as file:
        try:
            return _read(iter(file.readline, b""))
        except (ValueError, StopIteration, binascii.Error) as error:
            raise VocabularyError(
                f"{path} is not a vocabulary as axllm reads it ({error or 'it ends early'}); "
                "download it again"
            ) from error


def _read(lines: Iterator[bytes]) -> MnnVocabulary:
    magic, kind = _numbers(next(lines), 2)
    if magic != _MAGIC:
        raise ValueError("its first line is another one")
    special, stop, prefix = _numbers(next(lines), 3)
    ids = _numbers(next(lines), special + stop + prefix)
    sizes = _numbers(next(lines))
    if not 0 < len(sizes) <= 2 or not 0 <= sizes[0] <= MOST_TOKENS:
        raise ValueError("its number of tokens is wrong")
    tokens = TokenTable(sizes[0])
    decode = _DECODERS[Kind(kind)]
    for _ in range(sizes[0]):
        tokens.add(decode(next(lines).rstrip(b"\r\n")))
    ranks = None
    if Kind(kind) is Kind.HUGGINGFACE and len(sizes) == 2:
        ranks = _ranks(tokens, lines, sizes[1])
    return MnnVocabulary(Kind(kind), tokens, ids[:special], ids[special : special + stop], ranks)


def _ranks(tokens: TokenTable, lines: Iterator[bytes], merges: int) -> array[int]:
    ranks = array("I", [NO_RANK]) * len(tokens)
    for rank in range(min(merges, MOST_TOKENS)):
        first, _, second = next(lines).rstrip(b"\r\n").partition(b" ")
        merged = tokens.find(byte_level(first) + byte_level(second))
        if merged is not None and ranks[merged] == NO_RANK:
            ranks[merged] = rank
    return ranks


def _numbers(line: bytes, count: int | None = None) -> tuple[int, ...]:
    numbers = tuple(int(word) for word in line.split())
    if count is not None and len(numbers) != count:
        raise ValueError(f"{count} numbers are missing")
    return numbers


def _base64(line: bytes) -> bytes:
    return base64.b64decode(line, validate=True)


def _sentencepiece(line: bytes) -> bytes:
    # base64 of the piece, its score and its type
    return _base64(line.split(b" ", 1)[0]).replace("\u2581".encode(), b" ")


def byte_level(token: bytes) -> bytes:
    """Return the bytes of a token that is spelled as GPT-2 spells bytes, one character each."""
    try:
        return bytes(_BYTES[character] for character in token.decode())
    except (KeyError, UnicodeDecodeError):
        return token  # a control token, which stands for itself


def _spelled_bytes() -> dict[str, int]:
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(256 + at): byte for at, byte in enumerate(others)
    }


_BYTES = _spelled_bytes()
_DECODERS: dict[Kind, Callable[[bytes], bytes]] = {
    Kind.SENTENCEPIECE: _sentencepiece,
    Kind.TIKTOKEN: _base64,
    Kind.BERT: bytes,
    Kind.HUGGINGFACE: byte_level,
}
