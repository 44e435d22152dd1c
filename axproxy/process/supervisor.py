"""Keeps a row of children running: each needs the one before it, the last is the runtime.

What the children are comes in a `Recipe`; nothing here knows a vendor program.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import Protocol

from axproxy.errors import (
    ClientGone,
    OnChange,
    ProxyError,
    Restarting,
    Starting,
    Stopping,
    Unloaded,
)
from axproxy.health import ChildHealth, RuntimeHealth
from axproxy.process.child import Child
from axproxy.process.instance_lock import InstanceLock
from axproxy.process.readiness import child_health, long_pause, overall, why_not_ready
from axproxy.process.spec import ChildSpec, Status
from axproxy.process.states import HAS_PROCESS, State

TICK = 0.25  # seconds between two looks at the children
BUSY_TICK = 0.05  # seconds, while a child is about to change its state
SETTLED = frozenset({State.READY, State.STOPPED, State.FAILED})

log = logging.getLogger("supervisor")


class Recipe(Protocol):
    """What one runtime needs: its processes, and what can be known about them."""

    @property
    def port(self) -> int:
        """The TCP port of the runtime; one supervisor per machine may look after it."""

    def children(self) -> Sequence[ChildSpec]:
        """Return at least one child, in the order of starting; the last is the runtime.

        Called once.  Each child needs all those before it to be ready when it starts.
        """

    def start(self) -> None:
        """Prepare whatever surrounds the children; called before the first of them starts."""

    def stop(self) -> None:
        """Undo `start`; called when the last child has ended."""

    def load_percent(self) -> int | None:
        """Return how far the model is loaded, `None` when that is not known.  Any thread."""

    def health(self, status: str, children: Sequence[ChildHealth]) -> RuntimeHealth:
        """Return the state of the runtime, from memory.  Any thread.

        `status` is one word for the whole row, `children` are in the order of `children()`.
        """


class RowSupervisor:
    """One thread owns the children and writes their state.

    Any other thread may give it orders and read the snapshot that it leaves behind.
    """

    def __init__(self, recipe: Recipe, clock: Callable[[], float] = time.monotonic) -> None:
        self.recipe = recipe
        self._clock = clock
        self._children = tuple(Child(spec, clock, log) for spec in recipe.children())
        self._runtime = self._children[-1]
        self._lock = InstanceLock(recipe.port)
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._changed = threading.Condition()  # guards all orders below
        self._wanted = True
        self._load_wanted = True  # the model shall be on the card
        self._on_demand = False  # it was not, until a request asked for it
        self._leaving = False
        self._restart: tuple[int, str] | None = None
        self._load = self._ordered = False
        self._snapshot = self._look()

    # Orders, from any thread.

    @property
    def owns_processes(self) -> bool:
        """True: the processes are started and stopped here."""
        return True

    def start(self, on_change: OnChange = lambda _problem: None) -> None:
        """Start the children and keep them running.

        `on_change` gets `not_ready` after each look, on the supervisor's thread.  Raises
        `AlreadySupervised`.
        """
        self._lock.acquire()
        self._on_change = on_change
        self.recipe.start()
        self._thread.start()

    def leave(self) -> None:
        """Begin nothing new; what runs goes on until `stop`."""
        self._leaving = True

    def stop(self) -> None:
        """End the children, the last one first, and return when they are gone."""
        with self._changed:
            self._wanted = False
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self.recipe.stop()
        self._lock.release()

    def restart(self, reason: str, pid: int | None) -> bool:
        """Restart the runtime if it still is the process `pid`.

        A late order must not stop that process's successor.  Return True: the process will be
        restarted, and the caller need not stop its run.
        """
        if pid is not None:
            with self._changed:
                self._restart = (pid, reason)
                self._changed.notify_all()
        return True

    def order_restart(self) -> None:
        """Restart a runtime that is ready, and begin at once what is paused or was given up."""
        with self._changed:
            self._ordered = True
        self.load()

    def load(self) -> None:
        """Start again what was unloaded or given up."""
        with self._changed:
            self._on_demand = self._on_demand or not self._load_wanted
            self._load_wanted = self._load = True
            self._changed.notify_all()

    def unload(self) -> None:
        """Stop the runtime, so that the card is free, until `load`; the other children stay."""
        with self._changed:
            self._load_wanted = False
            self._changed.notify_all()

    # Questions, from any thread; only `until_ready`, `wait_ready` and `why_gone` take time.

    def snapshot(self) -> tuple[Status, ...]:
        """Return the state of the children, in the order of starting."""
        return self._snapshot

    def pid(self) -> int | None:
        """Return the process id of the runtime, `None` when it does not run."""
        return self._snapshot[-1].pid

    def not_ready(self) -> ProxyError | None:
        """Return why a request would not run now, `None` when it would."""
        if self._leaving or not self._wanted:
            return _leaving()
        if self._restart or self._ordered:
            return Restarting("the runtime is being restarted; try again in a moment")
        problem = why_not_ready(self._snapshot, self.recipe.load_percent())
        if self._on_demand or not self._load_wanted:
            asked_for = problem is None or isinstance(problem, Starting)
            return Unloaded("the model is not on the card yet") if asked_for else problem
        return problem

    def interruption(self) -> ProxyError | None:
        """Return why the running answer is stopped from outside its request, if it is."""
        if not self._wanted:
            return _leaving()
        if self._runtime.interrupted:
            return Restarting("the runtime was restarted in the middle of the answer; try again")
        return None

    def wait_ready(self, gone: Callable[[], bool], hold: float = math.inf) -> None:
        """Return when a request would run; raises as `until_ready` does."""
        for _ in self.until_ready(gone, hold):
            pass

    def until_ready(
        self, gone: Callable[[], bool], hold: float = math.inf
    ) -> Generator[None, None, None]:
        """Yield after each look at the children until a request would run.

        Raises what stands in the way where waiting does not help, or where after a failure the
        next attempt begins only later than in `hold` seconds; `ClientGone` once `gone()`.
        """
        deadline = self._clock() + hold
        while (problem := self.not_ready()) is not None:
            if not isinstance(problem, Starting) and not self._load:
                raise problem
            pause = long_pause(self._snapshot, deadline - self._clock())
            if pause and not self._load:
                raise pause
            if gone():
                raise ClientGone
            yield
            with self._changed:
                self._changed.wait(TICK)

    def why_gone(self, pid: int | None) -> str | None:
        """Return what became of the runtime process `pid`; waits up to a second for its end.

        `None` when it still runs.
        """
        deadline = self._clock() + 1.0
        while self._clock() < deadline:
            status = self._snapshot[-1]
            if status.pid != pid or status.state is not State.READY:
                end = status.last_exit or status.note or "it was stopped"
                return f"the runtime died while answering: {end}; it is started again, try later"
            with self._changed:
                self._changed.wait(BUSY_TICK)
        return None

    def health(self) -> RuntimeHealth:
        """Return the state of the whole row, from memory."""
        row = self._snapshot
        now, wall = self._clock(), time.time()
        # A running answer is stopped before the first signal; meanwhile the snapshot can be
        # seconds late.
        restarting = self._restart is not None
        status = "stopping" if restarting else overall(row, self._load_wanted)
        return self.recipe.health(status, [child_health(child, now, wall) for child in row])

    # The supervisor's thread.

    def _run(self) -> None:
        # Only this thread spawns children: the signal at their parent's death is tied to it.
        while True:
            try:
                self._tick()
                self._on_change(self.not_ready())
            except Exception:  # the end of this thread would end the children, too
                log.exception("the supervisor stumbled and goes on")
                time.sleep(1.0)  # it may stumble again, and the log is not endless
            states = {status.state for status in self._snapshot}
            with self._changed:
                if not self._wanted and states <= {State.STOPPED}:
                    return
                self._changed.wait(TICK if states <= SETTLED else BUSY_TICK)

    def _tick(self) -> None:
        with self._changed:
            wanted, restart, load = self._wanted, self._restart, self._load
            ordered, load_wanted = self._ordered, wanted and self._load_wanted
        if restart:
            self._runtime.restart(*restart)
        for child in self._children if load else ():
            child.reset_failed()
        for child in self._children if ordered else ():
            child.obey(restart=child is self._runtime)
        self._tick_row(wanted, load_wanted)
        if load_wanted and self._runtime.state is State.READY:
            self._on_demand = False
        snapshot = self._look()
        if snapshot != self._snapshot:
            self._snapshot = snapshot
            with self._changed:
                self._changed.notify_all()
        # Orders count as pending until the snapshot shows what they did: a tick can take seconds.
        with self._changed:
            if self._restart is restart:
                self._restart = None
            self._load = self._load and not load
            self._ordered = self._ordered and not ordered

    def _tick_row(self, wanted: bool, load_wanted: bool) -> None:
        row = self._snapshot
        previous_ready = all_ready = True
        for index, child in enumerate(self._children):
            is_runtime = child is self._runtime
            called_for = load_wanted if is_runtime else wanted
            # A child that another one uses stays until that one has ended.
            used = any(later.state in HAS_PROCESS for later in self._children[index + 1 :])
            falls = not (previous_ready or child.spec.survives_previous)
            falls = falls and child.state in HAS_PROCESS
            spent = child.spec.spent(row)
            child.tick(
                may_start=called_for and all_ready,
                may_stay=(called_for or used) and not falls and not spent,
            )
            previous_ready = child.state is State.READY
            all_ready = all_ready and previous_ready

    def _look(self) -> tuple[Status, ...]:
        return tuple(child.status() for child in self._children)


def _leaving() -> ProxyError:
    return Stopping("the service is being stopped; try again when it is back")
