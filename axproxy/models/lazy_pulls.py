"""Pulls of models, by a client that is made when the first one is asked for."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from axproxy.models.pull_progress import PullProgress
from axproxy.settings import Settings

if TYPE_CHECKING:
    from axproxy.models.pull import Pulls


class LazyPulls:
    """Pulls models into `place`.

    A service that pulls nothing should not take the time and memory of an HTTP client, so that is
    imported late.
    """

    def __init__(self, settings: Settings, place: Path) -> None:
        self._settings, self._place = settings, place
        self._first = threading.Lock()
        self._pulls: Pulls | None = None

    def pull(self, name: str) -> Generator[PullProgress, None, None]:
        """Pull a model by its name; see `Pulls.pull`."""
        with self._first:  # or two threads could make one each
            if self._pulls is None:
                self._pulls = self._made()
        return self._pulls.pull(name)

    def _made(self) -> Pulls:
        from axproxy.models.hub import Hub  # noqa: PLC0415 - see the class
        from axproxy.models.pull import Pulls, programs_for  # noqa: PLC0415 - see the class

        settings = self._settings
        return Pulls(self._place, lambda: Hub.from_env(os.environ), lambda: programs_for(settings))
