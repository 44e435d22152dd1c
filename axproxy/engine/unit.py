"""The processes behind us, as far as a request must know of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from axproxy.engine.protocol import Gone
from axproxy.errors import ProxyError
from axproxy.health import RuntimeHealth
from axproxy.prompts.fitting import Window
from axproxy.runtimes.main_api.run_log import RunLog

OnChange = Callable[[ProxyError | None], None]


class Supervisor(Protocol):
    """Only `start`, `stop`, `wait_ready` and `why_gone` take time."""

    def start(self, tell: OnChange) -> None:
        """`tell` gets what stands in the way of requests after every look at the processes, from
        the thread that keeps them."""

    def leave(self) -> None:
        """Begins nothing new."""

    def stop(self) -> None: ...

    def window(self) -> Window:
        """The one to enforce; a safe guess until the runtime has told its own."""

    def known_window(self) -> Window | None: ...

    def not_ready(self) -> ProxyError | None: ...

    def wait_ready(self, gone: Gone, hold: float = math.inf) -> None:
        """Raises `ProxyError` when they will not become ready, or are being restarted for longer
        than `hold` seconds; `ClientGone` when `gone()`."""

    def run_log(self) -> RunLog:
        """What the runtime process that runs now logs about its answers."""

    def runtime_pid(self) -> int | None: ...

    def interruption(self) -> ProxyError | None:
        """Why the running answer was, or is about to be, stopped from outside its request."""

    def report_wedged(self, pid: int | None, reason: str) -> bool:
        """True when that process will be recycled, so that nobody need stop it any more."""

    def why_gone(self, pid: int | None) -> str:
        """What became of that process, in words; waits a moment until it is known."""

    def revive(self) -> None:
        """Starts again what was given up or unloaded."""

    def unload(self) -> None:
        """Stops the runtime, so that the card is free, until `revive`."""

    def health(self) -> RuntimeHealth: ...
