"""The check of a model folder that is published for `axllm`."""

from __future__ import annotations

from pathlib import Path

import pytest

from axproxy.preflight.card import model_need
from axproxy.preflight.finding import Finding
from axproxy.preflight.model import check_model_folder
from axproxy.preflight.ports import check_ports
from axproxy.settings import Settings
from tests.preflight.machine import Machine
from tests.support.model_folders import axllm_model, sparse


def look(pi: Machine, model: Path) -> Finding:
    (finding,) = check_model_folder(pi.context_of_files(AX650_MODEL_PATH=str(model)))
    return finding


def test_a_whole_folder_passes_without_a_tokenizer_json(pi: Machine, tmp_path: Path) -> None:
    model = axllm_model(tmp_path / "Qwen3-0.6B")

    assert look(pi, model) == Finding(
        "model-folder", "ok", f"{model} holds 2 layers of AXERA-TECH/Qwen3-0.6B for axllm"
    )


@pytest.mark.parametrize(
    ("file", "content", "seen"),
    [
        ("qwen3_tokenizer.txt", "version https://git-lfs.github.com/spec/v1\n", "not a vocabulary"),
        ("qwen3_post.axmodel", "version https://git-lfs.github.com/spec/v1\n", "git-LFS pointer"),
        ("config.json", '{"template_filename_axmodel": 1, "url_tokenizer_model": 1}', "model_name"),
        ("post_config.json", "{}", "post_config.json lacks enable_temperature"),
    ],
)
def test_a_damaged_file_is_named(
    pi: Machine, tmp_path: Path, file: str, content: str, seen: str
) -> None:
    model = axllm_model(tmp_path / "Qwen3-0.6B")
    (model / file).write_text(content)
    finding = look(pi, model)

    assert finding.verdict == "fail"
    assert seen in finding.seen
    assert finding.remedy


def test_a_missing_layer_is_named(pi: Machine, tmp_path: Path) -> None:
    model = axllm_model(tmp_path / "Qwen3-0.6B")
    (model / "qwen3_p128_l1_together.axmodel").unlink()

    assert "qwen3_p128_l1_together.axmodel" in look(pi, model).seen


def test_the_card_memory_is_the_size_of_the_files_and_a_third(tmp_path: Path) -> None:
    model = axllm_model(tmp_path / "Qwen3-0.6B")
    sparse(model / "qwen3_post.axmodel", 100 << 20)
    need = model_need(Settings.from_env({"AX650_MODEL_PATH": str(model)}))

    assert (need.least, need.measured) == (100, 130)


def test_only_one_port_is_needed_and_it_can_be_another(pi: Machine, tmp_path: Path) -> None:
    model = axllm_model(tmp_path / "Qwen3-0.6B")
    context = pi.context_of_files(AX650_MODEL_PATH=str(model), AX650_RUNTIME_PORT="18000")

    assert "18000" in check_ports(context)[0].seen
    assert "12345" not in check_ports(context)[0].seen
