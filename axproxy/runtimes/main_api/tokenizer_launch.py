"""How the tokenizer is started, probed and stopped, and how long one process of it serves."""

from __future__ import annotations

import logging
from signal import SIGTERM

from axproxy.card.environment import child_environment
from axproxy.preflight.context import CheckContext
from axproxy.preflight.gate import why_blocked
from axproxy.preflight.ports import Port, check_port
from axproxy.process.probe import NotReady, Probe
from axproxy.process.process import RealProcess
from axproxy.process.restart import RestartPolicy
from axproxy.process.spec import ChildSpec, Status
from axproxy.process.states import HAS_PROCESS, State
from axproxy.settings import Settings
from axproxy.tokenizer.choice import choose_tokenizer


def tokenizer_spec(settings: Settings) -> ChildSpec:
    """Return how to run the tokenizer that the settings choose."""
    tokenizer = choose_tokenizer(settings)
    client = tokenizer.client(tokenizer.probe_timeout)
    port = Port(settings.tokenizer_port, "AX650_TOKENIZER_PORT")
    command, environ = tokenizer.command(), child_environment()

    def check(_: object = None) -> None:
        if not client.answers():
            raise NotReady("its probe is not answered")

    return ChildSpec(
        name="tokenizer",
        spawn=lambda: RealProcess(command, logging.getLogger("tokenizer"), environ=environ),
        probe=lambda _pid: Probe(check, check, pause=0.05, heartbeat=tokenizer.probe_interval),
        stop_ladder=lambda: ((SIGTERM, 1.0),),  # it obeys at once or never
        start_timeout=60.0,
        blocked_by=lambda: why_blocked(check_port(CheckContext(settings, owner=None), port)),
        # The runtime dies if it needs the tokenizer meanwhile, and starting it costs nothing.
        policy=RestartPolicy(first_delay=0.05),
    )


class ScriptSession:
    """Decides when a process of the vendor's script has served its runtime.

    The script opens a session for every runtime that starts and closes none; each takes the memory
    of two vocabularies, and some are damaged at their end (read in the script).  So each process of
    the runtime gets a new process of the script.
    """

    def __init__(self) -> None:
        self._served: int | None = None  # pid of a script that had a runtime

    def over(self, tokenizer: Status, runtime: Status) -> bool:
        """Return True if this script has had its runtime; call it before each tick of both."""
        if runtime.state in (State.STARTING, State.READY) and tokenizer.state is State.READY:
            self._served = tokenizer.pid
        ended = runtime.state not in HAS_PROCESS
        return ended and tokenizer.pid is not None and tokenizer.pid == self._served
