"""Reads a folder with a model for the vendor's `axllm`; its `config.json` names all other files.

The keys are those that `axllm serve` reads (the manual of AXERA-TECH/ax-llm).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axproxy.models.access import why_closed, why_no_folder
from axproxy.models.folder import ModelFolderError, other_chip, weight_bits
from axproxy.models.manifest import ManifestError, read_manifest
from axproxy.models.tokenizer_files import VOCABULARY
from axproxy.settings import folder_name

CONFIG = "config.json"
LARGEST_CONFIG = 1 << 20  # bytes; the published ones have some hundred
_TEMPLATE, _VOCABULARY = "template_filename_axmodel", "url_tokenizer_model"

# By the beginning of the model's name, the longest first.
_FAMILIES = (
    "qwen3.5",
    "qwen3",
    "qwen2.5",
    "qwen2",
    "deepseek",
    "gemma4",
    "gemma3",
    "minicpm",
    "smollm",
    "llama",
    "internvl",
    "fastvlm",
    "paddleocr",
    "hymt",
)
# axllm computes nonsense with it on a card (AXERA-TECH/ax-llm issue 39).
_BROKEN_FAMILIES = ("gemma4",)


class AxllmFolderError(ModelFolderError):
    """The folder has no model that `axllm` could load; the message says why and what to do."""


@dataclass(frozen=True)
class AxllmFolder:
    """What the service needs to know of such a folder.

    `config` is the content of `config.json`.  `model_name` is what requests to the program must
    name exactly.  `vocabulary` is its tokenizer in MNN's text form, `tokenizer_json` the usual one,
    where the folder has that too.  `sees` says that the model takes pictures.
    """

    folder: Path
    config: Mapping[str, Any]
    model_name: str
    family: str
    layer_files: tuple[Path, ...]
    post: Path
    embedding: Path
    embedding_rows: int
    embedding_columns: int
    vocabulary: Path
    tokenizer_json: Path | None
    is_embedding: bool
    sees: bool

    @classmethod
    def read(cls, path: Path) -> AxllmFolder:
        """Read `config.json` and the names of the files.  Raises `AxllmFolderError`."""
        try:
            return cls._read(find_config(path) or path.resolve())
        except (OSError, RuntimeError) as error:  # the latter for a link that leads to itself
            at = Path(getattr(error, "filename", None) or path)
            if closed := why_closed(path) or why_closed(at):
                raise AxllmFolderError(closed) from error
            raise AxllmFolderError(f"cannot read {path} ({error}); fix that") from error

    @classmethod
    def _read(cls, folder: Path) -> AxllmFolder:
        if problem := why_no_folder(folder):
            raise AxllmFolderError(problem)
        if chip := other_chip(folder):
            raise AxllmFolderError(
                f"{folder} was made for another chip, the {chip}; take the AX650 build of the model"
            )
        try:
            read_manifest(folder)
        except ManifestError as error:
            raise AxllmFolderError(str(error)) from error
        reader = _ConfigReader(folder, read_config(folder))
        name = reader.text("model_name")
        family = family_of(name, folder_name(folder))
        if family in _BROKEN_FAMILIES:
            raise AxllmFolderError(
                f"{name} answers nonsense on a card with axllm as it is; choose another model"
            )
        config = reader.config
        return cls(
            folder=folder,
            config=config,
            model_name=name,
            family=family,
            layer_files=reader.layer_files(),
            post=reader.file("filename_post_axmodel"),
            embedding=reader.file("filename_tokens_embed"),
            embedding_rows=reader.number("tokens_embed_num"),
            embedding_columns=reader.number("tokens_embed_size"),
            vocabulary=reader.file(_VOCABULARY),
            tokenizer_json=_beside(folder, VOCABULARY),
            is_embedding=bool(config.get("is_embedding") or config.get("embedding"))
            or config.get("model_type") == "embedding_gemma2",
            sees=bool(config.get("vlm_type") or config.get("filename_image_encoder_axmodel")),
        )

    @property
    def layers(self) -> int:
        return len(self.layer_files)

    @property
    def bits(self) -> int:
        """The width of a weight, as the names of the model and its folder say."""
        return weight_bits(self.model_name, folder_name(self.folder))

    @property
    def models(self) -> list[Path]:
        """The files that go onto the card."""
        return sorted(self.folder.glob("*.axmodel"))


def is_for_axllm(path: Path) -> bool:
    """Return whether the folder, or one in it, has a `config.json` as `axllm` needs it."""
    try:
        return find_config(path) is not None
    except OSError:
        return False


def find_config(path: Path) -> Path | None:
    """Return the folder with axllm's `config.json`: `path`, or the only one in it that has one.

    Raises `AxllmFolderError` where several have one, and `OSError`.
    """
    path = path.resolve()
    if _has_config(path):
        return path
    inside = sorted(child for child in path.iterdir() if child.is_dir() and _has_config(child))
    if len(inside) > 1:
        inside = [folder for folder in inside if other_chip(folder) is None] or inside
    if len(inside) > 1:
        names = " and ".join(folder.name for folder in inside)
        raise AxllmFolderError(f"{path} holds the models {names}; set AX650_MODEL_PATH to one")
    return inside[0] if inside else None


def read_config(folder: Path) -> dict[str, Any]:
    """Return the content of `config.json`.  Raises `AxllmFolderError` and `OSError`."""
    file = folder / CONFIG
    try:
        with file.open("rb") as source:
            content = source.read(LARGEST_CONFIG + 1)
        config = json.loads(content) if len(content) <= LARGEST_CONFIG else None
    except FileNotFoundError as error:
        raise AxllmFolderError(
            f"there is no {file}; set AX650_MODEL_PATH to the folder that has it"
        ) from error
    except (ValueError, RecursionError) as error:
        raise AxllmFolderError(f"{file} is not JSON ({error}); download it again") from error
    if not isinstance(config, dict):
        raise AxllmFolderError(f"{file} is not a JSON object; download it again")
    return config


def family_of(*names: str) -> str:
    """Return the family that the first name with a known one begins with, else "unknown"."""
    for name in names:
        letters = re.sub(r"[-_ ]", "", name.rpartition("/")[2].lower())
        if found := next((family for family in _FAMILIES if letters.startswith(family)), None):
            return found
    return "unknown"


class _ConfigReader:
    """Reads the keys of one `config.json`; raises `AxllmFolderError` with the key's name."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder = folder
        self.config = config

    def text(self, key: str) -> str:
        value = self.config.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self._bad(key, "a text")
        return value

    def number(self, key: str) -> int:
        value = self.config.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise self._bad(key, "a whole number above 0")
        return value

    def file(self, key: str) -> Path:
        return self._existing(self.text(key), key)

    def layer_files(self) -> tuple[Path, ...]:
        template, count = self.text(_TEMPLATE), self.number("axmodel_num")
        if template.replace("%%", "").count("%") != 1 or "%d" not in template:
            raise self._bad(_TEMPLATE, "a name with one %d in it")
        return tuple(self._existing(template % number, _TEMPLATE) for number in range(count))

    def _existing(self, name: str, key: str) -> Path:
        # The program takes a name that begins with `./` from its working directory, which we set to
        # this folder too.
        file = self.folder / name
        if not file.is_file():
            raise AxllmFolderError(
                f"{self.folder / CONFIG} names {name} as {key}, which does not exist; download the "
                "model again"
            )
        return file

    def _bad(self, key: str, wanted: str) -> AxllmFolderError:
        state = "lacks" if self.config.get(key) is None else "has a wrong"
        return AxllmFolderError(
            f"{self.folder / CONFIG} {state} {key} ({wanted}); download {CONFIG} again"
        )


def _has_config(folder: Path) -> bool:
    """Return whether the folder has a `config.json` with the two keys that only axllm uses."""
    file = folder / CONFIG
    try:
        if not file.is_file() or file.stat().st_size > LARGEST_CONFIG:
            return False
        content = file.read_bytes()
    except OSError:
        return False
    return all(f'"{key}"'.encode() in content for key in (_TEMPLATE, _VOCABULARY))


def _beside(folder: Path, name: str) -> Path | None:
    found = [folder / name, *sorted(folder.glob(f"*tokenizer*/{name}"))]
    return next((file for file in found if file.is_file()), None)
