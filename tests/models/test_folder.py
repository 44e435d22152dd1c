"""The flags of the vendor's program follow from the model's folder."""

import itertools
import json
from pathlib import Path

import pytest

from axproxy.models.embedding import COLUMNS, ROWS
from axproxy.models.folder import ModelFolder, ModelFolderError
from axproxy.settings import Settings

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
    sizes = [rows * columns for rows, columns in itertools.product(ROWS, COLUMNS)]
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
    (tmp_path / "file").touch()
    with pytest.raises(ModelFolderError, match="is not a folder; set AX650_MODEL_PATH"):
        ModelFolder.read(tmp_path / "file")
    with pytest.raises(ModelFolderError, match="nothing does not exist; mount its disk, or set"):
        ModelFolder.read(tmp_path / "nothing")


def vocabulary(folder: Path, size: int, *, added: int = 0, listed: bool = False) -> Path:
    """Make a tokenizer's folder with a vocabulary of `size` tokens, the last of them added."""
    folder.mkdir(parents=True)
    own = {f"t{number}": number for number in range(size - added)}
    model = {"vocab": [[token, 0.0] for token in own] if listed else own}
    entries = [{"id": number, "content": f"<{number}>"} for number in range(size - added, size)]
    (folder / "tokenizer.json").write_text(json.dumps({"model": model, "added_tokens": entries}))
    return folder


@pytest.mark.parametrize(
    ("prefix", "layers", "rows", "columns"),
    [
        ("llama", 32, 49152, 960),
        ("qwen2", 24, 151674, 896),
        ("hunyuan_v1_dense", 32, 120818, 2048),
    ],
)
@pytest.mark.parametrize("added", [0, 30])
@pytest.mark.parametrize("listed", [False, True])
def test_the_vocabulary_tells_the_shape_of_the_table(
    tmp_path: Path, prefix: str, layers: int, rows: int, columns: int, added: int, listed: bool
) -> None:
    folder = make(tmp_path / "m", layers=layers, family=prefix, rows=rows, columns=columns)
    vocabulary(tmp_path / "m_tokenizer", rows, added=added, listed=listed)
    read = ModelFolder.read(folder)
    assert (read.embedding_rows, read.embedding_columns, read.layers) == (rows, columns, layers)


def test_a_table_with_more_rows_than_tokens_is_refused_with_the_likely_width(
    tmp_path: Path,
) -> None:
    folder = make(tmp_path / "m", rows=49216, columns=960)
    vocabulary(tmp_path / "m_tokenizer", 49152)
    with pytest.raises(ModelFolderError, match=r"state it as embedding_columns = .*\b960\b.*toml"):
        ModelFolder.read(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": []}', '{"model": {"vocab": 7}}'])
def test_a_vocabulary_that_cannot_be_counted_tells_nothing(tmp_path: Path, text: str) -> None:
    folder = make(tmp_path / "m", rows=49152, columns=960)
    (vocabulary(tmp_path / "m_tokenizer", 9) / "tokenizer.json").write_text(text)
    with pytest.raises(ModelFolderError, match=r"embedding_columns, the model's hidden_size, in"):
        ModelFolder.read(folder)


BUILDS = ("context-2k-prefill-1k", "context-4k-prefill-2k", "context-8k-prefill-4k")


@pytest.mark.parametrize("shared", [[EMBEDDING], [EMBEDDING, "qwen3_post.axmodel"]])
def test_builds_may_share_the_files_beside_them(tmp_path: Path, shared: list[str]) -> None:
    for build in BUILDS:
        make(tmp_path / "m" / build)
        for name in shared:
            (tmp_path / "m" / build / name).replace(tmp_path / "m" / name)
    read = ModelFolder.read(tmp_path / "m" / BUILDS[1])
    assert read.embedding == tmp_path / "m" / EMBEDDING
    assert read.layer_template.startswith(str(tmp_path / "m" / BUILDS[1]))
    with pytest.raises(ModelFolderError, match=f"holds the models {BUILDS[0]} and {BUILDS[1]} and"):
        ModelFolder.read(tmp_path / "m")


def test_of_two_builds_the_one_for_this_chip_is_taken(tmp_path: Path) -> None:
    make(tmp_path / "clone" / "qwen3-0.6b-ax630c")
    ours = make(tmp_path / "clone" / "qwen3-0.6b-ax650")
    vocabulary(tmp_path / "clone" / "qwen3_tokenizer", 9)
    assert ModelFolder.read(tmp_path / "clone").folder == ours
    make(tmp_path / "clone" / "qwen3-1.7b-ax650n")
    with pytest.raises(ModelFolderError, match=r"models qwen3-0.6b-ax650 and qwen3-1.7b-ax650n;"):
        ModelFolder.read(tmp_path / "clone")


@pytest.mark.parametrize(
    ("name", "chip"),
    [
        ("Qwen3-0.6B-AX637", "AX637"),
        ("qwen3-0.6b-ax630c", "AX630C"),
        ("Qwen3-0.6B-AX620E", "AX620E"),
        ("Qwen3_0.6B_AX8860", "AX8860"),
    ],
)
def test_a_build_for_another_chip_is_refused(tmp_path: Path, name: str, chip: str) -> None:
    folder = make(tmp_path / name)
    wanted = f"made for another chip, the {chip}; take the AX650 build"
    with pytest.raises(ModelFolderError, match=wanted):
        ModelFolder.read(folder)
    deeper = make(tmp_path / "page" / name / "axmodels")
    (deeper.parent / "README.md").touch()
    with pytest.raises(ModelFolderError, match=wanted):
        ModelFolder.read(deeper)


@pytest.mark.parametrize(
    "name",
    [
        "Qwen3-0.6B",
        "Qwen3.5-4B-AX650-GPTQ-Int4-C128-P1152-CTX2047",
        "Qwen3.5-2B-AX650N-GPTQ-Int4",
        "qwen3-ax8850",
        "qwen3-ax630c-and-ax650",
        "climax300-qwen3",
    ],
)
def test_a_build_for_this_chip_is_not_refused(tmp_path: Path, name: str) -> None:
    assert ModelFolder.read(make(tmp_path / name)).layers == 3


def test_a_missing_embedding_comes_with_what_to_state(tmp_path: Path) -> None:
    (make(tmp_path / "m") / EMBEDDING).unlink()
    with pytest.raises(ModelFolderError, match=r'or state embedding = "\*\.embed.*ax650\.toml'):
        ModelFolder.read(tmp_path / "m")
    for name in ("a", "b"):
        (tmp_path / f"{name}.embed_tokens.weight.bfloat16.bin").touch()
    with pytest.raises(ModelFolderError, match=r'or state embedding = "\.\./a\.embed.*ax650\.toml'):
        ModelFolder.read(tmp_path / "m")


def test_a_folder_of_the_hubs_cache_is_known_by_its_repository(tmp_path: Path) -> None:
    cache = tmp_path / "models--AXERA-TECH--Qwen2.5-3B-Instruct-AX637" / "snapshots" / "0123abcd"
    with pytest.raises(ModelFolderError, match="the AX637"):
        ModelFolder.read(make(cache))
    assert Settings(model_path=cache).model == "Qwen2.5-3B-Instruct-AX637:latest"


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
