"""The files of a model must all be there and complete."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from axproxy.preflight.finding import Finding
from axproxy.preflight.model import check_model_folder, check_tokenizer_files
from axproxy.preflight.store import check_models_dir
from tests.preflight.machine import Machine
from tests.support.model_folders import EMBEDDING, POST_CONFIG, published_model, sparse

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 11700000\n"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return published_model(tmp_path / "Qwen3-0.6B")


def look(pi: Machine, path: Path, **environ: str) -> list[Finding]:
    context = pi.context_of_files(AX650_MODEL_PATH=str(path), **environ)
    return list(check_model_folder(context))


def only(pi: Machine, path: Path, **environ: str) -> Finding:
    (finding,) = look(pi, path, **environ)
    return finding


def test_a_complete_folder_passes_from_above_and_from_within(pi: Machine, model: Path) -> None:
    finding = only(pi, model)
    assert finding.verdict == "ok"
    assert "28 layers of qwen3, embedding 151936 x 1024" in finding.seen
    assert "qwen3_tokenizer" in finding.seen
    assert only(pi, model.parent) == finding


def test_a_flat_folder_passes(pi: Machine, tmp_path: Path) -> None:
    assert only(pi, published_model(tmp_path / "qwen3-0.6b", flat=True)).verdict == "ok"


@pytest.mark.parametrize(
    "name", ["qwen3_p128_l3_together.axmodel", "qwen3_post.axmodel", EMBEDDING]
)
def test_an_lfs_pointer_is_named(pi: Machine, model: Path, name: str) -> None:
    (model / name).write_text(POINTER)
    finding = only(pi, model)
    assert finding.verdict == "fail"
    assert finding.seen == f"{model / name} is a git-LFS pointer, not the file itself"
    assert finding.remedy == f"cd {model} && git lfs pull"


def test_many_pointers_are_one_finding(pi: Machine, model: Path) -> None:
    for file in model.iterdir():
        file.write_text(POINTER)
    assert "(30 of 30 model files are damaged)" in only(pi, model.parent).seen


def test_a_file_that_is_too_small_is_named(pi: Machine, model: Path) -> None:
    sparse(model / "qwen3_post.axmodel", 1023)
    finding = only(pi, model)
    assert finding.seen.endswith("qwen3_post.axmodel is only 1023 bytes long")
    assert "download qwen3_post.axmodel again" in finding.remedy


def test_a_gap_among_the_layers_is_named(pi: Machine, model: Path) -> None:
    (model / "qwen3_p128_l7_together.axmodel").unlink()
    finding = only(pi, model)
    assert finding.seen == f"layer 7 is missing in {model}"
    assert finding.remedy == "download the model again"


def test_a_layer_published_under_a_wrong_name_is_to_be_renamed(pi: Machine, model: Path) -> None:
    right = model / "qwen3_p128_l0_together.axmodel"
    wrong = right.rename(f"{right}.onnx")
    assert only(pi, model).remedy == f"mv {wrong} {right}"


def test_missing_last_layers_are_noticed(pi: Machine, model: Path) -> None:
    (model / "qwen3_p128_l27_together.axmodel").unlink()
    finding = only(pi, model)
    assert finding.verdict == "fail"
    assert "27 layers; a qwen3 model with embeddings of 1024 has 28" in finding.seen
    (model / "ax650.toml").write_text("layers = 27")
    assert only(pi, model).verdict == "ok"


def test_an_embedding_has_exactly_the_bytes_of_its_values(pi: Machine, model: Path) -> None:
    sparse(model / EMBEDDING, 151936 * 1024 * 2 - 1)
    finding = only(pi, model)
    assert finding.verdict == "fail"
    assert "has 311164927 bytes; 151936 x 1024 values of 2 bytes would be 311164928" in finding.seen


@pytest.mark.parametrize("key", POST_CONFIG)
def test_a_missing_sampling_value_would_abort_the_program(
    pi: Machine, model: Path, key: str
) -> None:
    for entry in ({}, {key: "yes"}, {key: None}):
        config = {name: value for name, value in POST_CONFIG.items() if name != key} | entry
        (model.parent / "post_config.json").write_text(json.dumps(config))
        finding = only(pi, model)
        assert finding.verdict == "fail"
        assert f"lacks {key}; the program would abort" in finding.seen


@pytest.mark.parametrize("text", ["", POINTER, "{", "\0"])
def test_a_sampling_file_that_is_not_json_fails(pi: Machine, model: Path, text: str) -> None:
    (model.parent / "post_config.json").write_text(text)
    assert only(pi, model).verdict == "fail"


def test_without_a_sampling_file_the_program_goes_on(pi: Machine, model: Path) -> None:
    (model.parent / "post_config.json").unlink()
    finding = only(pi, model)
    assert (finding.verdict, finding.seen) == ("warn", f"there is no {model}/post_config.json")


def test_the_tokenizer_must_be_there_and_complete(pi: Machine, model: Path) -> None:
    vocabulary = model.parent / "qwen3_tokenizer" / "tokenizer.json"
    vocabulary.write_text(POINTER)
    assert "git-LFS pointer" in only(pi, model).seen
    vocabulary.unlink()
    finding = only(pi, model)
    assert finding.verdict == "fail"
    assert "no tokenizer.json in or beside" in finding.seen
    assert only(pi, model, AX650_TOKENIZER="vendor").verdict == "ok"


def test_all_problems_are_reported_at_once(pi: Machine, model: Path) -> None:
    (model.parent / "post_config.json").write_text("{}")
    (model.parent / "qwen3_tokenizer" / "tokenizer.json").unlink()
    assert [finding.verdict for finding in look(pi, model)] == ["fail", "fail"]


def test_a_path_too_long_for_the_programs_buffer_is_refused(pi: Machine, tmp_path: Path) -> None:
    deep = tmp_path
    while len(str(deep)) < 1010:
        deep = deep / ("x" * 100)
    assert "too long for the vendor's program" in only(pi, published_model(deep, flat=True)).seen


def test_a_wrong_path_is_answered_with_the_existing_models(pi: Machine, model: Path) -> None:
    models = {"AX650_MODELS_DIR": str(model.parent.parent)}
    finding = only(pi, model.parent / "nothing", **models)
    assert finding.remedy == f"set AX650_MODEL_PATH to {model.parent}"
    assert "set AX650_MODEL_PATH" in only(pi, model.parent / "nothing").remedy


def test_the_folder_of_models_lists_those_that_can_be_loaded(pi: Machine, model: Path) -> None:
    models = model.parent.parent
    published_model(models / "qwen3-1.7b", columns=2048, flat=True)
    (models / "notes").mkdir()
    context = pi.context(AX650_MODELS_DIR=str(models))
    finding = check_models_dir(context)
    assert finding.seen == f"{models} holds Qwen3-0.6B, qwen3-1.7b"
    (models / "qwen3-1.7b" / "qwen3_p128_l3_together.axmodel").unlink()
    finding = check_models_dir(context)
    assert (finding.verdict, finding.seen) == (
        "warn",
        f"{models} holds Qwen3-0.6B, but layer 3 is missing in {models}/qwen3-1.7b; "
        "download the model again",
    )
    assert finding.remedy == f"set AX650_MODEL_PATH to {models}/Qwen3-0.6B"


def test_one_broken_model_does_not_hide_the_good_ones(pi: Machine, tmp_path: Path) -> None:
    for name in ("broken", "first", "second", "worse"):
        published_model(tmp_path / name, flat=True)
    for name in ("broken", "worse"):
        (tmp_path / name / "qwen3_p128_l3_together.axmodel").unlink()
    finding = check_models_dir(pi.context(AX650_MODELS_DIR=str(tmp_path)))
    assert finding.verdict == "warn"
    for name in ("broken", "first", "second", "worse"):
        assert name in finding.seen
    assert finding.remedy == f"set AX650_MODEL_PATH to {tmp_path}/first or {tmp_path}/second"
    in_use = {"AX650_MODEL_PATH": str(tmp_path / "first"), "AX650_MODELS_DIR": str(tmp_path)}
    finding = check_models_dir(pi.context(**in_use))
    assert "first, second, but layer 3 is missing" in finding.seen
    assert finding.remedy == "download the model again"


def test_the_tokenizer_needs_less_than_the_runtime(pi: Machine, model: Path) -> None:
    (model / "qwen3_p128_l3_together.axmodel").unlink()
    path = {"AX650_MODEL_PATH": str(model)}
    assert check_tokenizer_files(pi.context_of_files(**path)) == []
    (model.parent / "qwen3_tokenizer" / "tokenizer.json").unlink()
    (finding,) = check_tokenizer_files(pi.context_of_files(**path))
    assert (finding.name, finding.verdict) == ("model-folder", "fail")
    assert check_tokenizer_files(pi.context_of_files(**path, AX650_TOKENIZER="vendor")) == []
    missing = {"AX650_MODEL_PATH": str(model / "nothing"), "AX650_TOKENIZER": "vendor"}
    (finding,) = check_tokenizer_files(pi.context_of_files(**missing))
    assert finding.seen == f"{model / 'nothing'} does not exist"


def test_a_folder_of_models_without_a_model_gives_a_warning(pi: Machine, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in tmp_path / "nowhere", tmp_path / "empty":
        assert check_models_dir(pi.context(AX650_MODELS_DIR=str(place))).verdict == "warn"


def test_the_default_folder_of_models_need_not_be_there(
    pi: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert check_models_dir(pi.context()).verdict == "skip"
