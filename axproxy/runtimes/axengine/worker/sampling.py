"""Chooses the next token: penalty, top-k, top-p, min-p, then temperature, in llama.cpp's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]
# Below it, and above, the arithmetic would leave the range of numbers.
COLDEST, HIGHEST_PENALTY = 1e-3, 1e3
PENALTY_WINDOW = 64  # tokens, as Ollama's repeat_last_n


@dataclass(frozen=True)
class SamplingValues:
    """With a `temperature` of 0 the most likely token is taken.  0 turns `top_k` off, 1 `top_p`.

    `min_p` is the least likelihood in relation to that of the most likely token.
    """

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    seed: int | None = None


class Sampler:
    """Draws the tokens of one answer; the same seed draws the same ones."""

    def __init__(self, values: SamplingValues) -> None:
        self._values = values
        self._random = np.random.default_rng(_entropy(values.seed))

    def next(self, logits: Logits, before: Sequence[int]) -> int:
        """Return a token for the logits [vocabulary]; `before` are the tokens so far.

        Raises `ArithmeticError` for logits that are no numbers.
        """
        values = self._values
        if not np.isfinite(logits.max()):  # NaN anywhere, an infinite one, or -inf everywhere
            raise ArithmeticError("the model's logits are no numbers")
        penalty = min(values.repeat_penalty, HIGHEST_PENALTY)
        scores = penalised(logits, before[-PENALTY_WINDOW:], penalty)
        if not values.temperature >= COLDEST:
            return int(np.argmax(scores))
        tokens = candidates(scores, values)
        likely = _softmax(scores[tokens] / values.temperature)
        return int(self._random.choice(tokens, p=likely))


def _entropy(seed: int | None) -> int | None:
    """Return what seeds the generator; Ollama's -1 means another answer each time."""
    return None if seed is None or seed < 0 else seed


def penalised(logits: Logits, recent: Sequence[int], penalty: float) -> npt.NDArray[np.float64]:
    """Return the logits with the `recent` tokens made less likely."""
    scores = logits.astype(np.float64)
    if penalty > 1.0 and recent:
        again = np.unique(np.asarray(recent))
        old = scores[again]
        scores[again] = np.where(old > 0, old / penalty, old * penalty)
    return scores


def candidates(scores: npt.NDArray[np.float64], values: SamplingValues) -> npt.NDArray[np.intp]:
    """Return the tokens that top-k, top-p and min-p leave, the most likely first."""
    most = values.top_k if 0 < values.top_k < scores.size else scores.size
    tokens = np.argpartition(-scores, most - 1)[:most]
    tokens = tokens[np.argsort(-scores[tokens], kind="stable")]
    likely = _softmax(scores[tokens])
    if values.top_p < 1:
        # Up to and with the first token that reaches top_p.
        kept = int(np.searchsorted(np.cumsum(likely), values.top_p)) + 1
        tokens, likely = tokens[:kept], likely[:kept]
    result: npt.NDArray[np.intp] = tokens[likely >= values.min_p * likely[0]]
    return result


def _softmax(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    grown = np.exp(scores - scores.max())
    result: npt.NDArray[np.float64] = grown / grown.sum()
    return result
