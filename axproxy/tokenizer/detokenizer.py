"""The bytes a token stands for.

Text is put together from bytes, because a token may hold only a part of a character.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

# token text, as it stands in the vocabulary -> its bytes
Spelling = Callable[[str], bytes]

_SPACE = "\u2581"  # what SentencePiece vocabularies write for a space
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class UnknownDecoder(Exception):
    """The tokenizer puts text together in a way that is not known here."""


def spelling(decoder: Mapping[str, Any] | None) -> tuple[Spelling, bool]:
    """How the vocabulary spells bytes, and whether the first space of a text is dropped, from the
    `decoder` entry of a tokenizer.json.  Raises UnknownDecoder."""
    steps = _steps(decoder)
    kinds = [step.get("type") for step in steps]
    if kinds == ["ByteLevel"]:
        return byte_level, False
    if not kinds or not all(_is_sentencepiece(step) for step in steps):
        raise UnknownDecoder(", ".join(str(kind) for kind in kinds) or "none")
    drops_space = any(
        step["type"] == "Strip"
        or (step["type"] == "Metaspace" and step.get("prepend_scheme") != "never")
        for step in steps
    )
    return sentencepiece if "ByteFallback" in kinds else _sentencepiece_words, drops_space


def byte_level(token: str) -> bytes:
    """GPT-2's spelling: one printable character for each byte; anything else is meant literally."""
    try:
        return bytes(_BYTE_OF[character] for character in token)
    except KeyError:
        return token.encode()


def sentencepiece(token: str) -> bytes:
    """SentencePiece's spelling: `▁` for a space, `<0xE2>` for a byte."""
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
    # Printable Latin-1 stands for itself, every other byte for a character from U+0100 on.
    themselves = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in set(themselves)]
    alphabet = {chr(byte): byte for byte in themselves}
    alphabet |= {chr(0x100 + place): byte for place, byte in enumerate(others)}
    return alphabet


_BYTE_OF = _byte_level_alphabet()
