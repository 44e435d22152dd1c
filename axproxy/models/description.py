"""What can be said of the configured model without loading it."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

from axproxy.engine.protocol import ModelCard
from axproxy.models.folder import FAMILIES, ModelFolder, ModelFolderError
from axproxy.models.tokenizer_files import (
    SMALL,
    TokenizerFolderError,
    find_folder,
    read_folder,
)
from axproxy.prompts.template_features import COMPLETION, capabilities
from axproxy.settings import Settings


def describe_model(settings: Settings) -> ModelCard:
    """Reads names, sizes and dates of the files in the model's folder, and the tokenizer's chat
    template, but loads nothing.

    What is wrong with the folder is told when the runtime is started, not here.
    """
    folder = settings.model_path
    files = _files(folder) if folder else []
    identity = hashlib.sha256(settings.model.encode())
    for path in files:
        identity.update(f"\n{path.name} {path.stat().st_size}".encode())
    newest = max((path.stat().st_mtime for path in files or [Path(__file__)]), default=0.0)
    lower = settings.model.lower()
    compiled = _compiled(folder)
    return ModelCard(
        name=settings.model,
        path=str(folder) if folder else None,
        family=_family(lower, compiled),
        parameter_size=_parameter_size(lower),
        quantization="W8A16" if folder else "none",
        size=sum(path.stat().st_size for path in files),
        digest=identity.hexdigest(),
        modified_at=datetime.fromtimestamp(newest, UTC),
        context_length=None,
        layers=compiled.layers if compiled else None,
        embedding_length=compiled.embedding_columns if compiled else None,
        vocabulary=compiled.embedding_rows if compiled else None,
        capabilities=_capabilities(settings),
    )


def _family(name: str, compiled: ModelFolder | None) -> str:
    """By the name that clients use, else by what the folder tells."""
    by_name = next((family for family in FAMILIES if name.startswith(family)), None)
    return by_name or (compiled.family if compiled else "unknown")


def _capabilities(settings: Settings) -> tuple[str, ...]:
    """Of the model whose tokenizer we start; what somebody else has started may be any, and the
    vendor's script knows neither tools nor thinking."""
    if settings.tokenizer == "vendor":
        return (COMPLETION,)
    if settings.model_path:
        return capabilities_in(settings.model_path)
    return (COMPLETION,) if settings.runtime_kind == "attach" else capabilities_in(SMALL)


def _compiled(folder: Path | None) -> ModelFolder | None:
    try:
        return ModelFolder.read(folder) if folder else None
    except (ModelFolderError, OSError):
        return None


def _files(folder: Path) -> list[Path]:
    """All but what lies in hidden folders, such as git's own copies, or in closed ones."""
    found: list[Path] = []
    for place, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if path.is_file())


def _parameter_size(name: str) -> str:
    for word in name.replace(":", "-").split("-"):
        if word.endswith("b") and word[:-1].replace(".", "", 1).isdigit():
            return word.upper()
    return "unknown"


def capabilities_in(folder: Path) -> tuple[str, ...]:
    """The capabilities, in Ollama's words, of the model whose tokenizer is in or beside `folder`;
    what is wrong with the tokenizer is told when it is loaded, not here."""
    try:
        template = read_folder(find_folder(folder)).chat_template
    except TokenizerFolderError:
        return (COMPLETION,)
    return capabilities(template)
