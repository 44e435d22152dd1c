"""Makes a tokenizer of any size; its tokens are invented, because only the size matters."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from axproxy.models.tokenizer_files import SMALL_TOKENIZER

LONGEST = 16  # characters of a token
SEED = 650


def write_folder(folder: Path, tokens: int) -> Path:
    """Write a tokenizer.json with about `tokens` tokens and the small tokenizer's settings.

    It is the small tokenizer with more merges of two known tokens each, the same random ones every
    time; the average token grows to the length that real vocabularies have.
    """
    content = json.loads((SMALL_TOKENIZER / "tokenizer.json").read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(
        json.dumps(_grown(content, tokens), ensure_ascii=False), encoding="utf-8"
    )
    config = (SMALL_TOKENIZER / "tokenizer_config.json").read_text(encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(config, encoding="utf-8")
    return folder


def _grown(content: dict[str, Any], tokens: int) -> dict[str, Any]:
    chance = random.Random(SEED)  # noqa: S311 - the same vocabulary each time, no secret
    model = content["model"]
    vocab: dict[str, int] = model["vocab"]
    added = content["added_tokens"]
    spellings = list(vocab)
    while len(spellings) + len(added) < tokens:
        left, right = chance.choice(spellings), chance.choice(spellings)
        if len(left + right) <= LONGEST and left + right not in vocab:
            vocab[left + right] = len(spellings)
            spellings.append(left + right)
            model["merges"].append(f"{left} {right}")
    for number, token in enumerate(added):
        token["id"] = len(spellings) + number
    return content
