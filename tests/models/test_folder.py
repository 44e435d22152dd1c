"""The flags of the vendor's program follow from the model's folder."""

import itertools
from pathlib import Path

import pytest

from axproxy.models.folder import _COLUMNS, _ROWS, ModelFolder, ModelFolderError

EMBEDDING = "model.embed_tokens.weight.bfloat16.bin"


def make(
    folder: Path,
    *,
    layers: int = 3,
    family: str = "qwen3",
    suffix: str = "_together",
    rows: int = 151936,
    columns: int = 1024,
) -> Path:
    """Make files of the right names and sizes, with nothing in them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(layers):
        (folder / f"{family}_p128_l{number}{suffix}.axmodel").touch()
    (folder / f"{family}_post.axmodel").touch()
    with (folder / EMBEDDING).open("wb") as file:
        file.truncate(rows * columns * 2)  # a hole takes no space
    return folder


# Names, layers and embedding tables as published with each model.
PUBLISHED = [
    ("qwen3-0.6b-ax650", "qwen3", 28, 151936, 1024),
    ("qwen3-1.7b-ax650", "qwen3", 28, 151936, 2048),
    ("qwen3-4b-ax650", "qwen3", 36, 151936, 2560),
    ("qwen2.5-0.5b-gptq-int8-ctx-ax650", "qwen2", 24, 151936, 896),
    ("qwen2.5-1.5b-ctx-ax650", "qwen2", 28, 151936, 1536),
    ("qwen2.5-3b-ax650", "qwen2", 36, 151936, 2048),
    ("qwen2.5-7b-ax650", "qwen2", 28, 152064, 3584),
]


@pytest.mark.parametrize(
    ("name", "family", "layers", "rows", "columns"), PUBLISHED, ids=[row[0] for row in PUBLISHED]
)
def test_the_flags_are_those_of_the_published_scripts(
    tmp_path: Path, name: str, family: str, layers: int, rows: int, columns: int
) -> None:
    folder = make(tmp_path / name, layers=layers, family=family, rows=rows, columns=columns)
    assert ModelFolder.read(folder).flags() == [
        "--template_filename_axmodel",
        str(folder / f"{family}_p128_l%d_together.axmodel"),
        "--axmodel_num",
        str(layers),
        "--filename_post_axmodel",
        str(folder / f"{family}_post.axmodel"),
        "--filename_tokens_embed",
        str(folder / EMBEDDING),
        "--tokens_embed_num",
        str(rows),
        "--tokens_embed_size",
        str(columns),
        "--use_mmap_load_embed",
        "1",
    ]


def test_no_two_published_tables_have_the_same_size() -> None:
    sizes = [rows * columns for rows, columns in itertools.product(_ROWS, _COLUMNS)]
    assert len(set(sizes)) == len(sizes)


def test_layers_may_have_no_together_in_their_names(tmp_path: Path) -> None:
    folder = ModelFolder.read(make(tmp_path, suffix=""))
    assert folder.layer_template == str(tmp_path / "qwen3_p128_l%d.axmodel")


def test_the_model_may_be_one_folder_deeper(tmp_path: Path) -> None:
    (tmp_path / "a-tokenizer").mkdir()
    (tmp_path / "README.md").touch()
    deeper = make(tmp_path / "qwen3-0.6b-ax650")
    assert ModelFolder.read(tmp_path) == ModelFolder.read(deeper)


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "qwen")
    monkeypatch.chdir(tmp_path)
    assert ModelFolder.read(Path("qwen")) == ModelFolder.read(tmp_path / "qwen")


@pytest.mark.parametrize(
    ("configs", "working_folder"),
    [([], "qwen"), (["qwen"], "qwen"), (["."], "."), (["qwen", "."], "qwen")],
)
def test_the_working_folder_has_the_sampling_configuration(
    tmp_path: Path, configs: list[str], working_folder: str
) -> None:
    folder = make(tmp_path / "qwen")
    for place in configs:
        (tmp_path / place / "post_config.json").touch()
    assert ModelFolder.read(folder).working_folder == tmp_path / working_folder


@pytest.mark.parametrize(
    "config",
    [
        '{"tokens_embed_num": 1000, "tokens_embed_size": 64}',
        '{"vocab_size": 1000, "hidden_size": 64}',
        '{"tokens_embed_num": "1000", "tokens_embed_size": "64"}',
        '{"tokens_embed_num": 7, "tokens_embed_size": 7, "vocab_size": 1000, "hidden_size": 64}',
    ],
)
def test_an_unpublished_model_can_state_its_shape(tmp_path: Path, config: str) -> None:
    folder = make(tmp_path, rows=1000, columns=64)
    (folder / "config.json").write_text(config)
    read = ModelFolder.read(folder)
    assert (read.embedding_rows, read.embedding_columns) == (1000, 64)


@pytest.mark.parametrize(
    "config",
    [
        "",
        "[]",
        "7",
        '"vocab_size hidden_size"',
        '{"vocab_size": null, "hidden_size": 64}',
        '{"vocab_size": "many", "hidden_size": 64}',
        '{"vocab_size": 1000}',
        '{"vocab_size": 1001, "hidden_size": 64}',
    ],
)
def test_a_config_that_does_not_agree_with_the_size_is_ignored(tmp_path: Path, config: str) -> None:
    folder = make(tmp_path)
    (folder / "config.json").write_text(config)
    assert ModelFolder.read(folder).embedding_columns == 1024
    (folder / EMBEDDING).write_bytes(b"x" * 128_000)
    with pytest.raises(ModelFolderError, match=r"128000 bytes.*embedding_columns.*ax650\.toml"):
        ModelFolder.read(folder)


@pytest.mark.parametrize(
    ("name", "columns"), [("qwen3-4b-ax650", 2560), ("Qwen2.5-0.5B-Instruct", 896)]
)
def test_a_table_of_the_wrong_size_gets_the_shape_in_the_models_name(
    tmp_path: Path, name: str, columns: int
) -> None:
    folder = make(tmp_path / name)
    (folder / EMBEDDING).write_text("version https://git-lfs.github.com/spec/v1")
    read = ModelFolder.read(folder)
    assert (read.embedding_rows, read.embedding_columns) == (151936, columns)


def test_a_path_that_is_not_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="is not a folder; set AX650_MODEL_PATH"):
        ModelFolder.read(tmp_path / "nothing")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFolderError, match=r"has no \*_post\.axmodel; set AX650_MODEL_PATH"):
        ModelFolder.read(tmp_path)


def test_a_missing_layer_is_named(tmp_path: Path) -> None:
    (make(tmp_path) / "qwen3_p128_l1_together.axmodel").unlink()
    with pytest.raises(ModelFolderError, match=r"layer 1 is missing .* download the model again"):
        ModelFolder.read(tmp_path)


@pytest.mark.parametrize("sets", [0, 2])
def test_a_folder_must_hold_the_layers_of_one_model(tmp_path: Path, sets: int) -> None:
    for family in ["qwen3", "other"][:sets]:
        make(tmp_path, family=family)
    (tmp_path / "one_post.axmodel").touch()
    with pytest.raises(ModelFolderError, match=f"layers of one model.*found {sets} sets"):
        ModelFolder.read(tmp_path)


@pytest.mark.parametrize("name", ["second_post.axmodel", "second.embed_tokens.weight.bfloat16.bin"])
def test_two_files_where_one_is_expected_are_refused(tmp_path: Path, name: str) -> None:
    (make(tmp_path) / name).touch()
    with pytest.raises(ModelFolderError, match=r"should hold one \*.*; found 2"):
        ModelFolder.read(tmp_path)


def test_a_folder_without_the_embedding_is_refused(tmp_path: Path) -> None:
    (make(tmp_path) / EMBEDDING).unlink()
    with pytest.raises(ModelFolderError, match=r"should hold one .*bfloat16\.bin; found 0"):
        ModelFolder.read(tmp_path)
