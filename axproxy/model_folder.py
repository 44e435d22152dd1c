"""A folder with the vendor's compiled model, and the command-line flags that follow from it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

_LAYER = re.compile(r"(.+_l)(\d+)(_together)?\.axmodel")

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


class ModelFolderError(ValueError):
    """The folder does not hold a model that the runtime could load."""


@dataclass(frozen=True)
class ModelFolder:
    """`working_folder` is where `post_config.json` lies: the program reads it from there and has no
    flag for it."""

    layer_template: str
    layers: int
    post: Path
    embedding: Path
    embedding_rows: int
    embedding_columns: int
    working_folder: Path

    @classmethod
    def read(cls, path: Path) -> ModelFolder:
        """Looks at names and sizes only.  Raises `ModelFolderError`."""
        folder = _folder_with_layers(path.resolve())
        template, layers = _layers(folder)
        embedding = _only(folder, "*.embed_tokens.weight.bfloat16.bin")
        rows, columns = _table_shape(folder, embedding)
        has_config = [at for at in (folder, folder.parent) if (at / "post_config.json").is_file()]
        return cls(
            # The program gives it to sprintf.
            layer_template=f"{str(folder).replace('%', '%%')}/{template}",
            layers=layers,
            post=_only(folder, "*_post.axmodel"),
            embedding=embedding,
            embedding_rows=rows,
            embedding_columns=columns,
            working_folder=(has_config or [folder])[0],
        )

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


def _folder_with_layers(path: Path) -> Path:
    if not path.is_dir():
        raise ModelFolderError(f"{path} is not a folder; set AX650_MODEL_PATH to the model's")
    inside = [path, *sorted(child for child in path.iterdir() if child.is_dir())]
    found = [folder for folder in inside if any(folder.glob("*_post.axmodel"))]
    if not found:
        raise ModelFolderError(
            f"{path} has no *_post.axmodel; set AX650_MODEL_PATH to the folder with the axmodels"
        )
    return found[0]


def _layers(folder: Path) -> tuple[str, int]:
    numbers: dict[str, set[int]] = {}
    for file in folder.glob("*.axmodel"):
        if found := _LAYER.fullmatch(file.name):
            template = f"{found[1]}%d{found[3] or ''}.axmodel"
            numbers.setdefault(template, set()).add(int(found[2]))
    if len(numbers) != 1:
        raise ModelFolderError(
            f"{folder} should hold the layers of one model, named like qwen3_p128_l0_together"
            f".axmodel; found {len(numbers)} sets"
        )
    ((template, present),) = numbers.items()
    if missing := set(range(max(present) + 1)) - present:
        raise ModelFolderError(
            f"layer {min(missing)} is missing in {folder}; download the model again"
        )
    return template, len(present)


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise ModelFolderError(f"{folder} should hold one {pattern}; found {len(found)}")
    return found[0]


def _table_shape(folder: Path, embedding: Path) -> tuple[int, int]:
    """Rows and columns of bfloat16 values, two bytes each."""
    size = embedding.stat().st_size
    stated = _stated_shape(folder / "config.json")
    published = [(rows, columns) for rows in _ROWS for columns in _COLUMNS]
    for rows, columns in [*stated, *published]:
        if rows * columns * 2 == size:
            return rows, columns
    for name, columns in _COLUMNS_BY_NAME.items():
        if folder.name.lower().startswith(name):
            return _ROWS[0], columns  # the size does not agree; the program will say so
    raise ModelFolderError(
        f"cannot tell the shape of {embedding} ({size} bytes) from its size; state it as "
        "tokens_embed_num and tokens_embed_size in a config.json beside it"
    )


def _stated_shape(config: Path) -> list[tuple[int, int]]:
    try:
        stated = json.loads(config.read_text())
        keys = [("tokens_embed_num", "tokens_embed_size"), ("vocab_size", "hidden_size")]
        return [(int(stated[a]), int(stated[b])) for a, b in keys if a in stated and b in stated]
    except (OSError, ValueError, TypeError):  # the published folders have an empty config.json
        return []
