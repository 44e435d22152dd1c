"""Finds the parts of a model that PyAXEngine can run layer by layer, without opening one.

Three layouts are known: one file for each layer and a post model (the vendor's Python demos), a
file for the prompt and one for the answer, and a single file.  What the files take and return is
read from their sessions, in the worker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from axproxy.models.access import why_no_folder
from axproxy.models.folder import ModelFolderError

AxengineLayout = Literal["layers", "split", "single"]

_LAYER = re.compile(r"(.+_l)(\d+)_together\.axmodel")
_TABLES = ("*embed_tokens*.npy", "*embed_tokens*.bfloat16.bin", "*embed*.npy", "*embed*.bin")


class AxengineFolderError(ModelFolderError):
    """The folder fits none of the layouts; the message says what was found and what to do."""


@dataclass(frozen=True)
class AxengineFolder:
    """The files of a model.

    `parts` are the layers in order, the prefill and the decode file, or the only file.  `post` is
    None where the parts return logits.  `table` holds the embeddings of all tokens, one row each;
    an encoder has none: it takes tokens.
    """

    folder: Path
    layout: AxengineLayout
    parts: tuple[Path, ...]
    post: Path | None = None
    table: Path | None = None

    @property
    def is_encoder(self) -> bool:
        """Whether it takes tokens and returns vectors, as far as its files show."""
        return self.layout == "single" and self.table is None

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are loaded onto the card."""
        return (*self.parts, *((self.post,) if self.post else ()))

    @staticmethod
    def locate(path: Path) -> Path:
        """Return `path`, or the only folder in it that has axmodels.  Raises as `read` does."""
        if problem := why_no_folder(path):
            raise AxengineFolderError(problem)
        inside = [child for child in sorted(path.iterdir()) if any(child.glob("*.axmodel"))]
        return path if any(path.glob("*.axmodel")) or len(inside) != 1 else inside[0]

    @classmethod
    def read(cls, path: Path) -> AxengineFolder:
        """Return the parts of the model in `path`.  Raises `AxengineFolderError`, `OSError`."""
        folder = cls.locate(path)
        found = {file.name: file for file in sorted(folder.glob("*.axmodel"))}
        table = _table(folder)
        split = tuple(found.get(f"model_{part}.axmodel") for part in ("prefill", "decode"))
        if split[0] and split[1]:
            return cls(folder, "split", (split[0], split[1]), table=_required(folder, table))
        layers = {int(name[2]): at for key, at in found.items() if (name := _LAYER.fullmatch(key))}
        posts = [at for name, at in found.items() if name.endswith("_post.axmodel")]
        if layers and len(posts) == 1:
            if missing := set(range(max(layers) + 1)) - layers.keys():
                raise AxengineFolderError(
                    f"layer {min(missing)} is missing in {folder}; download the model again"
                )
            parts = tuple(layers[number] for number in sorted(layers))
            return cls(folder, "layers", parts, posts[0], _required(folder, table))
        if len(found) == 1 and not layers:
            return cls(folder, "single", tuple(found.values()), table=table)
        seen = ", ".join(list(found)[:4]) or "no .axmodel file"
        raise AxengineFolderError(
            f"{folder} has {seen}; PyAXEngine needs *_l0_together.axmodel and so on with a "
            "*_post.axmodel, model_prefill.axmodel with model_decode.axmodel, or one file"
        )


def _table(folder: Path) -> Path | None:
    for pattern in _TABLES:
        if found := sorted(folder.glob(pattern)):
            return found[0]
    return None


def _required(folder: Path, table: Path | None) -> Path:
    if table is None:
        raise AxengineFolderError(
            f"{folder} has no table of embeddings; download model.embed_tokens.weight.npy or "
            "….bfloat16.bin from the model's page"
        )
    return table
