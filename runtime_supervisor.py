"""The vendor's runtime and its tokenizer, kept running by one supervisor.

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
from axproxy.process.spec import ChildSpec
from axproxy.process.supervisor import RowSupervisor
from axproxy.runtimes.main_api.launch import MainApiRecipe
from axproxy.settings import Settings


class RuntimeSupervisor(RowSupervisor):
    """Supervises the tokenizer and the vendor's runtime; `specs` replaces both in tests."""

    recipe: MainApiRecipe

    def __init__(
        self,
        settings: Settings,
        specs: tuple[ChildSpec, ChildSpec] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(MainApiRecipe(settings, clock, specs), clock)


if __name__ == "__main__":
    sys.exit(run_in_foreground(RuntimeSupervisor))
