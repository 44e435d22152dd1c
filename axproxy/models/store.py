"""The store: a folder of model folders, each of which clients can ask for by name."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from axproxy.models.axengine_folder import AxengineFolder
from axproxy.models.axllm_folder import AxllmFolder, is_for_axllm
from axproxy.models.context_length import context_in, shorter
from axproxy.models.description import describe_model
from axproxy.models.folder import ModelFolder, ModelFolderError
from axproxy.models.hub_names import known_context
from axproxy.models.model import Model
from axproxy.models.names import same_model
from axproxy.models.pull_plan import MAIN_API
from axproxy.models.runtime_choice import runtime_for
from axproxy.prompts.template_features import CAPABILITIES, EMBEDDING, VISION
from axproxy.settings import Settings

RECORD = ".ax650-pull.json"  # in a pulled folder: what was pulled, and from where
TRASH = ".trash"  # in the store
_LARGEST_RECORD = 1 << 20  # bytes

# What changes when files of a folder come, go or are replaced: the times of it and its folders.
_Signature = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class StoredFolder:
    """A folder of the store; `problem` says why its model cannot be used, None if it can."""

    folder: Path
    model: Model | None
    problem: str | None = None


def default_store(environ: Mapping[str, str]) -> Path:
    """Return the folder of the store where `AX650_MODELS_DIR` is not set (XDG base directories)."""
    home = environ.get("XDG_DATA_HOME") or os.path.join(environ.get("HOME", "/"), ".local/share")
    return Path(home, "ax650", "models")


def settings_for(settings: Settings, folder: Path, name: str | None = None) -> Settings:
    """Return the settings with which the model in this folder of the store is served.

    Its program is the one that the folder is for; `main_api` may be in the folder itself.
    """
    simulated = settings.runtime_kind == "mock"
    if settings.runtime == "axengine":
        runtime = "axengine"
    elif is_for_axllm(folder):
        runtime = "mock-axllm" if simulated else "axllm"
    else:
        runtime = "mock" if simulated else "vendor"
    program = settings.runtime_bin
    if not settings.names_runtime_bin and (folder / MAIN_API).is_file():
        program = folder / MAIN_API
    return replace(
        settings, model_path=folder, model_name=name, runtime=runtime, runtime_bin=program
    )


class ModelStore:
    """Lists the models of a store.  It reads a folder again when that has changed.  Any thread.

    For `max_age` seconds the list is what it was; one look at each of many folders takes longer
    than all else that a request needs before it is in the queue.
    """

    def __init__(
        self,
        settings: Settings,
        place: Path,
        max_age: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.place = place
        self._settings = settings
        self._max_age = max_age
        self._clock = clock
        self._listed: tuple[float, list[StoredFolder]] | None = None
        self._known: dict[Path, tuple[_Signature, StoredFolder | None]] = {}

    def folders(self) -> list[StoredFolder]:
        """Return what is in the store, in the order of the folders' names."""
        now = self._clock()
        if self._listed and now - self._listed[0] < self._max_age:
            return self._listed[1]
        found = []
        for folder in _folders(self.place):
            signature = _signature(folder)
            known = self._known.get(folder)
            if known is None or known[0] != signature:
                known = (signature, self._read(folder))
                self._known[folder] = known
            if known[1]:
                found.append(known[1])
        self._listed = (now, _with_unique_names(found))
        return self._listed[1]

    def look_again(self) -> None:
        """Have the next list be made from the disk, however young the last one is."""
        self._listed = None

    def models(self) -> list[Model]:
        """Return the usable models."""
        return [each.model for each in self.folders() if each.model]

    def has_pulled(self, model: Model) -> bool:
        """Return whether the model was pulled into this store."""
        folder = model.folder
        return folder is not None and folder.parent == self.place and bool(read_record(folder))

    def delete(self, model: Model) -> None:
        """Delete a pulled model with its files.  Raises `OSError`.

        Its folder gets out of the way first, so that a half deleted one is never a model.
        """
        folder = model.folder
        if folder is None or not self.has_pulled(model):
            return
        trash = self.place / TRASH / folder.name
        trash.parent.mkdir(exist_ok=True)
        shutil.rmtree(trash, ignore_errors=True)
        os.rename(folder, trash)
        self.look_again()
        self.empty_trash()

    def empty_trash(self) -> None:
        """Remove what is left of a deletion that was broken off."""
        shutil.rmtree(self.place / TRASH, ignore_errors=True)

    def _read(self, folder: Path) -> StoredFolder | None:
        """Return the folder, None for one that has nothing of a model."""
        record = read_record(folder)
        settings = settings_for(self._settings, folder, record.get("name"))
        try:
            _reader(settings.runtime).read(folder)
            more = {"axllm": (EMBEDDING, VISION), "axengine": (EMBEDDING,)}
            supported: Collection[str] = (*CAPABILITIES, *more.get(runtime_for(settings), ()))
            model = describe_model(settings, supported)
        except (ModelFolderError, OSError) as error:
            empty = not any(folder.rglob("*.axmodel"))
            return None if empty else StoredFolder(folder, None, str(error))
        if digest := record.get("digest"):
            model = replace(model, digest=digest)
        repository, revision = record.get("repository", ""), record.get("revision", "")
        if context := context_in(repository) or known_context(repository, revision):
            context = shorter(context, settings.context_length)
            model = replace(model, context_length=context)
        return StoredFolder(folder, model)


def _reader(runtime: str) -> type[AxllmFolder | ModelFolder | AxengineFolder]:
    """Return what reads a folder for the program that serves it."""
    if runtime == "axengine":
        return AxengineFolder
    return AxllmFolder if runtime.endswith("axllm") else ModelFolder


def read_record(folder: Path) -> dict[str, str]:
    """Return the texts of the record of a pull; none where there is none that can be read."""
    try:
        with (folder / RECORD).open("rb") as file:
            record = json.loads(file.read(_LARGEST_RECORD))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(record, dict):
        return {}
    return {key: value for key, value in record.items() if isinstance(value, str) and value}


def with_stored_model(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Return the settings with a model of the store where `AX650_MODEL_PATH` names none.

    That is the first of `AX650_PRELOAD`, else the newest.  Nothing changes where the simulator was
    asked for by name, where the runtime is attached, and where the store has no model.
    """
    if settings.model_path or settings.runtime in ("mock", "mock-axllm", "attach"):
        return settings
    place = settings.models_dir or default_store(environ)
    # Each folder says which program it is for, unless PyAXEngine is to run them all.
    runtime = settings.runtime if settings.runtime == "axengine" else "vendor"
    stored = replace(settings, runtime=runtime)
    models = ModelStore(stored, place).models()
    chosen = first_choice(models, settings.preload)
    if chosen is None or chosen.folder is None:
        return settings
    return settings_for(stored, chosen.folder, chosen.name)


def configured_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings, with the store's model where they name none.  Raises `SettingsError`."""
    return with_stored_model(Settings.from_env(environ), environ)


def first_choice(models: Sequence[Model], preload: Sequence[str]) -> Model | None:
    """Return the first model that `preload` names, else the newest, None without models."""
    for name in preload:
        for model in models:
            if same_model(name, model.name):
                return model
    return max(models, key=lambda model: model.modified_at, default=None)


def _folders(place: Path) -> Iterator[Path]:
    try:
        names = sorted(entry.name for entry in os.scandir(place) if entry.is_dir())
    except OSError:
        return
    yield from (place / name for name in names if not name.startswith("."))


def _signature(folder: Path) -> _Signature:
    times: list[tuple[str, int]] = []
    try:
        times.append(("", folder.stat().st_mtime_ns))
        for entry in os.scandir(folder):
            if entry.is_dir() or entry.name.endswith((".toml", ".json")):
                times.append((entry.name, entry.stat().st_mtime_ns))
    except OSError:
        times.append(("unreadable", 0))
    return tuple(sorted(times))


def _with_unique_names(folders: Sequence[StoredFolder]) -> list[StoredFolder]:
    """Return the folders; a model whose name another one has is not usable."""
    owners: dict[str, Path] = {}
    unique = []
    for each in folders:
        if each.model:
            owner = owners.setdefault(each.model.name.lower(), each.folder)
            if owner != each.folder:
                problem = (
                    f"{each.folder} has the name {each.model.name}, as {owner} has; rename the "
                    "folder, or state another name in its ax650.toml"
                )
                unique.append(StoredFolder(each.folder, None, problem))
                continue
        unique.append(each)
    return unique
