"""The vendor's runtime, and the tokenizer that one of its programs needs, under one supervisor.

python3 runtime_supervisor.py    keeps them up in the foreground until Ctrl-C
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from axproxy.cli.own_python import no_arguments, use_own_python

if __name__ == "__main__":
    no_arguments(__doc__)
    use_own_python()

from axproxy.cli.foreground import run_in_foreground
from axproxy.models.runtime_choice import runtime_for
from axproxy.process.spec import ChildSpec
from axproxy.process.supervisor import RowSupervisor
from axproxy.runtimes.axengine.launch import AxengineRecipe
from axproxy.runtimes.axllm.launch import AxllmRecipe
from axproxy.runtimes.main_api.launch import MainApiRecipe
from axproxy.settings import Settings


class RuntimeSupervisor(RowSupervisor):
    """Supervises the tokenizer and the vendor's `main_api`; `specs` replaces both in tests."""

    recipe: MainApiRecipe

    def __init__(
        self,
        settings: Settings,
        specs: tuple[ChildSpec, ChildSpec] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(MainApiRecipe(settings, clock, specs), clock)


class AxllmSupervisor(RowSupervisor):
    """Supervises the vendor's `axllm`; `spec` replaces it in tests."""

    recipe: AxllmRecipe

    def __init__(
        self,
        settings: Settings,
        spec: ChildSpec | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(AxllmRecipe(settings, clock, spec), clock)


class AxengineSupervisor(RowSupervisor):
    """Supervises the tokenizer and the worker that computes with PyAXEngine."""

    recipe: AxengineRecipe

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(AxengineRecipe(settings, clock), clock)


def supervisor_for(settings: Settings) -> RowSupervisor:
    """Return the supervisor of the program that the model's folder is for."""
    match runtime_for(settings):
        case "axllm":
            return AxllmSupervisor(settings)
        case "axengine":
            return AxengineSupervisor(settings)
    return RuntimeSupervisor(settings)


if __name__ == "__main__":
    sys.exit(run_in_foreground(supervisor_for))
