"""The decoder's tokens are those of a forward pass that shares no code with it.

The pass reads the whole text at once: no cache, no chunks, no groups, a mask made by hand.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

from tests.runtimes.axengine.test_decoder import (
    LAYOUTS,
    VOCABULARY,
    WINDOW,
    fake_axengine,
    folder_of,
    greedy,
    open_decoder,
)

__all__ = ["fake_axengine"]  # a fixture that acts by itself

PROMPTS = 60  # for each layout
ANSWER = 3  # tokens
Rows = npt.NDArray[np.float64]


class PlainModel:
    """The weights of a model's files, and one pass over all tokens."""

    def __init__(self, folder: Path) -> None:
        layers = [next(iter(folder.glob(f"*_l{at}_*")), None) for at in (0, 1)]
        stacked = next(iter(sorted(folder.glob("model*.axmodel"))), None)
        post = next(iter(folder.glob("*_post.axmodel")), None)
        self.layers = [drawn(path or stacked) for path in layers]
        self.normed_last = post is not None
        self.last = drawn(post or stacked)["logits"]
        path = next(folder.glob("*embed*"))
        hidden = len(self.last)
        table = np.load(path) if path.suffix == ".npy" else np.fromfile(path, ml_dtypes.bfloat16)
        self.table = rounded(table.reshape(-1, hidden))

    def next(self, ids: list[int]) -> int:
        rows = self.table[ids]
        for weights in self.layers:
            given = normed(rows)
            keys = rounded(turned(given @ weights["key"]))
            values = rounded(given @ weights["value"])
            scores = turned(given @ weights["query"]) @ keys.T / np.sqrt(keys.shape[1])
            scores[np.triu_indices(len(ids), 1)] = -np.inf
            grown = np.exp(scores - scores.max(axis=1, keepdims=True))
            rows = rows + grown / grown.sum(axis=1, keepdims=True) @ values @ weights["out"]
            rows = rounded(rows + np.tanh(normed(rows) @ weights["up"]) @ weights["down"])
        last = normed(rows[-1:]) if self.normed_last else rows[-1:]
        return int(np.argmax(last @ self.last))


def drawn(path: Path | None) -> dict[str, Rows]:
    assert path
    spec = json.loads(path.read_text())
    hidden, kv, vocabulary = spec["hidden"], spec["kv"], spec["vocabulary"]
    generator = np.random.default_rng(spec["seed"])
    shapes = {
        "query": (hidden, kv),
        "key": (hidden, kv),
        "value": (hidden, kv),
        "out": (kv, hidden),
        "up": (hidden, 2 * hidden),
        "down": (2 * hidden, hidden),
        "logits": (hidden, vocabulary),
    }
    return {
        name: generator.normal(size=shape) / np.sqrt(shape[0]) for name, shape in shapes.items()
    }


def rounded(rows: npt.NDArray[np.generic]) -> Rows:
    return rows.astype(ml_dtypes.bfloat16).astype(np.float64)


def normed(rows: Rows) -> Rows:
    return rows / np.sqrt((rows**2).mean(axis=-1, keepdims=True) + 1e-6)


def turned(rows: Rows) -> Rows:
    """Rotate pairs of values by their position, as complex numbers."""
    half = rows.shape[1] // 2
    angles = np.arange(len(rows))[:, None] / 100.0 ** (np.arange(half) / half)
    pairs = (rows[:, :half] + 1j * rows[:, half:]) * np.exp(1j * angles)
    return np.concatenate([pairs.real, pairs.imag], axis=1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tokens_are_those_of_a_plain_pass_over_the_whole_text(layout: str, tmp_path: Path) -> None:
    folder = folder_of(layout, tmp_path / "model")
    decoder, plain = open_decoder(folder), PlainModel(folder)
    chance = random.Random(1)  # noqa: S311 - it keeps no secret
    before: list[int] = []
    for _ in range(PROMPTS):
        length = chance.randint(1, WINDOW - ANSWER)
        ids = [chance.randrange(VOCABULARY) for _ in range(length)]
        if chance.random() < 0.4:  # a conversation goes on
            ids = (before + ids)[: WINDOW - ANSWER]
        expected = list(ids)
        for _ in range(ANSWER):
            expected.append(plain.next(expected))
        before = ids + greedy(decoder, ids, ANSWER)
        assert before == expected
