"""The manifest `ax650.toml`: facts about a model folder that its files do not contain.

layers = 28
layer_template = "qwen3_p128_l%d_together.axmodel"
post = "qwen3_post.axmodel"
embedding = "model.embed_tokens.weight.bfloat16.bin"
embedding_rows = 151936
embedding_columns = 1024
tokenizer = "../qwen3_tokenizer"
prefill_chunk = 128
family = "qwen3"
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

MANIFEST = "ax650.toml"


class ManifestError(ValueError):
    """An `ax650.toml` cannot be read; the message says why and what to do."""


@dataclass(frozen=True)
class Manifest:
    """The keys of `ax650.toml`; each may be left out.

    File names are relative to the folder of `ax650.toml`.  `%d` in `layer_template` is the layer's
    number; `prefill_chunk` is in tokens.
    """

    layers: int | None = None
    layer_template: str | None = None
    post: str | None = None
    embedding: str | None = None
    embedding_rows: int | None = None
    embedding_columns: int | None = None
    tokenizer: str | None = None
    prefill_chunk: int | None = None
    family: str | None = None


def find_manifest(path: Path) -> Path | None:
    """Return the folder with an `ax650.toml`: `path`, or a folder in it; `None` without one."""
    inside = sorted(child for child in path.iterdir() if child.is_dir())
    return next((folder for folder in (path, *inside) if (folder / MANIFEST).is_file()), None)


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest in `folder`, an empty one without the file.  Raises `ManifestError`."""
    file = folder / MANIFEST
    try:
        stated = tomllib.loads(file.read_text())
    except FileNotFoundError:
        return Manifest()
    except OSError as error:
        raise ManifestError(f"cannot read {file} ({error.strerror}); fix that") from error
    except ValueError as error:  # of TOML, or of UTF-8
        raise ManifestError(f"{file} is not TOML: {error}; fix that line") from error
    known = {field.name: str(field.type) for field in fields(Manifest)}
    for key, value in stated.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise ManifestError(f"{file} has the unknown key {key}; {hint}")
        if known[key].startswith("int"):
            if type(value) is not int or value < 1:
                raise ManifestError(f"{key} in {file} must be a whole number above 0")
        elif not isinstance(value, str) or not value:
            raise ManifestError(f"{key} in {file} must be a string in quotes")
    return Manifest(**stated)
