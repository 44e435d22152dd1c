"""How the tokenizer is started, probed and stopped, and how long one process of it serves."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from signal import SIGTERM

from axproxy.card.environment import child_environment
from axproxy.preflight.checks import Check
from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding
from axproxy.preflight.gate import LaunchGate, why_blocked
from axproxy.preflight.inspection import Inspection
from axproxy.preflight.model import check_tokenizer_files
from axproxy.preflight.ports import Port, check_port
from axproxy.process.probe import NotReady, Probe
from axproxy.process.process import RealProcess
from axproxy.process.restart import RestartPolicy
from axproxy.process.spec import ChildSpec, Status
from axproxy.process.states import HAS_PROCESS, State
from axproxy.settings import Settings
from axproxy.tokenizer.choice import choose_tokenizer


class FilesGate:
    """Holds the tokenizer back while its files cannot be read, as when their disk comes late.

    The runtime's own gate is asked only once the tokenizer is ready.  A process that has served
    proves the files, so its successor starts without a delay.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        on_answer: Callable[[], None] = lambda: None,
    ) -> None:
        inspection = Inspection([Check(("model-folder",), check_tokenizer_files)])
        self._settings = settings
        self._proven = settings.model_path is None
        self._on_answer = on_answer  # once for each process, when it has read the files
        self._gate = LaunchGate(
            lambda: inspection.run(CheckContext(settings)),
            clock,
            RestartPolicy(first_delay=0.5, longest_delay=4.0),
        )

    def blocked_by(self) -> str | None:
        """Return what blocks the start, as `ChildSpec.blocked_by` does."""
        return None if self._proven else self._gate.blocked_by()

    def started(self) -> None:
        """Note that a process is starting, which has proven nothing yet."""
        self._proven = self._settings.model_path is None

    def answered(self) -> None:
        """Note that the process answers."""
        if not self._proven:
            self._on_answer()
        self._proven = True

    @property
    def failed(self) -> list[Finding]:
        """What holds the tokenizer back now."""
        if self._proven:
            return []
        return [finding for finding in self._gate.findings if finding.verdict == "fail"]


def tokenizer_spec(settings: Settings, files: FilesGate | None = None) -> ChildSpec:
    """Return how to run the tokenizer that the settings choose."""
    gate = files or FilesGate(settings)
    tokenizer = choose_tokenizer(settings)
    client = tokenizer.client(tokenizer.probe_timeout)
    port = Port(settings.tokenizer_port, "AX650_TOKENIZER_PORT")
    command = tokenizer.command()
    environ = {**child_environment(), **tokenizer.environment()}

    def check(_: object = None) -> None:
        if not client.answers():
            raise NotReady("its probe is not answered")
        gate.answered()

    def spawn() -> RealProcess:
        gate.started()
        return RealProcess(command, logging.getLogger("tokenizer"), environ=environ)

    def blocked_by() -> str | None:
        held = why_blocked(check_port(CheckContext(settings, owner=None), port))
        return held or gate.blocked_by()

    return ChildSpec(
        name="tokenizer",
        spawn=spawn,
        probe=lambda _pid: Probe(check, check, pause=0.05, heartbeat=tokenizer.probe_interval),
        stop_ladder=lambda: ((SIGTERM, 1.0),),  # it obeys at once or never
        start_timeout=60.0,
        blocked_by=blocked_by,
        # The runtime dies if it needs the tokenizer meanwhile, so the first restarts are quick.
        # Starting it costs nothing, so it is never given up for an hour.
        policy=RestartPolicy(attempts=16, first_delay=0.05, longest_delay=15.0, retried_after=60.0),
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
