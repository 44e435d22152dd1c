"""A model's tokenizer is found, and its folder is read."""

import json
from pathlib import Path

import pytest

from axproxy.models.tokenizer_files import (
    TokenizerFolderError,
    find_tokenizer,
    read_tokenizer_files,
)


def make(*folders: Path) -> None:
    """Make folders with a tokenizer.json."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text("{}")


LAYOUTS = {
    # name: (folders with a tokenizer.json, other files, the right folder)
    "in the model": (["Qwen3-4B"], [], "Qwen3-4B"),
    "in a folder of its own": (["Qwen3-4B/my_Tokenizer"], [], "Qwen3-4B/my_Tokenizer"),
    "beside the model": (["qwen3_tokenizer"], [], "qwen3_tokenizer"),
    "in it rather than beside it": (
        ["Qwen3-4B/tokenizer", "qwen3_tokenizer"],
        [],
        "Qwen3-4B/tokenizer",
    ),
    "the one the script is named after": (
        ["Qwen3-4B/qwen2.5_tokenizer", "Qwen3-4B/hf_tokenizer"],
        ["Qwen3-4B/hf_tokenizer_uid.py"],
        "Qwen3-4B/hf_tokenizer",
    ),
    "the one the model is named after": (
        ["Qwen3-4B/qwen2.5_tokenizer", "Qwen3-4B/qwen3_tokenizer"],
        [],
        "Qwen3-4B/qwen3_tokenizer",
    ),
    "another model's is beside it": (
        ["qwen2.5-tokenizer", "qwen3-tokenizer"],
        [],
        "qwen3-tokenizer",
    ),
    "a folder without a vocabulary does not count": (
        ["tokenizer"],
        ["Qwen3-4B/tokenizer/readme.txt"],
        "tokenizer",
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_tokenizer_is_found(tmp_path: Path, name: str) -> None:
    folders, files, right = LAYOUTS[name]
    model = tmp_path / "Qwen3-4B"
    model.mkdir()
    make(*(tmp_path / folder for folder in folders))
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert find_tokenizer(model) == tmp_path / right


def test_a_model_without_a_tokenizer_is_explained(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(TokenizerFolderError, match="put the one from the model's Hugging Face"):
        find_tokenizer(tmp_path / "model")


def test_a_missing_model_is_not_reported_as_a_missing_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(TokenizerFolderError, match="does not exist; mount its disk, or set"):
        find_tokenizer(tmp_path / "model")


def test_two_tokenizers_that_fit_equally_well_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "model" / "a_tokenizer", tmp_path / "model" / "b_tokenizer")
    with pytest.raises(TokenizerFolderError, match=r"`tokenizer` in ax650\.toml"):
        find_tokenizer(tmp_path / "model")


CONFIGS = {
    # content of tokenizer_config.json: (bos, eos, template)
    "{}": (None, None, None),
    '{"eos_token": "</s>", "bos_token": null, "chat_template": "T"}': (None, "</s>", "T"),
    '{"eos_token": {"content": "</s>"}, "bos_token": {"content": "<s>"}}': ("<s>", "</s>", None),
    json.dumps(
        {
            "chat_template": [
                {"name": "tool_use", "template": "X"},
                {"name": "default", "template": "T"},
            ]
        }
    ): (None, None, "T"),
    '{"chat_template": [{"name": "tool_use", "template": "X"}, 3], "eos_token": 7}': (None,) * 3,
}


@pytest.mark.parametrize("config", CONFIGS)
def test_the_config_names_tokens_and_template(tmp_path: Path, config: str) -> None:
    make(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(config)
    content = read_tokenizer_files(tmp_path)
    assert (content.bos_token, content.eos_token, content.chat_template) == CONFIGS[config]


def test_a_template_file_overrides_the_config(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "old"}')
    (tmp_path / "chat_template.jinja").write_text("new ü", encoding="utf-8")
    assert read_tokenizer_files(tmp_path).chat_template == "new ü"


def test_a_template_that_is_not_utf8_is_explained(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(TokenizerFolderError, match="not UTF-8"):
        read_tokenizer_files(tmp_path)
