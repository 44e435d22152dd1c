"""Checks the store: its folders, the models that were made from them, and further names."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace

from axproxy.models.derived import DerivedModels
from axproxy.models.description import describe_model
from axproxy.models.names import same_model
from axproxy.models.store import ModelStore, default_store
from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding
from axproxy.preflight.model import check_models_dir


def check_store(context: CheckContext) -> list[Finding]:
    """Check the folders of the store, each file that `ollama create` has written, and aliases."""
    return [check_models_dir(context), *_names(context)]


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
