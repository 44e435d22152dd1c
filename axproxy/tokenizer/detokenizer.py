"""Turns token ids into text, also ids that arrive one by one.

Text is put together from the bytes of tokens, because a token may hold only a part of a character.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

# Takes the text of a token as the vocabulary has it, and returns its bytes.
Spelling = Callable[[str], bytes]

_SPACE = "\u2581"  # a space in SentencePiece vocabularies
_utf8 = codecs.getincrementaldecoder("utf-8")
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class UnknownDecoder(Exception):
    """The tokenizer's decoder is of a kind that is not supported."""


class IncrementalDetokenizer:
    """Turns token ids into text, in whole characters.

    However the ids are split into calls, the pieces and `finish()` join to the same text.  At most
    three bytes are held back.  `bytes_of` returns the bytes of one token.
    """

    def __init__(self, bytes_of: Callable[[int], bytes], *, drops_first_space: bool) -> None:
        self._bytes_of = bytes_of
        self._at_start = drops_first_space
        self._decoder = _utf8(errors="replace")

    def feed(self, ids: Iterable[int]) -> list[str]:
        """Return one piece of text per id; a character belongs to the token that completes it."""
        return [self._decoder.decode(self._without_first_space(id_)) for id_ in ids]

    def finish(self) -> str:
        """Return U+FFFD if the text ends inside a character, else nothing."""
        return self._decoder.decode(b"", final=True)

    def _without_first_space(self, token_id: int) -> bytes:
        spelled = self._bytes_of(token_id)
        if self._at_start and spelled:
            self._at_start = False
            return spelled.removeprefix(b" ")
        return spelled


def spelling(decoder: Mapping[str, Any] | None) -> tuple[Spelling, bool]:
    """Return how the vocabulary spells bytes, and whether the first space of a text is dropped.

    `decoder` is the entry of that name in a tokenizer.json.  Raises `UnknownDecoder`.
    """
    steps = _steps(decoder)
    kinds = [step.get("type") for step in steps]
    if kinds == ["ByteLevel"]:
        return byte_level, False
    if kinds == ["WordPiece"]:
        return wordpiece, True
    if not kinds or not all(_is_sentencepiece(step) for step in steps):
        raise UnknownDecoder(", ".join(str(kind) for kind in kinds) or "none")
    drops_space = any(
        step["type"] == "Strip"
        or (step["type"] == "Metaspace" and step.get("prepend_scheme") != "never")
        for step in steps
    )
    return sentencepiece if "ByteFallback" in kinds else _sentencepiece_words, drops_space


def byte_level(token: str) -> bytes:
    """Return the bytes of a token in GPT-2's spelling: one printable character for each byte.

    A token with any other character stands for itself.
    """
    try:
        return bytes(_BYTE_OF[character] for character in token)
    except KeyError:
        return token.encode()


def wordpiece(token: str) -> bytes:
    """Return the bytes of a token in BERT's spelling: `##` goes on with the word before it."""
    return token[2:].encode() if token.startswith("##") else f" {token}".encode()


def sentencepiece(token: str) -> bytes:
    """Return the bytes of a token in SentencePiece's spelling: `▁` is a space, `<0xE2>` a byte."""
    byte = _BYTE.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else _sentencepiece_words(token)


def _sentencepiece_words(token: str) -> bytes:
    return token.replace(_SPACE, " ").encode()


def _steps(decoder: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    if decoder is None:
        return []
    if decoder.get("type") == "Sequence":
        return [step for inner in decoder["decoders"] for step in _steps(inner)]
    return [decoder]


def _is_sentencepiece(step: Mapping[str, Any]) -> bool:
    match step:
        case {"type": "Replace", "pattern": {"String": pattern}, "content": " "}:
            return bool(pattern == _SPACE)
        case {"type": "Strip", "content": " ", "start": 1, "stop": 0}:
            return True
        case {"type": "Metaspace", "replacement": replacement}:
            return bool(replacement == _SPACE)
        case {"type": "ByteFallback" | "Fuse"}:
            return True
    return False


def _byte_level_alphabet() -> dict[str, int]:
    # Printable Latin-1 stands for itself; every other byte is a character from U+0100 on.
    themselves = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in set(themselves)]
    alphabet = {chr(byte): byte for byte in themselves}
    alphabet |= {chr(0x100 + place): byte for place, byte in enumerate(others)}
    return alphabet


_BYTE_OF = _byte_level_alphabet()
