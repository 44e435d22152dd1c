"""The window of a model that has not been loaded yet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.models.catalog import ModelCatalog
from axproxy.models.context_length import FILE, ReportedContexts, context_in
from axproxy.models.derived import DerivedModels
from axproxy.models.model import ModelDefaults
from axproxy.models.store import RECORD, ModelStore
from axproxy.settings import Settings
from tests.support.model_folders import axllm_model, published_model

VENDOR = Settings(runtime="vendor")


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("Qwen3.5-0.8B-AX650-C128-P1152-CTX2047", 2047),
        ("Qwen3-VL-Embedding-2B-AX650-C128_P1280_CTX1407", 1407),
        ("Qwen3-VL-2B-Instruct-GPTQ-Int4-C256-P3584-CTX4095", 4095),
        ("Qwen3.5-4B-AX650-GPTQ-Int4-C512-P30k-CTX32k", 32767),
        ("MiniCPM5-1B-AX650-C256-P10K-CTX12K", 12287),
        ("Qwen2.5-0.5B-Instruct-CTX-Int8", None),
        ("qwen3-1.7b", None),
        ("ctx0", None),
        ("ctx999999k", None),
    ],
)
def test_the_names_of_builds_say_their_window(name: str, length: int | None) -> None:
    assert context_in("something", name) == length


@given(st.text())
def test_any_name_is_read(name: str) -> None:
    length = context_in(name)
    assert length is None or 1 < length <= 1_000_000


def test_the_window_is_known_before_a_load_for_both_programs(tmp_path: Path) -> None:
    axllm_model(tmp_path / "Qwen3.5-0.8B-AX650-C128-P1152-CTX2047")
    axllm_model(tmp_path / "house", model_name="AXERA-TECH/MiniCPM5-1B-C256-P10K-CTX12K")
    published_model(tmp_path / "qwen3-4b-CTX4095", flat=True)
    published_model(tmp_path / "qwen3-4b")
    found = {each.name: each.context_length for each in ModelStore(VENDOR, tmp_path).models()}
    assert found == {
        "Qwen3.5-0.8B-AX650-C128-P1152-CTX2047:latest": 2047,
        "house:latest": 12287,
        "qwen3-4b-CTX4095:latest": 4095,
        "qwen3-4b:latest": None,
    }


def test_the_setting_makes_the_window_smaller_and_never_larger(tmp_path: Path) -> None:
    axllm_model(tmp_path / "Qwen3.5-0.8B-CTX2047")
    for setting, length in ((1000, 1000), (9000, 2047)):
        settings = Settings(runtime="vendor", context_length=setting)
        (model,) = ModelStore(settings, tmp_path).models()
        assert model.context_length == length


@pytest.mark.parametrize(
    ("record", "length"),
    [
        (
            {
                "repository": "AXERA-TECH/Qwen3-0.6B",
                "revision": "9bd240869b5ec6f28964a635cd421a80fcad9dc8",
            },
            2559,
        ),
        ({"repository": "AXERA-TECH/Qwen3-0.6B", "revision": "main"}, None),
        ({"repository": "me/house-CTX8K", "revision": "main"}, 8191),
    ],
)
def test_a_pulled_build_has_the_window_that_the_table_or_its_repository_says(
    tmp_path: Path, record: dict[str, str], length: int | None
) -> None:
    folder = axllm_model(tmp_path / "pulled")
    (folder / RECORD).write_text(json.dumps(record))
    (model,) = ModelStore(VENDOR, tmp_path).models()
    assert model.context_length == length


def test_what_a_runtime_has_reported_is_known_after_a_restart(tmp_path: Path) -> None:
    axllm_model(tmp_path / "house-CTX2047")
    reported: list[int] = [1535]

    def catalog() -> ModelCatalog:
        return ModelCatalog(
            None,
            ModelStore(VENDOR, tmp_path),
            DerivedModels(tmp_path),
            context_length=lambda _model: reported[-1] if reported else None,
            contexts=ReportedContexts(tmp_path),
        )

    before = catalog()
    before.create("copy:latest", before.default(), ModelDefaults(), copy=True)
    assert [each.context_length for each in before.all()] == [1535, 1535]
    written = (tmp_path / FILE).stat().st_mtime_ns
    before.all()
    assert (tmp_path / FILE).stat().st_mtime_ns == written  # only what is new is written

    reported.clear()
    assert [each.context_length for each in catalog().all()] == [1535, 1535]


@given(
    st.binary()
    | st.dictionaries(st.text(), st.integers() | st.none() | st.booleans()).map(
        lambda entries: json.dumps(entries).encode()
    )
)
def test_a_damaged_file_is_made_anew(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    place = tmp_path_factory.mktemp("store")
    (place / FILE).write_bytes(content)
    contexts = ReportedContexts(place)
    contexts.note("ab" * 32, 2559)
    assert ReportedContexts(place).get("ab" * 32) == 2559


def test_a_store_that_cannot_be_written_still_knows_what_was_reported(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    contexts = ReportedContexts(tmp_path / "store")
    contexts.note("ab" * 32, 2559)
    assert contexts.get("ab" * 32) == 2559


def test_no_file_of_this_kind_is_a_model(tmp_path: Path) -> None:
    ReportedContexts(tmp_path).note("ab" * 32, 2559)
    entries: list[Any] = list(ModelStore(VENDOR, tmp_path).folders())
    assert entries == []
