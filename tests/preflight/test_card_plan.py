"""Which models fit on the card together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from axproxy.health import CardHealth
from axproxy.models.model import Model
from axproxy.preflight.card_plan import FIRST_FACTOR, CardPlan, files_mb
from tests.support.fakes import QWEN
from tests.support.model_folders import sparse

MIB = 1024 * 1024


@pytest.fixture(name="models")
def models_of_sizes(tmp_path: Path) -> list[Model]:
    """Three models for axllm, of 1000, 2000 and 3000 MiB."""
    models = []
    for size in (1000, 2000, 3000):
        folder = tmp_path / str(size)
        folder.mkdir()
        sparse(folder / "layer.axmodel", size * MIB)
        sparse(folder / "embedding.bin", 700 * MIB)  # stays on the host
        models.append(replace(QWEN, name=str(size), folder=folder, runtime="axllm"))
    return models


def plan_with(card: CardHealth, loaded: list[Model], most: int = 0) -> CardPlan:
    plan = CardPlan(most)
    plan.follow(lambda: card, lambda: loaded)
    return plan


def test_only_what_goes_onto_the_card_counts(models: list[Model]) -> None:
    assert files_mb(models[0]) == 1000
    assert files_mb(replace(QWEN, folder=None)) == 0


def test_models_fit_together_while_the_card_has_memory(models: list[Model]) -> None:
    plan = plan_with(CardHealth(cmm_total_mb=7040), [])
    small, middle, large = models
    assert plan.fits([small, middle])  # 3000 * 1.7
    assert not plan.fits([middle, large])
    assert plan.fits([large])


def test_one_model_always_may_try(models: list[Model]) -> None:
    assert plan_with(CardHealth(cmm_total_mb=100), []).fits(models[:1])


def test_models_for_main_api_are_always_alone(models: list[Model]) -> None:
    plan = plan_with(CardHealth(cmm_total_mb=99_999), [])
    assert not plan.fits([models[0], replace(models[1], runtime="main_api")])


def test_what_a_load_has_really_taken_corrects_the_estimate(models: list[Model]) -> None:
    small, middle, _ = models
    plan = plan_with(CardHealth(cmm_total_mb=4000, cmm_used_mb=1100), [small])
    assert plan.fits([small, middle])  # 3000 * 1.1
    assert plan.factor == 1.1
    greedy = plan_with(CardHealth(cmm_total_mb=7040, cmm_used_mb=3000), [small])
    assert not greedy.fits([small, middle])
    assert greedy.factor == 3.0


def test_a_card_that_reports_nothing_holds_one_model_unless_the_owner_says_more(
    models: list[Model],
) -> None:
    assert not plan_with(CardHealth(), []).fits(models[:2])
    assert plan_with(CardHealth(), [], most=2).fits(models[:2])
    assert not plan_with(CardHealth(), [], most=2).fits(models)
    assert CardPlan(0).factor == FIRST_FACTOR
