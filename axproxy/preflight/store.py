"""Checks the store: its folders, and the models that were made from them."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace

from axproxy.models.derived import DerivedModels
from axproxy.models.description import describe_model
from axproxy.models.store import ModelStore, default_store
from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding
from axproxy.preflight.model import check_models_dir


def check_store(context: CheckContext) -> list[Finding]:
    """Check the folders of the store, and each file in it that `ollama create` has written."""
    return [check_models_dir(context), *_derived(context)]


def _derived(context: CheckContext) -> list[Finding]:
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
    names = {model.name for model in stored} | {describe_model(settings).name}
    return found + [
        Finding(
            "models-dir",
            "warn",
            f"{name} is not listed: {base}, which it is made from, cannot be used or is not here",
            f"put {base} back, or remove {name} with: rm {shlex.quote(str(path))}",
        )
        for path, name, base in derived.without_base(names)
    ]
