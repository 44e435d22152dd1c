"""What one child is (`ChildSpec`) and what is known about it (`Status`)."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from axproxy.process.process import Process, describe_exit, telling_line
from axproxy.process.restart import RestartPolicy
from axproxy.process.states import State

StopLadder = tuple[tuple[signal.Signals, float], ...]  # signals, and seconds to wait after each


class ProbeResult(Protocol):
    """What a probe has found out so far (see axproxy.process.probe)."""

    ready: bool
    unusable: str | None

    def cancel(self) -> None: ...


@dataclass(frozen=True)
class ChildSpec:
    """How to run one child.  All functions are called by the supervisor's thread.

    * `spawn` starts the process.  Raises `OSError` or `ValueError` with a sentence when it cannot.
    * `probe` is called right after it with the pid, and begins to ask the process.
    * `stop_ladder` is asked for before the first signal.  Each step is a signal to the process
      group and the seconds before the next step; within a step the signal is repeated every
      `repeat_signal` seconds.
    * `waits_for` returns what the start must wait for that goes away by itself, or `None`.
    * `progress` is any value that changes while the child starts.  After `start_timeout` seconds
      without a change the child counts as stuck.
    * `blocked_by` returns what must go away before the child may start, `None` if nothing is in
      the way, and an empty text while that is not known yet.
    * `before_stop` is called once before the first signal.
    * `telling` gets the last lines of a child that ended while it started, oldest first, and
      returns the one that says why.
    * `hopeless` gets the number of failures in a row and returns why another start cannot help,
      or `None`.  It is beyond doubt only if `certain` returns True; else there are trials.
    * `survives_previous` says that the child keeps running while the child before it is away;
      otherwise it is stopped then.
    * `spent` gets the state of the whole row before each tick, and returns True if this process
      has served its purpose and must be replaced.
    """

    name: str
    spawn: Callable[[], Process]
    probe: Callable[[int], ProbeResult]
    stop_ladder: Callable[[], StopLadder]
    start_timeout: float
    blocked_by: Callable[[], str | None] = lambda: None
    waits_for: Callable[[], str | None] = lambda: None
    progress: Callable[[], object] = lambda: None
    before_stop: Callable[[], None] = lambda: None
    explain_exit: Callable[[int], str] = describe_exit
    telling: Callable[[Sequence[str]], str] = telling_line
    hopeless: Callable[[int], str | None] = lambda _failures: None
    certain: Callable[[], bool] = lambda: True
    survives_previous: bool = False
    spent: Callable[[Sequence[Status]], bool] = lambda _row: False
    repeat_signal: float = 2.0
    policy: RestartPolicy = field(default_factory=RestartPolicy)


@dataclass(frozen=True)
class Status:
    """The state of a child at one moment.

    `since` is on the supervisor's clock, `retry_in` in seconds.  `note` is what an operator should
    know about the present state or the failure before it, `blocked_by` what has kept the child from
    being started for `blocked_seconds`, `waiting_for` what will be over by itself.  `failures` are
    those in a row; `chance` means that the latest may not come again.
    """

    name: str
    state: State
    since: float
    pid: int | None
    restarts: int
    last_exit: str | None
    note: str | None
    retry_in: float | None
    blocked_by: str | None = None
    blocked_seconds: float = math.inf
    waiting_for: str | None = None
    failures: int = 0
    chance: bool = False
