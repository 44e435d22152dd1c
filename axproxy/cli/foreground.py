"""Supervise the two programs in the foreground of a terminal, without the service."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Protocol

from axproxy.errors import GaveUp, ProxyError
from axproxy.models.store import configured_settings
from axproxy.ops.logs import configure_logging
from axproxy.preflight.checks import require_known_checks, require_model
from axproxy.process.instance_lock import AlreadySupervised
from axproxy.settings import Settings, SettingsError

POLL_INTERVAL = 0.25  # seconds

log = logging.getLogger("supervisor")


class ForegroundSupervisor(Protocol):
    """What this needs of a supervisor; all of it is called on the main thread."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def not_ready(self) -> ProxyError | None: ...


def run_in_foreground(make: Callable[[Settings], ForegroundSupervisor]) -> int:
    """Supervise until a signal comes or the supervisor gives up; return the exit status."""
    leave = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: leave.set())
    try:
        settings = configured_settings(os.environ)
        require_known_checks(settings)
        require_model(settings)
        if settings.runtime_kind == "attach":
            raise SettingsError("AX650_RUNTIME=attach leaves nothing to supervise; unset it")
        configure_logging(settings)
        supervisor = make(settings)
        supervisor.start()
    except (SettingsError, AlreadySupervised) as error:
        print(f"runtime_supervisor: {error}", file=sys.stderr)
        return 2
    ready = False
    while not leave.wait(POLL_INTERVAL):
        problem = supervisor.not_ready()
        if isinstance(problem, GaveUp):
            print(f"runtime_supervisor: {problem}", file=sys.stderr)
            break
        if problem is None and not ready:
            log.info("ready on %s", settings.runtime_url)
        ready = problem is None
    supervisor.stop()
    return 0 if leave.is_set() else 1
