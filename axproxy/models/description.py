"""Describes the configured model without loading it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from axproxy.models.axengine_folder import AxengineFolder
from axproxy.models.axllm_folder import AxllmFolder
from axproxy.models.context_length import context_in, shorter
from axproxy.models.folder import (
    FAMILIES,
    QUANTIZATION,
    ModelFolder,
    ModelFolderError,
    weight_bits,
)
from axproxy.models.manifest import Manifest, ManifestError, find_manifest, read_manifest
from axproxy.models.model import Model, RuntimeName
from axproxy.models.runtime_choice import runtime_for
from axproxy.models.tokenizer_files import (
    SMALL_TOKENIZER,
    TokenizerFolderError,
    find_tokenizer,
    read_tokenizer_files,
)
from axproxy.prompts.chat_formats import chat_format
from axproxy.prompts.template_features import (
    CAPABILITIES,
    COMPLETION,
    EMBEDDING,
    THINKING_TOKEN,
    VISION,
    capabilities,
)
from axproxy.prompts.tokenizer import TokenizerInfo
from axproxy.settings import Settings, folder_name


class CurrentModel:
    """The configured model, as its files were when a program last began to use them.

    The files may come late, and may be replaced while the service runs.
    """

    def __init__(self, settings: Settings, supported: Collection[str] = CAPABILITIES) -> None:
        self._settings = settings
        self._supported = supported
        self._model = describe_model(settings, supported)

    def __call__(self) -> Model:
        """Return the description, from memory.  Any thread."""
        return self._model

    def vocabulary(self) -> int | None:
        """Return how many tokens the model knows, None if that is not known.  Any thread."""
        return self._model.vocabulary

    def refresh(self, tokenizer: TokenizerInfo | None = None) -> None:
        """Describe the model anew; reads the disk, so no request should wait for it.

        `tokenizer` is what the tokenizer of an attached runtime reports about itself.
        """
        try:
            model = describe_model(self._settings, self._supported)
        except OSError:  # files are being replaced; the next process sees all of them
            return
        if tokenizer and self._settings.model_path is None:
            model = _by_tokenizer(model, tokenizer, self._settings, self._supported)
        self._model = model


def _by_tokenizer(
    model: Model, tokenizer: TokenizerInfo, settings: Settings, supported: Collection[str]
) -> Model:
    """Return the model behind an attached runtime, of which only the tokenizer is known."""
    folder = Path(tokenizer.folder)
    named = re.sub(r"[-_.]?tokenizer.*", "", folder.name, flags=re.IGNORECASE)
    name = named or folder.parent.name
    unnamed = settings.model_name or folder == SMALL_TOKENIZER.resolve()
    if not unnamed and re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        model = replace(model, name=f"{name}:latest", family=_family(name.lower(), None))
    known = capabilities(tokenizer.chat_template, [t.text for t in tokenizer.control_tokens])
    return replace(
        model,
        vocabulary=tokenizer.vocab_size,
        capabilities=tuple(capability for capability in known if capability in supported),
    )


def describe_model(settings: Settings, supported: Collection[str] = CAPABILITIES) -> Model:
    """Describe the model from its files' names, sizes and dates and its chat template.

    `supported` are the capabilities that the chosen tokenizer can make use of.  Nothing is loaded,
    and faults of the folder are not reported here: the checks before a start do that.
    """
    folder = settings.model_path
    files = _files(folder) if folder else []
    identity = hashlib.sha256(settings.model.encode())
    for path in files:
        identity.update(f"\n{path.name} {path.stat().st_size}".encode())
    newest = max((path.stat().st_mtime for path in files or [Path(__file__)]), default=0.0)
    lower = settings.model.lower()
    runtime = runtime_for(settings)
    compiled = _compiled(folder, runtime)
    tokenizer = _tokenizer(folder) if runtime != "axllm" else None
    manifest = _manifest(folder)
    stated_name = None if settings.model_name else manifest.name
    return Model(
        name=_with_tag(stated_name) if stated_name else settings.model,
        folder=folder,
        family=_family(lower, compiled),
        parameter_size=_parameter_size(lower),
        quantization=_quantization(settings.model, compiled.folder if compiled else folder),
        size=sum(path.stat().st_size for path in files),
        digest=identity.hexdigest(),
        modified_at=datetime.fromtimestamp(newest, UTC),
        context_length=shorter(_context(folder, compiled), settings.context_length),
        layers=compiled.layers if compiled else None,
        embedding_length=compiled.embedding_columns if compiled else None,
        vocabulary=compiled.embedding_rows if compiled else None,
        capabilities=tuple(
            capability
            for capability in (
                _axllm_capabilities(compiled)
                if runtime == "axllm"
                else _capabilities(settings, tokenizer)
            )
            if capability in supported
        ),
        runtime=runtime,
        tokenizer=tokenizer,
        defaults=manifest.defaults,
    )


def _manifest(folder: Path | None) -> Manifest:
    """Return the manifest; an empty one where it cannot be read, which the checks report."""
    try:
        place = find_manifest(folder) if folder else None
        return read_manifest(place) if place else Manifest()
    except (ManifestError, OSError):
        return Manifest()


def _with_tag(name: str) -> str:
    return name if ":" in name else f"{name}:latest"


def _family(name: str, compiled: ModelFolder | AxllmFolder | None) -> str:
    """Return the family in the name that clients use, else the folder's."""
    by_name = next((family for family in FAMILIES if name.startswith(family)), None)
    return by_name or (compiled.family if compiled else "unknown")


def _context(folder: Path | None, compiled: ModelFolder | AxllmFolder | None) -> int | None:
    """Return the window that the names of the model and its folders say."""
    if folder is None:
        return None
    stated = [compiled.model_name] if isinstance(compiled, AxllmFolder) else []
    inner = [folder_name(compiled.folder)] if compiled else []
    return context_in(*stated, *inner, folder_name(folder))


def _tokenizer(folder: Path | None) -> Path | None:
    try:
        return find_tokenizer(folder) if folder else None
    except TokenizerFolderError:
        return None


def _is_encoder(folder: Path | None) -> bool:
    """Return whether PyAXEngine would make vectors of the model in the folder."""
    try:
        return folder is not None and AxengineFolder.read(folder).is_encoder
    except (ModelFolderError, OSError):
        return False


def _capabilities(settings: Settings, tokenizer: Path | None) -> tuple[str, ...]:
    """Return what the tokenizer's template allows, in Ollama's words.

    Without a folder, the simulator uses the small tokenizer; the model behind an attached runtime
    may be any.
    """
    if settings.runtime == "axengine" and _is_encoder(settings.model_path):
        return (EMBEDDING,)
    if not settings.model_path and settings.runtime_kind != "attach":
        tokenizer = SMALL_TOKENIZER
    if not tokenizer:
        return (COMPLETION,)
    try:
        files = read_tokenizer_files(tokenizer)
        tokens = [token for token in (THINKING_TOKEN,) if files.has_token(token)]
    except (TokenizerFolderError, OSError):
        return (COMPLETION,)
    return capabilities(files.chat_template, tokens)


def _axllm_capabilities(model: ModelFolder | AxllmFolder | None) -> tuple[str, ...]:
    if not isinstance(model, AxllmFolder):  # the simulator's model is a Qwen3
        return chat_format("qwen3", "").capabilities
    if model.is_embedding:
        return (EMBEDDING,)
    sight = (VISION,) if model.sees else ()
    return (*chat_format(model.family, model.model_name).capabilities, *sight)


def _compiled(folder: Path | None, runtime: RuntimeName) -> ModelFolder | AxllmFolder | None:
    reader = AxllmFolder if runtime == "axllm" else ModelFolder
    try:
        return reader.read(folder) if folder else None
    except (ModelFolderError, OSError):
        return None


def _files(folder: Path) -> list[Path]:
    """Return all files, except hidden ones and those in hidden or unreadable folders.

    Hidden folders hold git's own copies.
    """
    found: list[Path] = []
    for place, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if _is_file(path))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # in a folder that this user may list, but not enter
        return False


def _quantization(name: str, folder: Path | None) -> str:
    """Return bits of weights and activations, from the names of the model and its folders."""
    if folder is None:
        return "none"
    names = (name, folder_name(folder), folder_name(folder.parent))
    return QUANTIZATION[weight_bits(*names)]


def _parameter_size(name: str) -> str:
    for word in name.replace(":", "-").split("-"):
        if word.endswith("b") and word[:-1].replace(".", "", 1).isdigit():
            return word.upper()
    return "unknown"
