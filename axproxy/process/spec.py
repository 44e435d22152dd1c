"""What one child is, and what is known about it: values that all threads may read."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from axproxy.process.process import Process, describe_exit
from axproxy.process.restart import RestartPolicy
from axproxy.process.states import State


class ProbeResult(Protocol):
    """What a watch has found out so far (see axproxy.process.probe)."""

    ready: bool
    useless: str | None

    def cancel(self) -> None: ...


@dataclass(frozen=True)
class ChildSpec:
    """How to run one child.

    `spawn` starts it, called by the supervisor's thread; raises `OSError` or `ValueError` with a
    sentence when it cannot.  `watch` is called right after with its pid.  `blocked_by` says what
    must go away before it may start, or `None`; an empty text means that this is not known yet.
    `progress` is any value that changes while it gets on with starting; after `start_timeout`
    seconds without change it counts as stuck.  `hopeless`, asked after a number of deaths in a row,
    says why one more start cannot help, or `None`.
    `before_stop` is called once before the first signal.  `stop_ladder`, asked for then, is
    climbed rung by rung: a signal to the group, repeated every `repeat_signal` seconds, and how
    long it may take.

    In a row of children, `survives_previous` says that the child goes on when the one before it is
    away; else it is stopped then.  `spent`, asked before each tick with the state of the row, says
    that this process has served its purpose and must be replaced by a new one.
    """

    name: str
    spawn: Callable[[], Process]
    watch: Callable[[int], ProbeResult]
    stop_ladder: Callable[[], tuple[tuple[signal.Signals, float], ...]]
    start_timeout: float
    blocked_by: Callable[[], str | None] = lambda: None
    progress: Callable[[], object] = lambda: None
    before_stop: Callable[[], None] = lambda: None
    explain_exit: Callable[[int], str] = describe_exit
    hopeless: Callable[[int], str | None] = lambda _deaths: None
    survives_previous: bool = False
    spent: Callable[[Sequence[Status]], bool] = lambda _row: False
    repeat_signal: float = 2.0
    policy: RestartPolicy = field(default_factory=RestartPolicy)


@dataclass(frozen=True)
class Status:
    """One look at a child.  `since` is seconds on the supervisor's clock; `note` is what an
    operator should know about the present state, `blocked_by` what keeps it from being started."""

    name: str
    state: State
    since: float
    pid: int | None
    restarts: int
    last_exit: str | None
    note: str | None
    retry_in: float | None
    blocked_by: str | None = None
