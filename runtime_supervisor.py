"""The two children as one unit: the tokenizer, then the runtime that cannot live without it.

python3 runtime_supervisor.py    keeps them up in the foreground until Ctrl-C
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections.abc import Callable

from axproxy.cli.own_python import no_arguments, use_own_python

if __name__ == "__main__":
    no_arguments(__doc__)
    use_own_python()

from axproxy.card.host import host_health
from axproxy.cli.foreground import run_in_foreground
from axproxy.engine.runtime import OnChange
from axproxy.errors import (
    ClientGone,
    ProxyError,
    Restarting,
    Starting,
    Unavailable,
    Unloaded,
)
from axproxy.health import CheckHealth, RuntimeHealth
from axproxy.process.child import Child, ChildSpec, Status
from axproxy.process.instance_lock import InstanceLock
from axproxy.process.readiness import child_health, overall, why_not_ready
from axproxy.process.states import HAS_PROCESS, State
from axproxy.prompts.fitting import Window
from axproxy.runtimes.main_api.launch import RuntimeRecipe, tokenizer_spec
from axproxy.runtimes.main_api.load_log import RuntimeLog
from axproxy.runtimes.main_api.run_log import RunLog
from axproxy.runtimes.main_api.tokenizer_launch import ScriptSession
from axproxy.settings import Settings
from axproxy.tokenizer.choice import choose_tokenizer

log = logging.getLogger("supervisor")

TICK = 0.25  # seconds; shorter while something is about to happen
BUSY_TICK = 0.05
SETTLED = frozenset({State.READY, State.STOPPED, State.FAILED})


class RuntimeSupervisor:
    """One thread owns the children and writes their state; every other thread gives it orders and
    reads the snapshot it leaves behind."""

    def __init__(
        self,
        settings: Settings,
        specs: tuple[ChildSpec, ChildSpec] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._recipe = RuntimeRecipe(settings, clock)
        tokenizer, runtime = specs or (tokenizer_spec(settings), self._recipe.spec())
        self._tokenizer = Child(tokenizer, clock, log)
        self._runtime = Child(runtime, clock, log)
        self._session = ScriptSession() if choose_tokenizer(settings).stateful else None
        self._only_one = InstanceLock(settings.runtime_port)
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._changed = threading.Condition()  # guards all orders below
        self._wanted = True
        self._resident = True  # the model shall be on the card
        self._on_demand = False  # it was not, until a request asked for it
        self._leaving = False
        self._wedged: tuple[int, str] | None = None
        self._revive = False
        self._snapshot = (self._tokenizer.status(), self._runtime.status())

    # Orders, from any thread.

    @property
    def owns_processes(self) -> bool:
        return True

    def start(self, tell: OnChange = lambda _problem: None) -> None:
        """Keeps both up; `tell` gets `not_ready` after each look.  Raises `AlreadySupervised`."""
        self._only_one.acquire()
        self._tell = tell
        if self._settings.runtime_kind == "mock":
            log.warning("no card is configured: a SIMULATOR answers instead of a model")
        else:
            self._recipe.card.start()
        self._thread.start()

    def leave(self) -> None:
        """From now on nothing new is begun; what runs may go on until `stop`."""
        self._leaving = True

    def stop(self) -> None:
        """Ends both, the runtime first, and returns when they are gone."""
        with self._changed:
            self._wanted = False
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._recipe.card.stop()
        self._only_one.release()

    def restart(self, reason: str, pid: int | None) -> bool:
        """The runtime is alive but useless; it is recycled if it still is the process `pid`."""
        if pid is not None:
            with self._changed:
                self._wedged = (pid, reason)
                self._changed.notify_all()
        return True

    def load(self) -> None:
        """Starts again what was unloaded or given up."""
        with self._changed:
            self._on_demand = self._on_demand or not self._resident
            self._resident = self._revive = True
            self._changed.notify_all()

    def unload(self) -> None:
        """Stops the runtime, so that the card is free, until `load`."""
        with self._changed:
            self._resident = False
            self._changed.notify_all()

    # Questions, from any thread; all but the waiting ones are answered at once.

    def snapshot(self) -> tuple[Status, Status]:
        """The tokenizer, the runtime."""
        return self._snapshot

    def window(self) -> Window:
        return self._recipe.window()

    def known_window(self) -> Window | None:
        return self._recipe.known_window()

    def run_log(self) -> RunLog:
        return self._runtime_log.run

    def pid(self) -> int | None:
        return self._snapshot[1].pid

    def not_ready(self) -> ProxyError | None:
        if self._leaving or not self._wanted:
            return _leaving()
        if self._wedged:
            return Restarting("the runtime is being restarted; try again in a moment")
        problem = why_not_ready(*self._snapshot, self._runtime_log.load_percent)
        if self._on_demand or not self._resident:
            asked_for = problem is None or isinstance(problem, Starting)
            return Unloaded("the model is not on the card yet") if asked_for else problem
        return problem

    def interruption(self) -> ProxyError | None:
        """Why the running answer was, or is about to be, stopped from outside its request."""
        if not self._wanted:
            return _leaving()
        if self._recipe.interrupted:
            return Restarting("the runtime was restarted in the middle of the answer; try again")
        return None

    def wait_ready(self, gone: Callable[[], bool], hold: float = math.inf) -> None:
        """Returns when a request would run.

        Raises what stands in the way where waiting does not help, or where it is a restart that
        takes longer than `hold` seconds; `ClientGone` once `gone()`.
        """
        deadline = self._clock() + hold
        while (problem := self.not_ready()) is not None:
            if not isinstance(problem, Starting) and not self._revive:
                raise problem
            soonest = self._clock() + (problem.retry_after or 0)
            if isinstance(problem, Restarting) and soonest > deadline:
                raise problem
            if gone():
                raise ClientGone
            with self._changed:
                self._changed.wait(TICK)

    def why_gone(self, pid: int | None) -> str:
        """What became of the runtime process `pid`; waits up to a second until that is known."""
        deadline = self._clock() + 1.0
        while self._clock() < deadline:
            status = self._snapshot[1]
            if status.pid != pid or status.state is not State.READY:
                end = status.last_exit or status.note or "it was stopped"
                return f"the runtime died while answering: {end}; it is started again, try later"
            with self._changed:
                self._changed.wait(BUSY_TICK)
        return "the runtime closed the connection while answering; try again"

    def health(self) -> RuntimeHealth:
        tokenizer, runtime = self._snapshot
        now, wall = self._clock(), time.time()
        # Before the first signal an answer is stopped, for which the snapshot can be seconds late.
        condemned = self._wedged is not None
        return RuntimeHealth(
            status="stopping" if condemned else overall(tokenizer, runtime, self._resident),
            kind=self._settings.runtime_kind,
            runtime=child_health(runtime, now, wall),
            tokenizer=child_health(tokenizer, now, wall),
            context_length=known.context if (known := self.known_window()) else None,
            load_percent=self._runtime_log.load_percent,
            card=self._recipe.card.device_health(),
            host=host_health(),
            preflight=[
                CheckHealth(check.name, check.verdict, check.seen, check.remedy)
                for check in self._recipe.preflight.findings
            ],
        )

    @property
    def _runtime_log(self) -> RuntimeLog:
        return self._recipe.log

    # The supervisor's thread.

    def _run(self) -> None:
        # Children are spawned by this thread and no other: their death signal is tied to it.
        while True:
            try:
                self._tick()
                self._tell(self.not_ready())
            except Exception:  # whatever it is: this thread's end would be the children's, too
                log.exception("the supervisor stumbled and goes on")
                time.sleep(1.0)  # it may stumble again, and the log is not endless
            states = {status.state for status in self._snapshot}
            with self._changed:
                if not self._wanted and states <= {State.STOPPED}:
                    return
                self._changed.wait(TICK if states <= SETTLED else BUSY_TICK)

    def _tick(self) -> None:
        with self._changed:
            wanted, wedged, revive = self._wanted, self._wedged, self._revive
            resident = wanted and self._resident
        if wedged:
            self._runtime.report_wedged(*wedged)
        if revive:
            self._tokenizer.revive()
            self._runtime.revive()
        lives = self._runtime.state in HAS_PROCESS  # and asks the tokenizer to the end
        over = self._session is not None and self._session.over(*self._snapshot)
        self._tokenizer.tick(may_start=wanted, may_stay=(wanted or lives) and not over)
        tokenizer_ready = self._tokenizer.state is State.READY
        # Ours is stateless; without a session of the vendor's the next request aborts the runtime.
        forgiving = self._session is None or not lives
        self._runtime.tick(
            may_start=resident and tokenizer_ready,
            may_stay=resident and (tokenizer_ready or forgiving),
        )
        if resident and self._runtime.state is State.READY:
            self._on_demand = False
        snapshot = (self._tokenizer.status(), self._runtime.status())
        if snapshot != self._snapshot:
            self._snapshot = snapshot
            with self._changed:
                self._changed.notify_all()
        # Orders count as pending until the snapshot shows what they did: a tick can take seconds.
        with self._changed:
            if self._wedged is wedged:
                self._wedged = None
            if revive:
                self._revive = False


def _leaving() -> ProxyError:
    return Unavailable("the service is being stopped; try again when it is back")


if __name__ == "__main__":
    sys.exit(run_in_foreground(RuntimeSupervisor))
