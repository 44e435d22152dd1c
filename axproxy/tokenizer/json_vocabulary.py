"""Reads a vocabulary from a `tokenizer.json`, into the same compact table as MNN's text form.

Only byte pairs are read, as Qwen, Llama and most others have them; for any other model the folder's
`tokenizer.txt` must do.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from axproxy.tokenizer.mnn_vocabulary import (
    LARGEST,
    MOST_TOKENS,
    NO_RANK,
    Kind,
    MnnVocabulary,
    TokenTable,
    VocabularyError,
    byte_level,
)


def read_json_vocabulary(path: Path) -> MnnVocabulary:
    """Read the file.  Raises `VocabularyError` and `OSError`."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("it is too large")
        content = json.loads(path.read_bytes())
        return _read(content["model"], content.get("added_tokens") or [])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise VocabularyError(
            f"{path} holds no byte pairs that can be read ({error}); download it again"
        ) from error


def _read(model: dict[str, Any], added: Sequence[dict[str, Any]]) -> MnnVocabulary:
    if model["type"] != "BPE":
        raise ValueError(f"its model is {model['type']}")
    by_id: dict[int, bytes] = {
        at: byte_level(token.encode()) for token, at in model["vocab"].items()
    }
    by_id |= {token["id"]: token["content"].encode() for token in added}
    count = max(by_id) + 1
    if not 0 < count <= MOST_TOKENS:
        raise ValueError("its number of tokens is wrong")
    tokens = TokenTable(count)
    for at in range(count):
        tokens.add(by_id.get(at, b""))
    special = tuple(token["id"] for token in added)  # all of them are found as they are
    return MnnVocabulary(Kind.HUGGINGFACE, tokens, special, (), _ranks(tokens, model["merges"]))


def _ranks(tokens: TokenTable, merges: Sequence[Any]) -> array[int]:
    ranks = array("I", [NO_RANK]) * len(tokens)
    for rank, pair in enumerate(merges):
        first, second = pair.split(" ", 1) if isinstance(pair, str) else pair
        merged = tokens.find(byte_level(first.encode()) + byte_level(second.encode()))
        if merged is not None and ranks[merged] == NO_RANK:
            ranks[merged] = rank
    return ranks
