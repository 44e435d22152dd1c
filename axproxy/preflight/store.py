"""Checks the store: its folders, the models that were made from them, and further names."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

from axproxy.models.access import why_closed
from axproxy.models.derived import DerivedModels
from axproxy.models.description import describe_model
from axproxy.models.names import same_model
from axproxy.models.store import ModelStore, default_store
from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding
from axproxy.settings import Settings


def check_store(context: CheckContext) -> list[Finding]:
    """Check the folders of the store, each file that `ollama create` has written, and aliases."""
    return [check_models_dir(context), *_names(context)]


def check_models_dir(context: CheckContext) -> Finding:
    """Check which of the folders in `AX650_MODELS_DIR` hold a model that can be loaded."""
    place = context.settings.models_dir or default_store(os.environ)
    if context.settings.models_dir is None and not place.exists():
        return Finding("models-dir", "skip", f"there is no store at {place}")
    if closed := why_closed(place):
        return Finding("models-dir", "warn", *closed.rsplit("; ", 1))
    if not place.is_dir():
        what = "is not a folder" if place.exists() else "does not exist"
        return Finding(
            "models-dir",
            "warn",
            f"{place} {what}",
            "set AX650_MODELS_DIR to a folder, or unset it",
        )
    usable, bad = models_in(place)
    if bad:
        return _some_unusable(context, place, usable, bad)
    if not usable:
        return Finding(
            "models-dir",
            "warn",
            f"{place} holds no model folder",
            "get a model: ax650 pull qwen3:1.7b, or set AX650_MODELS_DIR to the folder above yours",
        )
    return Finding("models-dir", "ok", f"{place} holds {', '.join(p.name for p in usable)}")


def _some_unusable(
    context: CheckContext, place: Path, usable: list[Path], bad: list[str]
) -> Finding:
    """Return one finding about every folder: those to choose from, and why not the others."""
    if len(bad) == 1 and not usable:
        return Finding("models-dir", "warn", *bad[0].rsplit("; ", 1))
    good = f"{place} holds {', '.join(folder.name for folder in usable)}, but " if usable else ""
    choices = " or ".join(map(str, usable))
    chosen = context.settings.model_path
    in_use = chosen and any(chosen.resolve().is_relative_to(one.resolve()) for one in usable)
    if usable and not in_use:
        return Finding(
            "models-dir",
            "warn",
            f"{good}{'; and '.join(bad)}",
            f"set AX650_MODEL_PATH to {choices}",
        )
    *others, last = bad
    seen, _, remedy = last.rpartition("; ")
    return Finding("models-dir", "warn", f"{good}{'; and '.join([*others, seen])}", remedy)


def models_in(place: Path) -> tuple[list[Path], list[str]]:
    """Return the folders that can be loaded, and why others with model files cannot."""
    folders = ModelStore(Settings(runtime="vendor"), place).folders()
    usable = [each.folder for each in folders if each.problem is None]
    return usable, [each.problem for each in folders if each.problem]


def _names(context: CheckContext) -> list[Finding]:
    settings = context.settings
    place = settings.models_dir or default_store(os.environ)
    derived = DerivedModels(place)
    found = [
        Finding(
            "models-dir",
            "warn",
            f"{path} is not what `ollama create` has written",
            f"rm {shlex.quote(str(path))}, and create it anew",
        )
        for path in derived.damaged()
    ]
    stored = ModelStore(replace(settings, runtime="vendor"), place).models()
    bases = [*stored, describe_model(settings)]
    names = [model.name for model in bases]
    listed = [*names, *(model.name for model in derived.models(bases))]
    found += [
        Finding(
            "models-dir",
            "warn",
            f"AX650_MODEL_ALIASES names {name} as {alias}, and there is no such model",
            f"ax650 pull {shlex.quote(name)}, or change AX650_MODEL_ALIASES",
        )
        for alias, name in settings.model_aliases
        if not any(same_model(name, known) for known in listed)
    ]
    return found + [
        Finding(
            "models-dir",
            "warn",
            f"{name} is not listed: {base}, which it is made from, cannot be used or is not here",
            f"put {base} back, or remove {name} with: rm {shlex.quote(str(path))}",
        )
        for path, name, base in derived.without_base(names)
    ]
