"""The model's vocabulary in MNN's text form, kind 1; merges pairs within the words of Qwen's."""

from __future__ import annotations

import base64
import re
from itertools import pairwise
from pathlib import Path

import regex

_WORDS = regex.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class Vocabulary:
    """Token ids of texts.  Control tokens in a text are live, also a client's."""

    def __init__(self, path: Path) -> None:
        """Raises `ValueError` and `OSError` for a file that is none."""
        lines = path.read_text().splitlines()
        if not lines or lines[0] != "430 1":
            raise ValueError("not a tiktoken vocabulary")
        special_count = int(lines[1].split()[0])
        special = [int(word) for word in lines[2].split()][:special_count]
        count = int(lines[3])
        self._tokens = [base64.b64decode(line) for line in lines[4 : 4 + count]]
        self._ids = {token: at for at, token in reversed(list(enumerate(self._tokens)))}
        texts = [self._tokens[at].decode() for at in special]
        self._control = re.compile(f"({'|'.join(map(re.escape, texts))})" if texts else r"(?!)")
        self._special = {self._tokens[at]: at for at in special}

    def encode(self, text: str) -> list[int]:
        """Return the ids of the text."""
        ids: list[int] = []
        for part in self._control.split(text):
            piece = part.encode(errors="replace")
            if piece in self._special:
                ids.append(self._special[piece])
            else:
                ids += self._words(piece)
        return ids

    def bytes_of(self, token: int) -> bytes:
        return self._tokens[token]

    def _words(self, piece: bytes) -> list[int]:
        words = _WORDS.findall(piece.decode())
        return [token for word in words for token in self._merged(word.encode())]

    def _merged(self, word: bytes) -> list[int]:
        parts = [bytes([byte]) for byte in word]
        while len(parts) > 1:
            pairs = [
                (self._ids[first + second], at)
                for at, (first, second) in enumerate(pairwise(parts))
                if first + second in self._ids
            ]
            if not pairs:
                break
            _, at = min(pairs)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return [self._ids[part] for part in parts]
