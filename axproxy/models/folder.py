"""Reads a folder with the vendor's compiled model; makes the program's flags from it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from axproxy.models.access import why_closed, why_no_folder
from axproxy.models.embedding import likely_columns, table_shape
from axproxy.models.manifest import (
    MANIFEST,
    Manifest,
    ManifestError,
    read_manifest,
)
from axproxy.models.tokenizer_files import TokenizerFolderError, find_tokenizer
from axproxy.settings import folder_name

_LAYER = re.compile(r"(.+_l)(\d+)(_together)?\.axmodel")
_CHUNK = re.compile(r"_p(\d+)_l")

# "qwen3-0.6b-ax630c": the chip that a build is for.  The AX8850 is an AX650 on a card.
_CHIP = re.compile(r"(?<![a-z0-9])ax[-_ ]?(\d{3,4})([a-z]{0,2})(?![a-z0-9])")
_OUR_CHIPS = ("650", "8850")
_FOUR_BITS = re.compile(r"int4|w4a|4[-_]?bit")
QUANTIZATION = {4: "W4A16", 8: "W8A16"}  # by bits of a weight; no published build has others
FAMILIES = ("qwen3", "qwen2.5", "qwen2", "llama", "smollm", "minicpm", "internlm", "deepseek")
_TEMPLATE_BUFFER = 1024  # bytes that the program has for the name of a layer's file


class ModelFolderError(ValueError):
    """The folder has no model that the runtime could load; the message says why and what to do."""


@dataclass(frozen=True)
class ModelFolder:
    """What the runtime needs to know of a model folder.

    `working_folder` is the folder with `post_config.json`: the program reads it from its working
    directory and has no flag for it.  `prefill_chunk`, in tokens, is `None` where the layers' names
    do not contain it.  `tokenizer` is `None` where there is none, or several that fit equally well.
    """

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
        """Read names and sizes of the files, and `ax650.toml`.  Raises `ModelFolderError`."""
        try:
            return cls._read(path)
        except ManifestError as error:
            raise ModelFolderError(str(error)) from error
        except (OSError, RuntimeError) as error:  # the latter for a link that leads to itself
            at = Path(getattr(error, "filename", None) or path)
            if closed := why_closed(path) or why_closed(at.parent) or why_closed(at):
                raise ModelFolderError(closed) from error
            raise ModelFolderError(f"cannot read {path} ({error}); fix that") from error

    @classmethod
    def _read(cls, path: Path) -> ModelFolder:
        folder = locate_model(path.resolve())
        if chip := other_chip(folder):
            raise ModelFolderError(
                f"{folder} was made for another chip, the {chip}; take the AX650 build of the model"
            )
        manifest = read_manifest(folder)
        template, layers = _layers(folder, manifest)
        embedding = _only(
            folder, "*.embed_tokens.weight.bfloat16.bin", "embedding", manifest.embedding
        )
        rows, columns = _table_shape(folder, embedding, manifest)
        has_config = [at for at in (folder, folder.parent) if (at / "post_config.json").is_file()]
        # The program passes it to sprintf.
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
            post=_only(folder, "*_post.axmodel", "post", manifest.post),
            embedding=embedding,
            embedding_rows=rows,
            embedding_columns=columns,
            working_folder=(has_config or [folder])[0],
            family=manifest.family or _family(folder, template),
            prefill_chunk=manifest.prefill_chunk or (int(chunk[1]) if chunk else None),
            tokenizer=_tokenizer(folder),
        )

    @property
    def bits(self) -> int:
        """The width of a weight, as the names of the folder and of the one above it say."""
        return weight_bits(folder_name(self.folder), folder_name(self.folder.parent))

    def layer(self, number: int) -> Path:
        """Return the file of one layer, counted from 0."""
        return Path(self.layer_template % number)

    def flags(self) -> list[str]:
        """Return the flags of the vendor's program for this model."""
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
    """Return the folder with the axmodels: `path`, or the folder in it that has some.

    Of several it is the one for this chip.  Raises `ModelFolderError`, and `OSError` where a folder
    cannot be read.
    """
    if problem := why_no_folder(path):
        raise ModelFolderError(problem)
    inside = [path, *sorted(child for child in path.iterdir() if child.is_dir())]
    stated = [folder for folder in inside if (folder / MANIFEST).is_file()]
    models = [folder for folder in inside if any(folder.glob("*_post.axmodel"))] or stated
    if not models:
        if closed := next(filter(None, map(why_closed, inside)), None):
            raise ModelFolderError(closed)
        if _has_layers(path) and any(path.parent.glob("*_post.axmodel")):
            return path
        raise ModelFolderError(
            f"{path} has no *_post.axmodel; set AX650_MODEL_PATH to the folder with the axmodels"
        )
    if not _has_layers(path) and (deeper := [folder for folder in inside if _has_layers(folder)]):
        models = deeper  # files that they share may lie beside them
    if len(models) > 1 and models[0] != path:
        models = [folder for folder in models if other_chip(folder) is None] or models
    if len(models) > 1 and models[0] != path:
        names = " and ".join(folder.name for folder in models)
        raise ModelFolderError(f"{path} holds the models {names}; set AX650_MODEL_PATH to one")
    if path in stated and models[0] != path:
        raise ModelFolderError(f"{path / MANIFEST} must be beside the axmodels; mv it there")
    return models[0]


def other_chip(folder: Path) -> str | None:
    """Return the chip that the folder's name says it is for, `None` if that is ours or not said.

    A folder without a chip in its name is judged by its repository's.
    """
    above = [folder.parent] if (folder.parent / "README.md").is_file() else []
    for place in (folder, *above):
        if _CHIP.search(folder_name(place).lower()):
            return chip_in(folder_name(place))
    return None


def chip_in(name: str) -> str | None:
    """Return the other chip that a name says something is for, `None` if it is ours or not said."""
    chips = _CHIP.findall(name.lower())
    if not chips or any(number in _OUR_CHIPS for number, _ in chips):
        return None
    return f"AX{chips[0][0]}{chips[0][1]}".upper()


def weight_bits(*names: str) -> int:
    """Return how many bits a weight has, by the names of a model; published builds have 8 or 4."""
    return 4 if any(_FOUR_BITS.search(name.lower()) for name in names) else 8


def _has_layers(folder: Path) -> bool:
    return any(_LAYER.fullmatch(file.name) for file in folder.glob("*.axmodel"))


def _layers(folder: Path, manifest: Manifest) -> tuple[str, int]:
    numbers: dict[str, set[int]] = {}
    for file in folder.glob("*.axmodel"):
        if found := _LAYER.fullmatch(file.name):
            template = f"{found[1].replace('%', '%%')}%d{found[3] or ''}.axmodel"
            numbers.setdefault(template, set()).add(int(found[2]))
    if manifest.layer_template:
        return _layers_from_manifest(folder, manifest.layer_template, manifest.layers)
    if len(numbers) != 1:
        raise ModelFolderError(
            f"{folder} should hold the layers of one model, named like qwen3_p128_l0_together"
            f".axmodel; found {len(numbers)} sets"
        )
    ((template, present),) = numbers.items()
    if missing := set(range(manifest.layers or max(present) + 1)) - present:
        raise ModelFolderError(_missing(folder, template % min(missing), min(missing)))
    return template, manifest.layers or len(present)


def _layers_from_manifest(folder: Path, template: str, layers: int | None) -> tuple[str, int]:
    if template.replace("%%", "").count("%") != 1 or "%d" not in template:
        raise ModelFolderError(
            f"layer_template in {folder / MANIFEST} must hold one %d, for the layer's number"
        )
    present = 0
    while (folder / (template % present)).is_file():
        present += 1
    if not present or present < (layers or 0):
        raise ModelFolderError(_missing(folder, template % present, present))
    return template, layers or present


def _missing(folder: Path, name: str, number: int) -> str:
    misnamed = folder / f"{name}.onnx"  # as some models were published
    if misnamed.is_file():
        return f"layer {number} is named {misnamed.name}; mv {misnamed} {folder / name}"
    return f"layer {number} is missing in {folder}; download the model again"


def _only(folder: Path, pattern: str, key: str, stated: str | None) -> Path:
    """Return the one file of this pattern, also from the folder above, where builds share it."""
    if stated:
        if not (folder / stated).is_file():
            raise ModelFolderError(
                f"{folder / MANIFEST} names {stated}, which does not exist; correct {key} there"
            )
        return folder / stated
    found = sorted(folder.glob(pattern))
    shared = [] if found else sorted(folder.parent.glob(pattern))
    if len(shared) == 1:
        return shared[0]
    if len(found) != 1:
        example = (found or shared or [folder / pattern])[0]
        raise ModelFolderError(
            f"{folder} should hold one {pattern}; found {len(found)}; download it again, or state "
            f'{key} = "{os.path.relpath(example, folder)}" in {folder / MANIFEST}'
        )
    return found[0]


def _table_shape(folder: Path, embedding: Path, manifest: Manifest) -> tuple[int, int]:
    size = embedding.stat().st_size
    if manifest.embedding_columns:
        rows = manifest.embedding_rows or size // (2 * manifest.embedding_columns)
        return rows, manifest.embedding_columns
    tokenizer = _tokenizer(folder)
    names = [folder_name(folder)]
    if shape := table_shape(size, names, folder / "config.json", tokenizer):
        return shape
    likely = likely_columns(size, tokenizer)
    value = f" = {' or '.join(map(str, likely))}" if likely else ", the model's hidden_size,"
    raise ModelFolderError(
        f"cannot tell the shape of {embedding} ({size} bytes) from its size; state it as "
        f"embedding_columns{value} in {folder / MANIFEST}"
    )


def _tokenizer(folder: Path) -> Path | None:
    try:
        return find_tokenizer(folder)
    except TokenizerFolderError:
        return None


def _family(folder: Path, template: str) -> str:
    """Return the family in the folder's name, else in the layers' names.

    The layers' names are the last resort: they are `qwen2_…` for Qwen2.5 too.
    """
    names = (folder_name(folder), folder_name(folder.parent), template)
    for name in (name.lower() for name in names):
        if found := next((family for family in FAMILIES if name.startswith(family)), None):
            return found
    return "unknown"
