"""A runtime whose port is closed: it has died, or it ends its answer first and then itself.

After a SIGINT from outside the program closes its port at once, runs its answer to the end and
exits (observed on the vendor's binary).  The tokenizer's trace then still shows the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from axproxy.engine.runtime import Supervisor
from axproxy.errors import ProxyError, RuntimeGone
from axproxy.output.limits import Piece
from axproxy.runtimes.main_api.run_reader import RunReader

ReadClosedPort = Callable[[RunReader, Callable[[], list[Piece]], RuntimeGone], list[Piece]]


def give_up(_reader: RunReader, _look: Callable[[], list[Piece]], gone: RuntimeGone) -> list[Piece]:
    """Raise `gone`, where nothing is known of the process."""
    raise gone


@dataclass
class ClosedPort:
    """What is left of the runtime process `pid` once its port is closed."""

    supervisor: Supervisor
    pid: int | None
    _lives: bool | None = field(default=None, init=False)

    def read(
        self, reader: RunReader, look: Callable[[], list[Piece]], gone: RuntimeGone
    ) -> list[Piece]:
        """Return what `look` finds in the trace; `reader` has ended once that is the whole answer.

        Raises `gone` if the process has died before that.
        """
        lives = reader.began and reader.traced and self._goes_on()  # before the look
        pieces = look() if reader.traced else []
        if not reader.end_without_polls() and not lives:
            raise gone
        return pieces

    def _goes_on(self) -> bool:
        # The first call waits a moment for the end of the process.
        if self._lives is None:
            self._lives = self.supervisor.why_gone(self.pid) is None
        return self._lives and self.supervisor.pid() == self.pid

    def error(self) -> ProxyError:
        """Return what a client gets, and have a process that still runs replaced."""
        if problem := self.supervisor.interruption():
            return problem
        why = self.supervisor.why_gone(self.pid)
        if why is None:
            why = "the runtime has closed its port while answering; it is restarted, try again"
            self.supervisor.restart("it has closed its port", self.pid)
        return RuntimeGone(why)
