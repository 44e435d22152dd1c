"""A folder with the vendor's compiled model, and the command-line flags that follow from it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from axproxy.models.manifest import (
    STATEMENT,
    Manifest,
    ModelStatementError,
    read_statement,
)
from axproxy.models.tokenizer_files import TokenizerFolderError, find_folder

_LAYER = re.compile(r"(.+_l)(\d+)(_together)?\.axmodel")
_CHUNK = re.compile(r"_p(\d+)_l")

# Rows and columns of the embedding tables of the published models (their run_*.sh scripts).
_ROWS = (151936, 152064)
_COLUMNS = (896, 1024, 1536, 2048, 2560, 3584)
_COLUMNS_BY_NAME = {
    "qwen3-0.6b": 1024,
    "qwen3-1.7b": 2048,
    "qwen3-4b": 2560,
    "qwen2.5-0.5b": 896,
    "qwen2.5-1.5b": 1536,
    "qwen2.5-3b": 2048,
}
FAMILIES = ("qwen3", "qwen2.5", "qwen2", "llama", "smollm", "minicpm", "internlm", "deepseek")
_TEMPLATE_BUFFER = 1024  # bytes that the program has for the name of a layer's file


class ModelFolderError(ValueError):
    """The folder does not hold a model that the runtime could load."""


@dataclass(frozen=True)
class ModelFolder:
    """`working_folder` is where `post_config.json` lies: the program reads it from there and has no
    flag for it.  `prefill_chunk`, in tokens, is `None` where the layers' names do not tell it,
    `tokenizer` where there is none or no telling which."""

    folder: Path
    layer_template: str
    layers: int
    post: Path
    embedding: Path
    embedding_rows: int
    embedding_columns: int
    working_folder: Path
    family: str
    prefill_chunk: int | None = None
    tokenizer: Path | None = None

    @classmethod
    def read(cls, path: Path) -> ModelFolder:
        """Looks at names and sizes, and at what `ax650.toml` states.  Raises `ModelFolderError`."""
        try:
            return cls._read(path)
        except ModelStatementError as error:
            raise ModelFolderError(str(error)) from error
        except (OSError, RuntimeError) as error:  # the latter for a link that leads to itself
            raise ModelFolderError(f"cannot look into {path} ({error}); mend that") from error

    @classmethod
    def _read(cls, path: Path) -> ModelFolder:
        folder = locate_model(path.resolve())
        stated = read_statement(folder)
        template, layers = _layers(folder, stated)
        embedding = _only(folder, "*.embed_tokens.weight.bfloat16.bin", stated.embedding)
        rows, columns = _table_shape(folder, embedding, stated)
        has_config = [at for at in (folder, folder.parent) if (at / "post_config.json").is_file()]
        # The program gives it to sprintf.
        full_template = f"{str(folder).replace('%', '%%')}/{template}"
        if len(full_template.encode()) >= _TEMPLATE_BUFFER - 16:
            raise ModelFolderError(
                f"the path of {folder} is too long for the vendor's program; move it up"
            )
        chunk = _CHUNK.search(template)
        return cls(
            folder=folder,
            layer_template=full_template,
            layers=layers,
            post=_only(folder, "*_post.axmodel", stated.post),
            embedding=embedding,
            embedding_rows=rows,
            embedding_columns=columns,
            working_folder=(has_config or [folder])[0],
            family=stated.family or _family(folder, template),
            prefill_chunk=stated.prefill_chunk or (int(chunk[1]) if chunk else None),
            tokenizer=_tokenizer(folder),
        )

    def layer(self, number: int) -> Path:
        """The file of one layer, counted from 0."""
        return Path(self.layer_template % number)

    def flags(self) -> list[str]:
        values = {
            "template_filename_axmodel": self.layer_template,
            "axmodel_num": self.layers,
            "filename_post_axmodel": self.post,
            "filename_tokens_embed": self.embedding,
            "tokens_embed_num": self.embedding_rows,
            "tokens_embed_size": self.embedding_columns,
            "use_mmap_load_embed": 1,
        }
        return [word for name, value in values.items() for word in (f"--{name}", str(value))]


def locate_model(path: Path) -> Path:
    """The folder with the axmodels: `path`, or the one in it that has some.

    Raises `ModelFolderError`, and `OSError` where it cannot be looked into.
    """
    if not path.is_dir():
        raise ModelFolderError(f"{path} is not a folder; set AX650_MODEL_PATH to the model's")
    inside = [path, *sorted(child for child in path.iterdir() if child.is_dir())]
    stated = [folder for folder in inside if (folder / STATEMENT).is_file()]
    models = [folder for folder in inside if any(folder.glob("*_post.axmodel"))] or stated
    if not models:
        raise ModelFolderError(
            f"{path} has no *_post.axmodel; set AX650_MODEL_PATH to the folder with the axmodels"
        )
    if len(models) > 1 and models[0] != path:
        names = " and ".join(folder.name for folder in models)
        raise ModelFolderError(f"{path} holds the models {names}; set AX650_MODEL_PATH to one")
    if path in stated and models[0] != path:
        raise ModelFolderError(f"{path / STATEMENT} must lie beside the axmodels; mv it there")
    return models[0]


def _layers(folder: Path, stated: Manifest) -> tuple[str, int]:
    numbers: dict[str, set[int]] = {}
    for file in folder.glob("*.axmodel"):
        if found := _LAYER.fullmatch(file.name):
            template = f"{found[1].replace('%', '%%')}%d{found[3] or ''}.axmodel"
            numbers.setdefault(template, set()).add(int(found[2]))
    if stated.layer_template:
        return _stated_layers(folder, stated.layer_template, stated.layers)
    if len(numbers) != 1:
        raise ModelFolderError(
            f"{folder} should hold the layers of one model, named like qwen3_p128_l0_together"
            f".axmodel; found {len(numbers)} sets"
        )
    ((template, present),) = numbers.items()
    if missing := set(range(stated.layers or max(present) + 1)) - present:
        raise ModelFolderError(_missing(folder, template % min(missing), min(missing)))
    return template, stated.layers or len(present)


def _stated_layers(folder: Path, template: str, layers: int | None) -> tuple[str, int]:
    if template.replace("%%", "").count("%") != 1 or "%d" not in template:
        raise ModelFolderError(
            f"layer_template in {folder / STATEMENT} must hold one %d, for the layer's number"
        )
    present = 0
    while (folder / (template % present)).is_file():
        present += 1
    if not present or present < (layers or 0):
        raise ModelFolderError(_missing(folder, template % present, present))
    return template, layers or present


def _missing(folder: Path, name: str, number: int) -> str:
    misnamed = folder / f"{name}.onnx"  # so it was published once
    if misnamed.is_file():
        return f"layer {number} is named {misnamed.name}; mv {misnamed} {folder / name}"
    return f"layer {number} is missing in {folder}; download the model again"


def _only(folder: Path, pattern: str, stated: str | None) -> Path:
    if stated:
        if not (folder / stated).is_file():
            raise ModelFolderError(f"{folder / STATEMENT} names {stated}, which is not there")
        return folder / stated
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise ModelFolderError(f"{folder} should hold one {pattern}; found {len(found)}")
    return found[0]


def _table_shape(folder: Path, embedding: Path, said: Manifest) -> tuple[int, int]:
    """Rows and columns of bfloat16 values, two bytes each."""
    size = embedding.stat().st_size
    if said.embedding_columns:
        return said.embedding_rows or size // (2 * said.embedding_columns), said.embedding_columns
    stated = _stated_shape(folder / "config.json")
    published = [(rows, columns) for rows in _ROWS for columns in _COLUMNS]
    for rows, columns in [*stated, *published]:
        if rows * columns * 2 == size:
            return rows, columns
    for name, columns in _COLUMNS_BY_NAME.items():
        if folder.name.lower().startswith(name):
            return _ROWS[0], columns  # the size does not agree; the preflight says so
    raise ModelFolderError(
        f"cannot tell the shape of {embedding} ({size} bytes) from its size; state it as "
        f"embedding_columns in {folder / STATEMENT}"
    )


def _stated_shape(config: Path) -> list[tuple[int, int]]:
    try:
        stated = json.loads(config.read_text())
        keys = [("tokens_embed_num", "tokens_embed_size"), ("vocab_size", "hidden_size")]
        return [(int(stated[a]), int(stated[b])) for a, b in keys if a in stated and b in stated]
    except (OSError, ValueError, TypeError):  # the published folders have an empty config.json
        return []


def _tokenizer(folder: Path) -> Path | None:
    try:
        return find_folder(folder)
    except TokenizerFolderError:
        return None


def _family(folder: Path, template: str) -> str:
    """By the folder's name, else by the layers', which say `qwen2` of Qwen2.5 as well."""
    for name in (folder.name.lower(), folder.parent.name.lower(), template.lower()):
        if found := next((family for family in FAMILIES if name.startswith(family)), None):
            return found
    return "unknown"
