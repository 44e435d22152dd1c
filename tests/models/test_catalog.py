"""The catalogue of the one model that is configured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from axproxy.errors import UnknownModel
from axproxy.models.catalog import ModelCatalog
from tests.support.fakes import QWEN

CONFIGURED = replace(QWEN, context_length=None)


def test_the_model_is_found_listed_and_used_by_default() -> None:
    models = ModelCatalog(lambda: CONFIGURED)

    assert models.find("QWEN3:0.6b") == models.default() == CONFIGURED
    assert models.all() == [CONFIGURED]
    with pytest.raises(
        UnknownModel, match=r"^model ' other ' not found; this service has 'qwen3:0\.6b'$"
    ):
        models.find(" other ")


def test_the_context_length_is_known_once_the_runtime_has_reported_it() -> None:
    reported: list[int] = []
    models = ModelCatalog(
        lambda: CONFIGURED, context_length=lambda _model: reported[-1] if reported else None
    )
    assert models.default().context_length is None

    reported.append(2559)
    assert models.default().context_length == 2559
    assert models.find(QWEN.name).context_length == 2559
    assert models.all() == [QWEN]


def test_a_model_that_is_described_anew_keeps_its_first_name_too() -> None:
    described = [CONFIGURED]
    models = ModelCatalog(lambda: described[-1])
    described.append(replace(CONFIGURED, name="smollm:latest"))

    assert models.all() == [described[-1]]
    assert models.find("smollm") == models.find(QWEN.name) == described[-1]
