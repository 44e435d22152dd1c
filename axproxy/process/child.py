"""The life of one supervised process.

A child belongs to the supervisor's thread; everybody else reads the `Status` it leaves behind.
"""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Callable

from axproxy.process.process import Process, telling_line
from axproxy.process.spec import ChildSpec, ProbeResult, Status
from axproxy.process.states import HAS_PROCESS, Event, State, advance

LAST_RUNG = (signal.SIGKILL, 5.0)
_TROUBLE = frozenset({State.STOPPING, State.BACKOFF})


class Child:
    """Call `tick` about four times a second; each call feeds at most one event to the table."""

    def __init__(self, spec: ChildSpec, clock: Callable[[], float], log: logging.Logger) -> None:
        self.spec = spec
        self.state = State.STOPPED
        self.since = clock()
        self._clock = clock
        self._log = log
        self._process: Process | None = None
        self._probe: ProbeResult | None = None
        self._wedged: tuple[int, str] | None = None  # pid, reason
        self._useless = False  # we are taking it down because it is of no use
        self._revive = False  # an operator asked to start it out of `failed`
        self.interrupted = False  # we have begun to stop the latest process
        self._deaths = 0
        self._restarts = 0
        self._last_exit: str | None = None
        self._note: str | None = None
        self._blocked_by: str | None = None
        self._progress: tuple[object, float] = (None, 0.0)
        self._ladder: tuple[tuple[signal.Signals, float], ...] = (LAST_RUNG,)
        self._rung = 0
        self._rung_ends = 0.0
        self._signal_again = 0.0
        self._alarm = 0.0

    def status(self) -> Status:
        return Status(
            name=self.spec.name,
            state=self.state,
            since=self.since,
            pid=self._process.pid if self._process else None,
            restarts=self._restarts,
            last_exit=self._last_exit,
            note=self._note,
            retry_in=max(self._alarm - self._clock(), 0.0) if self.state is State.BACKOFF else None,
            blocked_by=self._blocked_by,
        )

    def restart(self, pid: int, reason: str) -> None:
        """It is alive but useless.  Carries the pid: a late report must not fell its successor."""
        self._wedged = (pid, reason)

    def reset_failed(self) -> None:
        """An operator's order: start again although it was given up."""
        self._revive = True

    def tick(self, may_start: bool, may_stay: bool) -> None:
        """Looks at the world once.  `may_stay` is the wish that it runs; `may_start` adds that
        what it needs is ready."""
        event = self._next_event(may_start, may_stay)
        if event is None:
            return
        old, self.state = self.state, advance(self.state, event)
        if self.state is State.STARTING and old is not State.STOPPED:
            self._restarts += 1
        if old is State.FAILED and (self._revive or event is Event.STOP):
            self._deaths = 0
        if self.state is not old:
            self.since = self._clock()
            self._log.info(
                "%s: %s -> %s (%s)%s",
                self.spec.name,
                old.value,
                self.state.value,
                event.value,
                f": {self._note}" if self._note and self.state in _TROUBLE else "",
            )
        _ENTER[self.state](self)

    def _next_event(self, may_start: bool, may_stay: bool) -> Event | None:
        if self.state in HAS_PROCESS:
            return self._event_of_a_process(may_stay)
        if not may_stay:
            self._useless = False
            self._blocked_by = None
            return None if self.state is State.STOPPED else Event.STOP
        if self.state is State.BACKOFF:
            return self._event_in_backoff(may_start)
        if self._useless:
            return Event.RETRY
        due = self._revive or (may_start and self._clock() >= self._alarm)
        called_for = due if self.state is State.FAILED else may_start
        return Event.START if called_for and self._clear_to_start() else None

    def _event_in_backoff(self, may_start: bool) -> Event | None:
        if self.spec.policy.delay(self._deaths) is None or self.spec.hopeless(self._deaths):
            return Event.GAVE_UP
        due = may_start and self._clock() >= self._alarm
        return Event.DELAY_OVER if due and self._clear_to_start() else None

    def _clear_to_start(self) -> bool:
        blocked_by = self.spec.blocked_by()
        if blocked_by and blocked_by != self._blocked_by:
            self._log.warning("%s: cannot start: %s", self.spec.name, blocked_by)
        self._blocked_by = blocked_by or None
        return blocked_by is None

    def _event_of_a_process(self, may_stay: bool) -> Event | None:
        if self._process is None:
            return Event.SPAWN_FAILED
        if (status := self._process.poll()) is not None:
            self._note_exit(status)
            return Event.EXITED
        if self.state is State.STOPPING:
            self._climb()
            return None
        if not may_stay:
            return Event.STOP
        if reason := self._reason_to_recycle():
            self._note = reason
            self._useless = True
            return Event.WEDGED
        if self.state is State.STARTING:
            return self._event_while_starting()
        if self._deaths and self.spec.policy.forgiven(self._clock() - self.since):
            self._deaths = 0
        return None

    def _reason_to_recycle(self) -> str | None:
        wedged, self._wedged = self._wedged, None
        if wedged and self._process and wedged[0] == self._process.pid:
            return wedged[1]
        return self._probe.useless if self._probe else None

    def _event_while_starting(self) -> Event | None:
        if self._probe and self._probe.ready:
            return Event.ANSWERED
        now, seen = self._clock(), self.spec.progress()
        if seen != self._progress[0]:
            self._progress = (seen, now)
        if now - self._progress[1] < self.spec.start_timeout:
            return None
        self._note = f"no progress for {self.spec.start_timeout:g} s while starting"
        self._useless = True
        return Event.TIMED_OUT

    def _note_exit(self, status: int) -> None:
        self._last_exit = self.spec.explain_exit(status)
        if self.state is not State.STOPPING:
            # Later on prompts and answers are among its lines, and those are nobody else's.
            loading = self._process if self.state is State.STARTING else None
            said = telling_line(loading.last_words()) if loading else ""
            self._note = self._last_exit + (f"; it said: {said}" if said else "")
        self._drop_process()

    def _drop_process(self) -> None:
        if self._probe:
            self._probe.cancel()
        self._probe = self._process = self._wedged = None

    # What entering a state does; an arrow without an effect would be a missing method.

    def _enter_starting(self) -> None:
        self._revive = self._useless = self.interrupted = False
        self._progress = (self.spec.progress(), self._clock())
        try:
            self._process = self.spec.spawn()
        except (OSError, ValueError) as error:
            self._note = str(error)
            return
        self._note = None
        self._probe = self.spec.watch(self._process.pid)

    def _enter_ready(self) -> None:
        self._note = None

    def _enter_stopping(self) -> None:
        self.interrupted = True
        if self._probe:
            self._probe.cancel()
        # First of all: were the rest to fail, the next tick must find the mildest signal here.
        self._ladder = (*self.spec.stop_ladder(), LAST_RUNG)
        self._rung = -1
        self._rung_ends = self._signal_again = self._clock()
        self.spec.before_stop()
        self._climb()

    def _climb(self) -> None:
        now = self._clock()
        ladder = self._ladder
        if now >= self._rung_ends and self._rung + 1 < len(ladder):
            self._rung += 1
            self._rung_ends = now + ladder[self._rung][1]
            self._signal_again = now
        if now >= self._signal_again and self._process:
            number = ladder[self._rung][0]
            self._log.debug("%s: %s to group %d", self.spec.name, number.name, self._process.pid)
            self._process.signal(number)
            self._signal_again = now + self.spec.repeat_signal

    def _enter_backoff(self) -> None:
        self._drop_process()
        self._deaths += 1
        self._useless = False
        self._alarm = self._clock() + (self.spec.policy.delay(self._deaths) or 0.0)

    def _enter_failed(self) -> None:
        hopeless, again = self.spec.hopeless(self._deaths), self.spec.policy.retried_after
        why = hopeless or f"the last: {self._note}"
        self._note = f"given up after {self._deaths} deaths in a row; {why}"
        self._log.error("%s: %s", self.spec.name, self._note)
        # Its deaths stand, so that one more ends the trial; only an operator forgives them.
        self._alarm = math.inf if hopeless else self._clock() + again

    def _enter_stopped(self) -> None:
        self._revive = False


_ENTER: dict[State, Callable[[Child], None]] = {
    State.STARTING: Child._enter_starting,
    State.READY: Child._enter_ready,
    State.STOPPING: Child._enter_stopping,
    State.BACKOFF: Child._enter_backoff,
    State.FAILED: Child._enter_failed,
    State.STOPPED: Child._enter_stopped,
}
