"""A model is described from names, sizes and dates alone."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from axproxy.models.description import CurrentModel, describe_model
from axproxy.models.tokenizer_files import SMALL_TOKENIZER, read_tokenizer_files
from axproxy.prompts.tokenizer import TokenizerInfo
from axproxy.settings import Settings
from axproxy.tokenizer.choice import choose_tokenizer


@pytest.fixture(name="folder")
def model_folder(tmp_path: Path) -> Path:
    """Make a folder with two files of ten bytes, the newer one of 2026."""
    folder = tmp_path / "Qwen3-0.6B-Int8"
    (folder / "deeper").mkdir(parents=True)
    for name, year in (("a.axmodel", 2025), ("deeper/b.axmodel", 2026)):
        (folder / name).write_bytes(b"x" * 10)
        when = datetime(year, 1, 2, tzinfo=UTC).timestamp()
        os.utime(folder / name, (when, when))
    return folder


def test_a_folder_is_described_by_its_files(folder: Path) -> None:
    model = describe_model(Settings(model_path=folder))
    assert model.name == "Qwen3-0.6B-Int8:latest"
    assert model.folder == folder
    assert model.size == 20
    assert model.modified_at == datetime(2026, 1, 2, tzinfo=UTC)
    assert model.context_length is None
    assert model.quantization == "W8A16"


@pytest.mark.parametrize(
    ("name", "quantization"),
    [
        ("Qwen2.5-3B-Instruct-GPTQ-Int4", "W4A16"),
        ("Qwen3-1.7B-GPTQ-INT4-16K", "W4A16"),
        ("qwen3-4b-w4a16", "W4A16"),
        ("Qwen2.5-0.5B-Instruct-CTX-Int8", "W8A16"),
        ("Qwen3-4B", "W8A16"),
    ],
)
def test_the_quantization_is_read_from_the_name(
    tmp_path: Path, name: str, quantization: str
) -> None:
    (tmp_path / name / "deeper").mkdir(parents=True)
    for place in (tmp_path / name, tmp_path / name / "deeper"):
        assert describe_model(Settings(model_path=place)).quantization == quantization
        renamed = describe_model(Settings(model_path=place, model_name="mine"))
        assert renamed.quantization == quantization


@pytest.mark.parametrize(
    ("name", "family", "size"),
    [
        ("qwen3-4b", "qwen3", "4B"),
        ("Qwen3-0.6B-Int8", "qwen3", "0.6B"),
        ("qwen2.5-1.5b-instruct-gptq", "qwen2.5", "1.5B"),
        ("qwen3:1.7b", "qwen3", "1.7B"),
        ("deepseek-r1-distill-qwen-1.5b", "deepseek", "1.5B"),
        ("mine", "unknown", "unknown"),
        ("web-b-1.2.3b", "unknown", "unknown"),
        ("mock", "unknown", "unknown"),
    ],
)
def test_family_and_size_are_read_from_the_name(name: str, family: str, size: str) -> None:
    model = describe_model(Settings(model_name=name))
    assert (model.family, model.parameter_size) == (family, size)


def test_the_simulators_model_has_a_description_too() -> None:
    model = describe_model(Settings())
    assert (model.name, model.folder, model.size, model.quantization) == (
        "mock:latest",
        None,
        0,
        "none",
    )
    assert model.modified_at <= datetime.now(UTC)


def test_capabilities_are_read_from_the_tokenizers_template(folder: Path) -> None:
    settings = Settings(model_path=folder)
    assert describe_model(settings).capabilities == ("completion",)
    tokenizer = folder.parent / "qwen3_tokenizer"
    shutil.copytree(SMALL_TOKENIZER, tokenizer)
    assert describe_model(settings).capabilities == ("completion", "tools", "thinking")
    (tokenizer / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert describe_model(settings).capabilities == ("completion",)


def test_the_mock_has_the_capabilities_of_the_small_tokenizer() -> None:
    assert describe_model(Settings()).capabilities == ("completion", "tools", "thinking")
    # A tokenizer that we have not started may belong to any model.
    assert describe_model(Settings(runtime="attach")).capabilities == ("completion",)


def test_a_model_has_no_capability_that_its_tokenizer_does_not_support() -> None:
    supported = choose_tokenizer(Settings(tokenizer="vendor")).capabilities
    assert describe_model(Settings(), supported).capabilities == ("completion",)


def test_the_digest_is_64_hexadecimal_digits_that_stay(folder: Path) -> None:
    settings = Settings(model_path=folder)
    digest = describe_model(settings).digest
    assert len(digest) == 64
    assert set(digest) <= set("0123456789abcdef")
    os.utime(folder / "a.axmodel")
    assert describe_model(settings).digest == digest


def test_another_name_or_another_file_is_another_model(folder: Path) -> None:
    digests = {describe_model(Settings(model_path=folder)).digest}
    digests.add(describe_model(Settings(model_path=folder, model_name="other")).digest)
    (folder / "a.axmodel").write_bytes(b"x" * 11)
    digests.add(describe_model(Settings(model_path=folder)).digest)
    (folder / "c.axmodel").touch()
    digests.add(describe_model(Settings(model_path=folder)).digest)
    assert len(digests) == 4


def test_a_compiled_model_has_its_shape(tmp_path: Path) -> None:
    folder = tmp_path / "qwen3-0.6b-ax650"
    folder.mkdir()
    for layer in range(28):
        (folder / f"qwen3_p128_l{layer}_together.axmodel").touch()
    (folder / "qwen3_post.axmodel").touch()
    with (folder / "model.embed_tokens.weight.bfloat16.bin").open("wb") as table:
        table.truncate(151936 * 1024 * 2)
    model = describe_model(Settings(model_path=folder))
    assert (model.layers, model.embedding_length, model.vocabulary) == (28, 1024, 151936)


def test_a_folder_without_a_compiled_model_has_no_shape(folder: Path) -> None:
    model = describe_model(Settings(model_path=folder))
    assert (model.layers, model.embedding_length, model.vocabulary) == (None, None, None)


def test_files_that_git_keeps_beside_the_model_do_not_count(folder: Path) -> None:
    before = describe_model(Settings(model_path=folder))
    (folder / ".git" / "lfs").mkdir(parents=True)
    (folder / ".git" / "lfs" / "object").write_bytes(b"x" * 10)
    after = describe_model(Settings(model_path=folder))
    assert (after.size, after.digest) == (before.size, before.digest)


def test_a_missing_folder_is_described_by_its_name(tmp_path: Path) -> None:
    model = describe_model(Settings(model_path=tmp_path / "qwen3-4b"))
    assert (model.family, model.parameter_size, model.size) == ("qwen3", "4B", 0)


def info(folder: str, template: str | None) -> TokenizerInfo:
    return TokenizerInfo(1, "</s>", -1, None, template, 151665, 99, (), "epoch", folder)


TEMPLATE = read_tokenizer_files(SMALL_TOKENIZER).chat_template


@pytest.mark.parametrize(
    ("folder", "name", "family"),
    [
        ("/models/Qwen3-4B/qwen3_tokenizer", "qwen3:latest", "qwen3"),
        ("/models/Qwen2.5-3B-Instruct/tokenizer", "Qwen2.5-3B-Instruct:latest", "qwen2.5"),
        ("/models/SmolLM2-360M-Instruct", "SmolLM2-360M-Instruct:latest", "smollm"),
        ("/models/my models/tokenizer", "mock:latest", "unknown"),
        ("", "mock:latest", "unknown"),
        (str(SMALL_TOKENIZER.resolve()), "mock:latest", "unknown"),
    ],
)
def test_behind_an_attached_runtime_is_the_model_of_its_tokenizer(
    folder: str, name: str, family: str
) -> None:
    model = CurrentModel(Settings(runtime="attach"))
    assert model().capabilities == ("completion",)
    model.refresh(info(folder, TEMPLATE))
    assert (model().name, model().family) == (name, family)
    assert model().capabilities == ("completion", "tools", "thinking")
    assert model().vocabulary == 151665
    named = CurrentModel(Settings(runtime="attach", model_name="mine"))
    named.refresh(info(folder, None))
    assert (named().name, named().capabilities) == ("mine:latest", ("completion",))


def test_a_model_whose_files_come_late_is_described_once_they_are_there(folder: Path) -> None:
    later = folder.rename(folder.with_name("elsewhere"))
    model = CurrentModel(Settings(model_path=folder))
    before = model()
    assert (before.size, before.capabilities) == (0, ("completion",))
    shutil.copytree(SMALL_TOKENIZER, folder.parent / "qwen3_tokenizer")
    later.rename(folder)
    assert model() == before  # no request reads the disk
    model.refresh()
    assert (model().size, model().capabilities) == (20, ("completion", "tools", "thinking"))
    assert model().digest != before.digest
