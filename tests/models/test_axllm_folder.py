"""Folders as they are published for the vendor's `axllm`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from axproxy.models.axllm_folder import AxllmFolder, AxllmFolderError, family_of, is_for_axllm
from axproxy.models.runtime_choice import runtime_for
from axproxy.settings import Settings
from tests.support.model_folders import axllm_config, axllm_model, published_model


def test_a_published_folder_is_read_from_its_config(tmp_path: Path) -> None:
    model = AxllmFolder.read(axllm_model(tmp_path / "Qwen3-0.6B"))

    assert model.model_name == "AXERA-TECH/Qwen3-0.6B"
    assert model.family == "qwen3"
    assert [layer.name for layer in model.layer_files] == [
        "qwen3_p128_l0_together.axmodel",
        "qwen3_p128_l1_together.axmodel",
    ]
    assert (model.embedding_rows, model.embedding_columns) == (151936, 1024)
    assert model.vocabulary == tmp_path / "Qwen3-0.6B" / "qwen3_tokenizer.txt"
    assert model.tokenizer_json is None
    assert not model.is_embedding
    assert not model.sees
    assert model.bits == 8
    assert len(model.models) == 3


@pytest.mark.parametrize(
    ("changes", "is_embedding", "sees"),
    [
        ({"is_embedding": True}, True, False),
        ({"model_type": "embedding_gemma2"}, True, False),
        ({"vlm_type": "Qwen3VL"}, False, True),
        ({"filename_image_encoder_axmodel": "qwen3_post.axmodel"}, False, True),
    ],
)
def test_the_config_says_what_the_model_is_for(
    tmp_path: Path, changes: dict[str, object], is_embedding: bool, sees: bool
) -> None:
    model = AxllmFolder.read(axllm_model(tmp_path / "model", **changes))

    assert (model.is_embedding, model.sees) == (is_embedding, sees)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model_name": None}, "lacks model_name"),
        ({"model_name": 7}, "has a wrong model_name"),
        ({"axmodel_num": True}, "axmodel_num (a whole number above 0)"),
        ({"tokens_embed_num": 0}, "has a wrong tokens_embed_num"),
        ({"axmodel_num": 3}, "names qwen3_p128_l2_together.axmodel"),
        ({"template_filename_axmodel": "l%s.axmodel"}, "a name with one %d in it"),
        ({"template_filename_axmodel": "l%d_%d.axmodel"}, "a name with one %d in it"),
        ({"filename_post_axmodel": "./gone.axmodel"}, "which does not exist; download"),
        ({"url_tokenizer_model": "gone.txt"}, "names gone.txt as url_tokenizer_model"),
        ({"model_name": "AXERA-TECH/gemma-4-E2B-it"}, "nonsense on a card"),
    ],
)
def test_a_fault_of_the_config_is_a_sentence_with_the_key_and_the_next_step(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(AxllmFolderError) as caught:
        AxllmFolder.read(axllm_model(tmp_path / "model", **changes))

    assert complaint in str(caught.value)
    assert "; " in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 5000, b"\xff\xfe"])
def test_a_config_that_is_no_json_object_is_named(tmp_path: Path, content: bytes) -> None:
    folder = axllm_model(tmp_path / "model")
    (folder / "config.json").write_bytes(content)

    with pytest.raises(AxllmFolderError, match=r"config\.json is not .*; download it again"):
        AxllmFolder.read(folder)


def test_a_build_for_another_chip_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(AxllmFolderError, match="another chip, the AX620E"):
        AxllmFolder.read(axllm_model(tmp_path / "Qwen3-0.6B-AX620E"))


def test_the_folder_may_be_named_by_the_one_above_it(tmp_path: Path) -> None:
    folder = axllm_model(tmp_path / "clone" / "qwen3-ax650")
    axllm_model(tmp_path / "clone" / "qwen3-ax630c")

    assert AxllmFolder.read(tmp_path / "clone").folder == folder
    axllm_model(tmp_path / "clone" / "another")
    with pytest.raises(AxllmFolderError, match="holds the models another and qwen3-ax650"):
        AxllmFolder.read(tmp_path / "clone")


def test_a_name_beginning_with_a_dot_is_relative_to_the_folder(tmp_path: Path) -> None:
    folder = axllm_model(tmp_path / "model", filename_post_axmodel="./qwen3_post.axmodel")

    assert AxllmFolder.read(folder).post == folder / "qwen3_post.axmodel"


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("AXERA-TECH/Qwen3-4B", "qwen3"),
        ("Qwen3.5-0.8B-AX650-C128-P1152-CTX2047", "qwen3.5"),
        ("AXERA-TECH/Qwen2.5-7B-Instruct-GPTQ-Int4", "qwen2.5"),
        ("Gemma-3-1B-it-AX650", "gemma3"),
        ("gemma-4-E2B", "gemma4"),
        ("MiniCPM5-1B", "minicpm"),
        ("HY-MT1.5-1.8B_GPTQ_INT4", "hymt"),
        ("SmolLM2-360M-Instruct", "smollm"),
        ("something", "unknown"),
    ],
)
def test_the_family_is_known_by_the_published_name(name: str, family: str) -> None:
    assert family_of(name) == family


def test_a_folder_is_for_axllm_by_what_is_in_it(tmp_path: Path) -> None:
    new = axllm_model(tmp_path / "new")
    old = published_model(tmp_path / "old", layers=1)

    assert is_for_axllm(new)
    assert not is_for_axllm(old)
    assert not is_for_axllm(tmp_path / "gone")
    (old / "config.json").write_text(json.dumps({"hidden_size": 1024}))
    assert not is_for_axllm(old)


def test_the_folder_decides_which_program_answers_and_a_setting_overrules_it(
    tmp_path: Path,
) -> None:
    both = published_model(tmp_path / "both", layers=1, flat=True)
    (both / "config.json").write_text(json.dumps(axllm_config()))

    def chosen(**environ: str) -> str:
        return runtime_for(Settings.from_env(environ))

    assert chosen() == "main_api"
    assert chosen(AX650_MODEL_PATH=str(tmp_path / "gone")) == "main_api"
    assert chosen(AX650_MODEL_PATH=str(both)) == "axllm"
    assert chosen(AX650_MODEL_PATH=str(both), AX650_RUNTIME_BIN="main_api_axcl_x86") == "main_api"
    assert chosen(AX650_MODEL_PATH=str(both), AX650_RUNTIME="vendor") == "main_api"
    assert chosen(AX650_MODEL_PATH=str(both), AX650_RUNTIME="axllm") == "axllm"
    assert chosen(AX650_RUNTIME="mock-axllm") == "axllm"
