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

And how clients get the model:

name = "qwen3:1.7b"
system = "You are a helpful assistant."
keep_alive = "10m"
think = "off"
[parameters]
temperature = 0.6
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from axproxy.durations import parse_keep_alive
from axproxy.models.model import ModelDefaults

MANIFEST = "ax650.toml"


class ManifestError(ValueError):
    """An `ax650.toml` cannot be read; the message says why and what to do."""


@dataclass(frozen=True)
class Manifest:
    """The keys of `ax650.toml`; each may be left out.

    File names are relative to the folder of `ax650.toml`.  `%d` in `layer_template` is the layer's
    number; `prefill_chunk` is in tokens.  `keep_alive` is as in Ollama's requests, `think` is `on`,
    `off` or `ask`, and `parameters` have the names of Ollama's options.
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
    name: str | None = None
    system: str | None = None
    keep_alive: str | None = None
    think: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def defaults(self) -> ModelDefaults:
        """What the model adds to requests.  Raises `ManifestError`."""
        try:
            keep_alive = None if self.keep_alive is None else parse_keep_alive(self.keep_alive)
        except ValueError as error:
            raise ManifestError(f"keep_alive in {MANIFEST}: {error}; write 300 or 5m") from error
        if self.think not in (None, "on", "off", "ask"):
            raise ManifestError(f"think in {MANIFEST} must be on, off or ask")
        return ModelDefaults(
            system=self.system or "",
            parameters=self.parameters,
            keep_alive=keep_alive,
            think=None if self.think in (None, "ask") else self.think == "on",
        )


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
    known = {each.name: str(each.type) for each in fields(Manifest)}
    for key, value in stated.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise ManifestError(f"{file} has the unknown key {key}; {hint}")
        if key == "keep_alive" and type(value) is int:
            stated[key] = str(value)
        elif problem := _why_wrong(known[key], value):
            raise ManifestError(f"{key} in {file} must be {problem}")
    manifest = Manifest(**stated)
    _ = manifest.defaults  # it may be wrong
    return manifest


def _why_wrong(type_: str, value: object) -> str | None:
    """Return what a value of this type must be, `None` if it is."""
    if type_.startswith("dict"):
        return None if isinstance(value, dict) else "a table"
    if type_.startswith("int"):
        return None if type(value) is int and value > 0 else "a whole number above 0"
    return None if isinstance(value, str) and value else "a string in quotes"
