"""Checks that the files of a model are all there, complete, and what their names say."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from axproxy.models.access import why_closed, why_no_folder
from axproxy.models.axengine_folder import AxengineFolder, AxengineFolderError
from axproxy.models.axllm_folder import AxllmFolder, AxllmFolderError, find_config
from axproxy.models.folder import ModelFolder, ModelFolderError, locate_model
from axproxy.models.manifest import MANIFEST
from axproxy.models.tokenizer_files import (
    TokenizerFolderError,
    find_tokenizer,
    read_tokenizer_files,
)
from axproxy.preflight.context import CheckContext
from axproxy.preflight.file_kind import WrongFile, kind_of
from axproxy.preflight.finding import Finding
from axproxy.preflight.store import models_in

MIN_FILE_BYTES = 1024  # a smaller model file is the rest of a broken download
_NO_MODEL = "get one: ax650 pull qwen3:1.7b, or set AX650_MODEL_PATH to the folder of yours"
_PARTS = ("*.axmodel", "*.axmodel.onnx", "*.bfloat16.bin")

# Number of layers by the prefix of their files and the width of the embedding, as published.
_PUBLISHED_LAYERS = {
    ("qwen3", 1024): 28,
    ("qwen3", 2048): 28,
    ("qwen3", 2560): 36,
    ("qwen2", 896): 24,
    ("qwen2", 1536): 28,
    ("qwen2", 2048): 36,
    ("qwen2", 3584): 28,
}
# The sampling values that the program starts with.  If one is missing from post_config.json it
# aborts (vendor's source).
_SAMPLING: dict[str, tuple[type, ...]] = {
    "enable_temperature": (bool,),
    "temperature": (int, float),
    "enable_repetition_penalty": (bool,),
    "repetition_penalty": (int, float),
    "penalty_window": (int, float),
    "enable_top_p_sampling": (bool,),
    "top_p": (int, float),
    "enable_top_k_sampling": (bool,),
    "top_k": (int, float),
}


def check_model_folder(context: CheckContext) -> list[Finding]:
    path = context.settings.model_path
    if path is None:
        remedy = _choice(context) or _NO_MODEL
        return [Finding("model-folder", "fail", "no model is configured", remedy)]
    if context.runtime == "axllm":
        return [_axllm_folder(context, path)]
    if context.runtime == "axengine":
        return _axengine_folder(context, path)
    try:
        if damaged := _damaged(locate_model(path.resolve())):
            return [damaged]
        model = ModelFolder.read(path)
    except (ModelFolderError, OSError) as error:
        seen, _, remedy = str(error).rpartition("; ")
        return [Finding("model-folder", "fail", seen, _choice(context) or remedy)]
    problems = [
        *_embedding(model),
        *_layer_count(model),
        *_post_config(model.working_folder),
        *_tokenizer(context, path),
    ]
    whole = Finding(
        "model-folder",
        "ok",
        f"{model.folder} holds {model.layers} layers of {model.family}, embedding "
        f"{model.embedding_rows} x {model.embedding_columns}, tokenizer {model.tokenizer}",
    )
    return problems or [whole]


def _axengine_folder(context: CheckContext, path: Path) -> list[Finding]:
    try:
        model = AxengineFolder.read(path.resolve())
    except (AxengineFolderError, OSError) as error:
        seen, _, remedy = str(error).rpartition("; ")
        return [Finding("model-folder", "fail", seen, remedy)]
    whole = f"{model.folder} holds {len(model.files)} files for PyAXEngine ({model.layout})"
    damaged = _damaged(model.folder)
    return (
        [damaged]
        if damaged
        else [*_tokenizer(context, path)] or [Finding("model-folder", "ok", whole)]
    )


def _axllm_folder(context: CheckContext, path: Path) -> Finding:
    try:
        folder = find_config(path)
        if folder and (damaged := _damaged(folder)):
            return damaged
        model = AxllmFolder.read(path)
    except (AxllmFolderError, OSError) as error:
        seen, _, remedy = str(error).rpartition("; ")
        return Finding("model-folder", "fail", seen, _choice(context) or remedy)
    with model.vocabulary.open("rb") as vocabulary:
        begins_right = vocabulary.read(4) == b"430 "
    if not begins_right:
        seen = f"{model.vocabulary} is not a vocabulary as axllm reads it"
        remedy = f"run `git lfs pull` in its folder, or download {model.vocabulary.name} again"
        return Finding("model-folder", "fail", seen, remedy)
    if problem := next(_post_config(model.folder), None):
        return problem
    return Finding(
        "model-folder",
        "ok",
        f"{model.folder} holds {model.layers} layers of {model.model_name} for axllm",
    )


def _damaged(folder: Path) -> Finding | None:
    """Return one finding for all files that are damaged: they have one cause."""
    parts = list(_model_files(folder))
    bad: list[tuple[Path, str, str]] = []
    for file in parts:
        try:
            kind, size = kind_of(file), file.stat().st_size
        except OSError as error:
            bad.append((file, f"unreadable ({error.strerror})", f"sudo chmod a+r {_quote(file)}"))
            continue
        if isinstance(kind, WrongFile):
            bad.append((file, kind.what, kind.remedy))
        elif size < MIN_FILE_BYTES:
            again = f"download {file.name} again; check the free space: df -h {_quote(folder)}"
            bad.append((file, f"only {size} bytes long", again))
    if not bad:
        return None
    file, what, remedy = bad[0]
    more = f" ({len(bad)} of {len(parts)} model files are damaged)" if len(bad) > 1 else ""
    return Finding("model-folder", "fail", f"{file} is {what}{more}", remedy)


def _model_files(folder: Path) -> Iterator[Path]:
    for pattern in _PARTS:
        yield from sorted(file for file in folder.glob(pattern) if file.is_file())


def _embedding(model: ModelFolder) -> Iterator[Finding]:
    size = model.embedding.stat().st_size
    wanted = model.embedding_rows * model.embedding_columns * 2
    if size != wanted:
        yield Finding(
            "model-folder",
            "fail",
            f"{model.embedding} has {size} bytes; {model.embedding_rows} x "
            f"{model.embedding_columns} values of 2 bytes would be {wanted}",
            f"download {model.embedding.name} again, or state its shape in "
            f"{model.folder / MANIFEST}",
        )


def _layer_count(model: ModelFolder) -> Iterator[Finding]:
    """Find missing last layers: the program loads without them and answers gibberish."""
    prefix = Path(model.layer_template).name.partition("_")[0]
    published = _PUBLISHED_LAYERS.get((prefix, model.embedding_columns), 0)
    stated = (model.folder / MANIFEST).is_file()
    if model.layers < published and not stated:
        yield Finding(
            "model-folder",
            "fail",
            f"{model.folder} holds {model.layers} layers; a {prefix} model with embeddings of "
            f"{model.embedding_columns} has {published}",
            f"download the model again, or state layers = {model.layers} in "
            f"{model.folder / MANIFEST}",
        )


def _post_config(folder: Path) -> Iterator[Finding]:
    file = folder / "post_config.json"
    remedy = f"copy {file.name} from the model's page to {_quote(folder)}"
    try:
        config: Any = json.loads(file.read_text())
    except FileNotFoundError:
        # The program warns and goes on; every request sends all sampling values.
        yield Finding("model-folder", "warn", f"there is no {file}", remedy)
        return
    except (OSError, ValueError) as error:
        yield Finding("model-folder", "fail", f"{file} is not JSON ({error})", remedy)
        return
    entry = config if isinstance(config, dict) else {}
    bad = [
        key
        for key, types in _SAMPLING.items()
        if key not in entry
        or not isinstance(entry[key], types)
        or (isinstance(entry[key], bool) and bool not in types)
    ]
    if bad:
        yield Finding(
            "model-folder",
            "fail",
            f"{file} lacks {', '.join(bad)}; the program would abort",
            remedy,
        )


def _tokenizer(context: CheckContext, path: Path) -> Iterator[Finding]:
    if context.settings.tokenizer == "vendor":
        return  # the script finds its own folders
    try:
        folder = find_tokenizer(path)
        read_tokenizer_files(folder)
        if not context.can_access(folder, os.R_OK | os.X_OK):
            raise TokenizerFolderError(f"cannot list {folder}; sudo chmod a+rx {_quote(folder)}")
    except TokenizerFolderError as error:
        seen, _, remedy = str(error).partition("; ")
        yield Finding("model-folder", "fail", seen, remedy)


def check_tokenizer_files(context: CheckContext) -> list[Finding]:
    """Check what the tokenizer's process needs of the model's folder, in a moment."""
    path = context.settings.model_path
    problem = why_no_folder(path) if path else None
    if problem:
        seen, _, remedy = problem.rpartition("; ")
        return [Finding("model-folder", "fail", seen, _choice(context) or remedy)]
    return list(_tokenizer(context, path)) if path else []


def _choice(context: CheckContext) -> str:
    """Return a remedy that lists the models in `AX650_MODELS_DIR`, or an empty text.

    It is empty where the configured folder exists or there is no model to choose.
    """
    path, place = context.settings.model_path, context.settings.models_dir
    if place is None or (path and (why_closed(path) or path.is_dir())):
        return ""
    usable, _ = models_in(place)
    paths = " or ".join(str(folder) for folder in usable)
    return f"set AX650_MODEL_PATH to {paths}" if usable else ""


def _quote(path: Path) -> str:
    return shlex.quote(str(path))
