"""The life of one supervised process, driven by ticks.

A child belongs to the supervisor's thread.  Other threads read the `Status` that it leaves behind.
"""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Callable, Sequence

from axproxy.process.process import Process, describe_exit
from axproxy.process.spec import ChildSpec, ProbeResult, Status, StopLadder
from axproxy.process.states import HAS_PROCESS, Event, State, advance

LAST_STEP = (signal.SIGKILL, 5.0)  # of every stop ladder
LINES_LOGGED = 20  # of a child that ended while it started
_TROUBLE = frozenset({State.STOPPING, State.BACKOFF})
_FAILURES = frozenset({Event.EXITED, Event.SPAWN_FAILED, Event.TIMED_OUT, Event.WEDGED})


class Child:
    """One child.  Call `tick` about four times a second; each call takes at most one arrow."""

    def __init__(self, spec: ChildSpec, clock: Callable[[], float], log: logging.Logger) -> None:
        self.spec = spec
        self.state = State.STOPPED
        self.since = clock()
        self.interrupted = False  # the latest process is being stopped, or was
        self._clock = clock
        self._log = log
        self._process: Process | None = None
        self._probe: ProbeResult | None = None
        self._wedged: tuple[int, str] | None = None  # pid, reason
        self._replace = False  # it is being stopped because it is of no use
        self._ordered = False  # it is being restarted because an operator wants that
        self._reset_failed = False
        self._failures = 0  # in a row
        self._chance = False  # the latest of them may have been chance
        self._restarts = 0
        self._last_exit: str | None = None
        self._note: str | None = None
        self._blocked_by: str | None = None
        self._blocked_since = 0.0
        self._waiting_for: str | None = None
        self._progress: tuple[object, float] = (None, 0.0)  # value, when it was first seen
        self._ladder: StopLadder = (LAST_STEP,)
        self._step = 0
        self._step_ends = 0.0
        self._signal_again = 0.0
        self._retry_at = 0.0

    def status(self) -> Status:
        waiting = self.state is State.BACKOFF
        return Status(
            name=self.spec.name,
            state=self.state,
            since=self.since,
            pid=self._process.pid if self._process else None,
            restarts=self._restarts,
            last_exit=self._last_exit,
            note=self._note,
            retry_in=max(self._retry_at - self._clock(), 0.0) if waiting else None,
            blocked_by=self._blocked_by,
            blocked_seconds=self._clock() - self._blocked_since,
            waiting_for=self._waiting_for,
            failures=self._failures,
            chance=self._chance,
        )

    def restart(self, pid: int, reason: str) -> None:
        """Restart the process `pid`, which is wedged; a late order does not hit its successor."""
        self._wedged = (pid, reason)

    def reset_failed(self) -> None:
        """Start again although the supervisor gave up."""
        self._reset_failed = self.state is State.FAILED

    def obey(self, restart: bool) -> None:
        """Obey an operator: end a pause, forget failures, and with `restart` start anew.

        An ordered restart is no failure, so no pause follows it.
        """
        if self.state in (State.BACKOFF, State.FAILED):
            self._reset_failed, self._failures = True, 0
        self._ordered = restart and self.state is State.READY

    def tick(self, may_start: bool, may_stay: bool) -> None:
        """Look once and do what is due.

        `may_stay` means that the child is wanted, `may_start` that what it needs is ready, too.
        """
        event = self._next_event(may_start, may_stay)
        if event is None:
            return
        old, self.state = self.state, advance(self.state, event)
        if self.state is State.STARTING and (old is not State.STOPPED or self._ordered):
            self._restarts += 1
        if old is State.FAILED and (self._reset_failed or event is Event.STOP):
            self._failures = 0
        if self.state is not old:
            self.since = self._clock()
            planned = event not in _FAILURES or old is State.STOPPING
            self._log.log(
                logging.INFO if planned else logging.WARNING,
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
            return self._event_of_process(may_stay)
        if not may_stay:
            self._replace = False
            self._blocked_by = self._waiting_for = None
            return None if self.state is State.STOPPED else Event.STOP
        if self.state is State.BACKOFF:
            return self._event_in_backoff(may_start)
        if self._replace:
            return Event.RETRY
        due = self._reset_failed or (may_start and self._clock() >= self._retry_at)
        called_for = due if self.state is State.FAILED else may_start
        return Event.START if called_for and self._nothing_in_the_way() else None

    def _event_in_backoff(self, may_start: bool) -> Event | None:
        over = self._reset_failed or self._clock() >= self._retry_at
        failures = self._failures
        if self.spec.policy.delay(failures) is None or self.spec.hopeless(failures):
            return Event.GAVE_UP
        due = may_start and over
        return Event.DELAY_OVER if due and self._nothing_in_the_way() else None

    def _nothing_in_the_way(self) -> bool:
        self._waiting_for = self.spec.waits_for()
        if self._waiting_for:
            self._blocked_by = None
            return False
        blocked_by = self.spec.blocked_by()
        if blocked_by and not self._blocked_by:
            self._blocked_since = self._clock()
        if blocked_by and blocked_by != self._blocked_by:
            self._log.warning("%s: cannot start: %s", self.spec.name, blocked_by)
        self._blocked_by = blocked_by or None
        return blocked_by is None

    def _event_of_process(self, may_stay: bool) -> Event | None:
        if self._process is None:
            return Event.SPAWN_FAILED
        if (status := self._process.poll()) is not None:
            self._note_exit(status)
            return Event.EXITED
        if self.state is State.STOPPING:
            self._send_signals()
            return None
        if not may_stay:
            return Event.STOP
        if self._ordered:
            self._note = "an operator asked for a restart"
            return Event.STOP
        if reason := self._why_unusable():
            self._note = reason
            self._replace, self._chance = True, False
            return Event.WEDGED
        if self.state is State.STARTING:
            return self._event_while_starting()
        if self._failures and self.spec.policy.forgiven(self._clock() - self.since):
            self._failures = 0
        return None

    def _why_unusable(self) -> str | None:
        wedged, self._wedged = self._wedged, None
        if wedged and self._process and wedged[0] == self._process.pid:
            return wedged[1]
        return self._probe.unusable if self._probe else None

    def _event_while_starting(self) -> Event | None:
        if self._probe and self._probe.ready:
            return Event.ANSWERED
        now, value = self._clock(), self.spec.progress()
        if value != self._progress[0]:
            self._progress = (value, now)
        if now - self._progress[1] < self.spec.start_timeout:
            return None
        self._note = f"no progress for {self.spec.start_timeout:g} s while starting"
        self._replace, self._chance = True, False
        return Event.TIMED_OUT

    def _note_exit(self, status: int) -> None:
        explained = self.spec.explain_exit(status)
        stopping = self.state is State.STOPPING  # what an exit usually means is then wrong
        self._last_exit = describe_exit(status) if stopping else explained
        if not stopping:
            self._chance = status < 0
            self._note = explained
            # Once it serves, prompts and answers are among its lines; those must not be shown.
            if self.state is State.STARTING and self._process:
                self._note += self._last_words(self._process.last_words())
        self._drop_process()

    def _last_words(self, lines: Sequence[str]) -> str:
        for text in lines[-LINES_LOGGED:]:
            self._log.warning("%s printed before it ended: %s", self.spec.name, text)
        line = self.spec.telling(lines)
        return f"; it printed: {line}" if line else ""

    def _drop_process(self) -> None:
        if self._probe:
            self._probe.cancel()
        self._probe = self._process = self._wedged = None

    # What entering a state does.  Every state has such a method, or an arrow would do nothing.

    def _enter_starting(self) -> None:
        self._reset_failed = self._replace = self._ordered = self.interrupted = False
        self._progress = (self.spec.progress(), self._clock())
        try:
            self._process = self.spec.spawn()
        except (OSError, ValueError) as error:
            self._note, self._chance = str(error), False
            return
        self._probe = self.spec.probe(self._process.pid)

    def _enter_ready(self) -> None:
        self._note = None

    def _enter_stopping(self) -> None:
        self.interrupted = True
        if self._probe:
            self._probe.cancel()
        # The ladder comes first: if `before_stop` raises, the next tick begins with its first step.
        self._ladder = (*self.spec.stop_ladder(), LAST_STEP)
        self._step = -1
        self._step_ends = self._signal_again = self._clock()
        self.spec.before_stop()
        self._send_signals()

    def _send_signals(self) -> None:
        now = self._clock()
        ladder = self._ladder
        if now >= self._step_ends and self._step + 1 < len(ladder):
            self._step += 1
            self._step_ends = now + ladder[self._step][1]
            self._signal_again = now
        if now >= self._signal_again and self._process:
            number = ladder[self._step][0]
            self._log.debug("%s: %s to group %d", self.spec.name, number.name, self._process.pid)
            self._process.signal(number)
            self._signal_again = now + self.spec.repeat_signal

    def _enter_backoff(self) -> None:
        self._drop_process()
        self._failures += 1
        self._replace = False
        self._retry_at = self._clock() + (self.spec.policy.delay(self._failures) or 0.0)

    def _enter_failed(self) -> None:
        policy = self.spec.policy
        hopeless, again = self.spec.hopeless(self._failures), policy.retried_after
        if hopeless:
            again = math.inf if self.spec.certain() else policy.doubted_after
        self._note = f"gave up after {self._failures} failures in a row: {hopeless or self._note}"
        self._log.error("%s: %s", self.spec.name, self._note)
        # The failures still count, so one more ends the trial; only an operator resets them.
        self._retry_at = self._clock() + again

    def _enter_stopped(self) -> None:
        self._reset_failed = False


_ENTER: dict[State, Callable[[Child], None]] = {
    State.STARTING: Child._enter_starting,
    State.READY: Child._enter_ready,
    State.STOPPING: Child._enter_stopping,
    State.BACKOFF: Child._enter_backoff,
    State.FAILED: Child._enter_failed,
    State.STOPPED: Child._enter_stopped,
}
