"""Finds out the shape of the embedding table: how many tokens it has, and values for each."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from axproxy.models.tokenizer_files import VOCABULARY

Shape = tuple[int, int]  # rows and columns

# Rows and columns of the embedding tables of the published models (their run_*.sh scripts).
ROWS = (151936, 152064)
COLUMNS = (896, 1024, 1536, 2048, 2560, 3584)
_COLUMNS_BY_NAME = {
    "qwen3-0.6b": 1024,
    "qwen3-1.7b": 2048,
    "qwen3-4b": 2560,
    "qwen2.5-0.5b": 896,
    "qwen2.5-1.5b": 1536,
    "qwen2.5-3b": 2048,
}
# Widths of language models are multiples of 32; few are outside of these.
_WIDTHS = range(256, 8193, 32)
_PADDING = 1.02  # tables have at most so many rows for each token of the vocabulary
_LARGEST_VOCABULARY = 64 << 20  # bytes of its file; published ones have 2 to 33 million


def table_shape(size: int, names: list[str], config: Path, tokenizer: Path | None) -> Shape | None:
    """Return rows and columns of a table of `size` bytes, `None` if they cannot be known.

    Its values are bfloat16, two bytes each.  What agrees with the size is believed: the folder's
    config.json, the published tables, and the number of tokens in the vocabulary.  The shape by the
    folder's `names` need not agree; the preflight reports that.
    """
    published = [(rows, columns) for rows in ROWS for columns in COLUMNS]
    for rows, columns in [*_shapes_in_config(config), *published]:
        if rows * columns * 2 == size:
            return rows, columns
    for rows in _vocabulary_sizes(tokenizer):
        columns, rest = divmod(size, 2 * rows)
        if not rest and columns in _WIDTHS:
            return rows, columns
    for start, columns in _COLUMNS_BY_NAME.items():
        if any(name.lower().startswith(start) for name in names):
            return ROWS[0], columns
    return None


def likely_columns(size: int, tokenizer: Path | None) -> list[int]:
    """Return the widths that a table of `size` bytes may have, given the model's vocabulary."""
    least = min(_vocabulary_sizes(tokenizer), default=0)
    if not least:
        return []
    return [
        columns
        for columns in _WIDTHS
        if size % (2 * columns) == 0 and least <= size // (2 * columns) <= least * _PADDING
    ]


def _shapes_in_config(config: Path) -> list[Shape]:
    try:
        stated = json.loads(config.read_text())
        keys = [("tokens_embed_num", "tokens_embed_size"), ("vocab_size", "hidden_size")]
        return [(int(stated[a]), int(stated[b])) for a, b in keys if a in stated and b in stated]
    except (OSError, ValueError, TypeError):  # the published folders have an empty config.json
        return []


def _vocabulary_sizes(tokenizer: Path | None) -> tuple[int, ...]:
    """Return how many tokens the vocabulary has, by each way of counting them."""
    if tokenizer is None:
        return ()
    file = tokenizer / VOCABULARY
    try:
        status = file.stat()
        return _counted(file, status.st_mtime_ns, status.st_size)
    except OSError:
        return ()


@functools.lru_cache(maxsize=8)  # reading one takes a small machine half a second
def _counted(file: Path, _modified: int, size: int) -> tuple[int, ...]:
    if size > _LARGEST_VOCABULARY:
        return ()
    try:
        content = json.loads(file.read_bytes())
        vocabulary = content["model"]["vocab"]
        own = set(vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary)))
        added = set(_added(content))
        numbers = {number for number in own | added if isinstance(number, int)}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ()
    counts = (max(numbers, default=-1) + 1, len(numbers), len(own))
    return tuple(count for count in dict.fromkeys(counts) if count > 0)


def _added(content: dict[str, Any]) -> Iterator[Any]:
    for entry in content.get("added_tokens") or ():
        yield entry.get("id") if isinstance(entry, dict) else None
