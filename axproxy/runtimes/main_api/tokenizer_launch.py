"""A process of the vendor's tokenizer script serves one of the runtime, then a new one begins."""

from __future__ import annotations

from axproxy.process.child import Status
from axproxy.process.states import HAS_PROCESS, State


class ScriptSession:
    """Told of both processes before each tick of them.

    The script opens a session for every runtime that starts, which takes two more vocabularies of
    memory, and closes none; and some end spoilt (read in the script).
    """

    def __init__(self) -> None:
        self._served: int | None = None  # pid of a script that had a runtime

    def over(self, tokenizer: Status, runtime: Status) -> bool:
        """Whether this script has had its runtime."""
        if runtime.state in (State.STARTING, State.READY) and tokenizer.state is State.READY:
            self._served = tokenizer.pid
        lives = runtime.state in HAS_PROCESS
        return not lives and tokenizer.pid is not None and tokenizer.pid == self._served
