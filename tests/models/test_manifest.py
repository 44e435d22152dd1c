"""The manifest `ax650.toml` adds facts that the files of a model folder do not contain."""

from __future__ import annotations

from pathlib import Path

import pytest

from axproxy.api.ollama.defaults import with_defaults
from axproxy.messages import ChatRequest, Message
from axproxy.models.folder import ModelFolder, ModelFolderError
from axproxy.models.manifest import MANIFEST
from axproxy.models.model import ModelDefaults
from axproxy.models.store import ModelStore
from axproxy.models.tokenizer_files import TokenizerFolderError, find_tokenizer
from axproxy.settings import Settings
from tests.support.model_folders import axllm_model, published_model, sparse


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return published_model(tmp_path / "repository", "my-model", layers=3, columns=64)


def write_manifest(model: Path, text: str) -> None:
    (model / MANIFEST).write_text(text)


def test_the_manifest_overrides_what_the_files_say(model: Path) -> None:
    for layer in range(2):
        sparse(model / f"blk{layer}.axmodel", 2048)
    sparse(model / "head.axmodel", 2048)
    sparse(model / "table.bin", 100 * 64 * 2)
    (model / "vocabulary").mkdir()
    (model / "vocabulary" / "tokenizer.json").touch()
    write_manifest(
        model,
        'layer_template = "blk%d.axmodel"\npost = "head.axmodel"\nembedding = "table.bin"\n'
        'embedding_rows = 100\nembedding_columns = 64\ntokenizer = "vocabulary"\n'
        'prefill_chunk = 256\nfamily = "mine"\n',
    )
    read = ModelFolder.read(model)
    assert read.layer_template == f"{model}/blk%d.axmodel"
    assert read.layer(1) == model / "blk1.axmodel"
    assert (read.layers, read.embedding_rows, read.embedding_columns) == (2, 100, 64)
    assert (read.post.name, read.embedding.name) == ("head.axmodel", "table.bin")
    assert (read.family, read.prefill_chunk) == ("mine", 256)
    assert read.tokenizer == model / "vocabulary"
    assert ModelFolder.read(model.parent) == read
    assert find_tokenizer(model.parent) == read.tokenizer


def test_the_rows_follow_from_the_columns(model: Path) -> None:
    write_manifest(model, "embedding_columns = 64")
    assert ModelFolder.read(model).embedding_rows == 151936


def test_the_manifest_can_state_fewer_layers_than_there_are_files(model: Path) -> None:
    write_manifest(model, "layers = 2\nembedding_columns = 64")
    assert ModelFolder.read(model).layers == 2


def test_without_a_manifest_names_of_files_are_read(tmp_path: Path) -> None:
    model = published_model(tmp_path / "Qwen3-0.6B")
    for layer in range(28):
        (model / f"qwen3_p128_l{layer}_together.axmodel").rename(
            model / f"qwen3_p256_l{layer}_together.axmodel"
        )
    read = ModelFolder.read(model)
    assert (read.family, read.prefill_chunk) == ("qwen3", 256)
    assert read.tokenizer == model.parent / "qwen3_tokenizer"


# The manifest, and what the error must say.
WRONG = {
    "layer = 3": "unknown key layer; did you mean layers?",
    "embeding = 'x'": "unknown key embeding; did you mean embedding?",
    "zzz = 3": "unknown key zzz; known are layers, layer_template",
    "layers = '3'": "layers in .* must be a whole number above 0",
    "layers = true": "layers in .* must be a whole number above 0",
    "layers = 0": "layers in .* must be a whole number above 0",
    "family = 3": "family in .* must be a string in quotes",
    "family = ''": "family in .* must be a string in quotes",
    "layers = ": "is not TOML: .*; fix that line",
    "layers = 4": "layer 3 is missing",
    "layer_template = 'l%d.axmodel'": "layer 0 is missing",
    "layer_template = 'l.axmodel'": "must hold one %d",
    "layer_template = 'l%s.axmodel'": "must hold one %d",
    "layer_template = '%d%d.axmodel'": "must hold one %d",
    "embedding_columns = 64\npost = 'nothing'": "names nothing, which does not exist",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_manifest_is_refused_with_its_fault(model: Path, text: str) -> None:
    write_manifest(model, text)
    with pytest.raises(ModelFolderError, match=WRONG[text]):
        ModelFolder.read(model)


def test_the_manifest_must_be_beside_the_axmodels(model: Path) -> None:
    (model.parent / MANIFEST).write_text("layers = 2")
    with pytest.raises(ModelFolderError, match="must be beside the axmodels"):
        ModelFolder.read(model.parent)


def test_a_folder_of_several_models_is_refused(tmp_path: Path) -> None:
    published_model(tmp_path / "a", flat=True)
    published_model(tmp_path / "b", flat=True)
    with pytest.raises(ModelFolderError, match=r"holds the models a and b; set AX650_MODEL_PATH"):
        ModelFolder.read(tmp_path)


def test_a_wrong_manifest_is_an_error_of_the_tokenizer_too(model: Path) -> None:
    write_manifest(model, "layer = 3")
    with pytest.raises(TokenizerFolderError, match="did you mean layers"):
        find_tokenizer(model)


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ModelFolderError):
        ModelFolder.read(tmp_path / "loop")


def test_the_manifest_says_how_clients_get_the_model(tmp_path: Path) -> None:
    folder = axllm_model(tmp_path / "Qwen3-0.6B")
    write_manifest(
        folder,
        'name = "house"\nsystem = "Be short."\nkeep_alive = "10m"\nthink = "off"\n'
        "[parameters]\ntemperature = 0.6\n",
    )
    (model,) = ModelStore(Settings(runtime="vendor"), tmp_path).models()
    assert model.name == "house:latest"
    assert model.defaults == ModelDefaults(
        "Be short.", {"temperature": 0.6}, keep_alive=600.0, think=False
    )
    asked = with_defaults(model, ChatRequest((Message("user", "Hi"),)))
    assert [message.content for message in asked.messages] == ["Be short.", "Hi"]
    assert (asked.think, asked.keep_alive, asked.sampling.temperature) == (False, 600.0, 0.6)
    kept = with_defaults(model, ChatRequest((Message("user", "Hi"),), think=True, keep_alive=1.0))
    assert (kept.think, kept.keep_alive) == (True, 1.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('think = "maybe"', "must be on, off or ask"),
        ('keep_alive = "soon"', "write 300 or 5m"),
        ("parameters = 3", "must be a table"),
        ("name = 3", "must be a string in quotes"),
    ],
)
def test_a_wrong_value_keeps_the_model_out_of_the_list_with_its_reason(
    tmp_path: Path, text: str, problem: str
) -> None:
    folder = axllm_model(tmp_path / "Qwen3-0.6B")
    write_manifest(folder, text)
    (found,) = ModelStore(Settings(runtime="vendor"), tmp_path).folders()
    assert found.model is None
    assert problem in str(found.problem)
