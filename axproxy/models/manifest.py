"""`ax650.toml`: what a person states about a model folder where its files tell too little.

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

STATEMENT = "ax650.toml"


class ModelStatementError(ValueError):
    """An `ax650.toml` that cannot be understood, in one sentence."""


@dataclass(frozen=True)
class Manifest:
    """Every key may be left out.  File names are relative to the folder of `ax650.toml`; `%d` in
    the template stands for the layer's number, `prefill_chunk` is in tokens."""

    layers: int | None = None
    layer_template: str | None = None
    post: str | None = None
    embedding: str | None = None
    embedding_rows: int | None = None
    embedding_columns: int | None = None
    tokenizer: str | None = None
    prefill_chunk: int | None = None
    family: str | None = None


def find_statement(path: Path) -> Path | None:
    """The folder with an `ax650.toml`: the model's folder, or one in it."""
    inside = sorted(child for child in path.iterdir() if child.is_dir())
    return next((folder for folder in (path, *inside) if (folder / STATEMENT).is_file()), None)


def read_statement(folder: Path) -> Manifest:
    """Without such a file nothing is stated.  Raises `ModelStatementError`."""
    file = folder / STATEMENT
    try:
        stated = tomllib.loads(file.read_text())
    except FileNotFoundError:
        return Manifest()
    except OSError as error:
        raise ModelStatementError(f"cannot read {file} ({error.strerror}); mend that") from error
    except ValueError as error:  # of TOML, or of UTF-8
        raise ModelStatementError(f"{file} is not TOML: {error}; mend that line") from error
    known = {field.name: str(field.type) for field in fields(Manifest)}
    for key, value in stated.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise ModelStatementError(f"{file} has the unknown key {key}; {hint}")
        if known[key].startswith("int"):
            if type(value) is not int or value < 1:
                raise ModelStatementError(f"{key} in {file} must be a whole number above 0")
        elif not isinstance(value, str) or not value:
            raise ModelStatementError(f"{key} in {file} must be a text in quotes")
    return Manifest(**stated)
