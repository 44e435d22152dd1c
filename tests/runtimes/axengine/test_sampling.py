"""Tokens are drawn as the values say, against a reference that is written out."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.runtimes.axengine.worker.sampling import (
    Sampler,
    SamplingValues,
    candidates,
    penalised,
)

LOGITS = st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=30, unique=True)


def reference(logits: list[float], values: SamplingValues) -> list[int]:
    """The tokens that may be drawn, the most likely first."""
    tokens = sorted(range(len(logits)), key=lambda token: -logits[token])
    if values.top_k > 0:
        tokens = tokens[: values.top_k]
    total = sum(math.exp(logits[token]) for token in tokens)
    likely = {token: math.exp(logits[token]) / total for token in tokens}
    if values.top_p < 1:
        kept, reached = [], 0.0
        for token in tokens:
            kept.append(token)
            reached += likely[token]
            if reached >= values.top_p:
                break
        tokens = kept
    return [token for token in tokens if likely[token] >= values.min_p * likely[tokens[0]]]


@given(LOGITS, st.integers(0, 40), st.floats(0.05, 1), st.floats(0, 0.9))
def test_the_candidates_are_those_of_the_reference(
    logits: list[float], top_k: int, top_p: float, min_p: float
) -> None:
    values = SamplingValues(top_k=top_k, top_p=top_p, min_p=min_p)
    found = candidates(np.array(logits, np.float64), values).tolist()
    expected = reference(logits, values)

    # A sum that meets top_p to the last bit may fall on either side of it.
    assert found[: len(expected)] == expected[: len(found)]
    assert abs(len(found) - len(expected)) <= 1


def test_a_token_is_drawn_as_often_as_it_is_likely() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    sampler = Sampler(SamplingValues(temperature=1.0, top_k=0, top_p=1.0, seed=3))
    drawn = Counter(sampler.next(logits, []) for _ in range(4000))

    for token, likely in enumerate([0.5, 0.3, 0.15, 0.05]):
        assert abs(drawn[token] / 4000 - likely) < 0.03


def test_a_low_temperature_sharpens_and_a_high_one_flattens() -> None:
    logits = np.array([1.0, 0.0], np.float32)

    def share(temperature: float) -> float:
        values = SamplingValues(temperature=temperature, top_k=0, top_p=1.0, seed=5)
        sampler = Sampler(values)
        return sum(sampler.next(logits, []) == 0 for _ in range(2000)) / 2000

    for temperature in (0.5, 1.0, 4.0):
        expected = 1 / (1 + math.exp(-1 / temperature))
        assert abs(share(temperature) - expected) < 0.04


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_without_a_temperature_the_most_likely_token_is_taken(temperature: float) -> None:
    sampler = Sampler(SamplingValues(temperature=temperature))
    assert {sampler.next(np.array([0.1, 3.0, 2.9], np.float32), []) for _ in range(20)} == {1}


def test_a_penalty_makes_recent_tokens_less_likely_whatever_their_sign() -> None:
    found = penalised(np.array([2.0, -2.0, 1.0], np.float32), [0, 1, 1], 2.0)
    assert found.tolist() == [1.0, -4.0, 1.0]


def test_only_the_last_64_tokens_are_penalised() -> None:
    sampler = Sampler(SamplingValues(temperature=0, repeat_penalty=10))
    logits = np.array([2.0, 1.0], np.float32)
    assert sampler.next(logits, [0] * 64) == 1
    assert sampler.next(logits, [0, *[1] * 64]) == 0


@given(
    LOGITS,
    st.floats(0, 1e308),
    st.integers(0, 2**40),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(-1e308, 1e308),
    st.integers(-(2**80), 2**80),
)
def test_no_values_of_a_client_make_the_sampler_fail(
    logits: list[float],
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    penalty: float,
    seed: int,
) -> None:
    values = SamplingValues(temperature, top_k, top_p, min_p, penalty, seed)
    token = Sampler(values).next(np.array(logits, np.float32), [0, 1, 1])
    assert 0 <= token < len(logits)


@pytest.mark.parametrize("logits", [[1.0, math.nan], [1.0, math.inf], [-math.inf, -math.inf]])
def test_logits_that_are_no_numbers_are_the_cards_fault(logits: list[float]) -> None:
    for temperature in (0.0, 1.0):
        with pytest.raises(ArithmeticError):
            Sampler(SamplingValues(temperature)).next(np.array(logits, np.float32), [])


def test_a_token_that_the_model_rules_out_is_never_drawn() -> None:
    logits = np.array([-math.inf, 1.0, -math.inf], np.float32)
    for temperature in (0.0, 1.0):
        assert Sampler(SamplingValues(temperature, repeat_penalty=2)).next(logits, [0]) == 1
