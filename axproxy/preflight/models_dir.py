"""`AX650_MODELS_DIR`: which of the folders in it hold a model that could be loaded."""

from __future__ import annotations

from pathlib import Path

from axproxy.models.folder import ModelFolder, ModelFolderError
from axproxy.preflight.finding import Finding
from axproxy.preflight.scene import CheckContext, entries


def check_models_dir(scene: CheckContext) -> Finding:
    """The folder of model folders: which of them could be loaded."""
    place = scene.settings.models_dir
    if place is None:
        return Finding("models-dir", "skip", "AX650_MODELS_DIR is not set")
    if not place.is_dir():
        return Finding(
            "models-dir", "warn", f"{place} is not a folder", "set AX650_MODELS_DIR anew, or not"
        )
    usable, bad = _models_in(place)
    if bad:
        return Finding("models-dir", "warn", *bad[0].rsplit("; ", 1))
    if not usable:
        return Finding(
            "models-dir", "warn", f"{place} holds no model folder", "set AX650_MODELS_DIR anew"
        )
    return Finding("models-dir", "ok", f"{place} holds {', '.join(p.name for p in usable)}")


def _models_in(place: Path) -> tuple[list[Path], list[str]]:
    """Folders that could be loaded, and why others with model files could not."""
    usable, bad = [], []
    for folder in entries(place):
        if folder.is_dir() and any(folder.rglob("*.axmodel")):
            try:
                ModelFolder.read(folder)
                usable.append(folder)
            except ModelFolderError as error:
                bad.append(str(error))
    return usable, bad


def choice(scene: CheckContext) -> str:
    """Where the configured folder is none and there is a shelf of models: what is on it."""
    path, place = scene.settings.model_path, scene.settings.models_dir
    if place is None or (path and path.is_dir()):
        return ""
    usable, _ = _models_in(place)
    paths = " or ".join(str(folder) for folder in usable)
    return f"set AX650_MODEL_PATH to {paths}" if usable else ""
