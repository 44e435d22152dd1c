"""Decides which of the vendor's programs a model's folder is for."""

from __future__ import annotations

from axproxy.models.axllm_folder import is_for_axllm
from axproxy.models.model import RuntimeName
from axproxy.settings import Settings


def runtime_for(settings: Settings) -> RuntimeName:
    """Return the program that answers with the configured model.

    The folder decides: one with axllm's `config.json` is for `axllm`.  Where `AX650_RUNTIME` or
    `AX650_RUNTIME_BIN` names a program, that is the one: some folders hold what both need.  Only
    `AX650_RUNTIME` chooses PyAXEngine, which is slower than either.
    """
    if settings.runtime in ("axllm", "mock-axllm"):
        return "axllm"
    if settings.runtime == "axengine":
        return "axengine"
    named = settings.runtime in ("vendor", "mock") or settings.names_runtime_bin
    if named or settings.runtime_kind != "vendor" or settings.model_path is None:
        return "main_api"
    return "axllm" if is_for_axllm(settings.model_path) else "main_api"
