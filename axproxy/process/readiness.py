"""Reports whether a request would run now, as an error for clients and as words for `/health`."""

from __future__ import annotations

from collections.abc import Sequence

from axproxy.errors import GaveUp, ProxyError, Restarting, Starting, Unavailable
from axproxy.health import ChildHealth
from axproxy.process.spec import Status
from axproxy.process.states import State

# Seconds for which a hindrance may go away by itself: a predecessor's port, a busy tool, a disk.
ORDINARY = 10.0


def why_not_ready(row: Sequence[Status], load_percent: int | None) -> ProxyError | None:
    """Return the error that a client gets, with when to come back; `None` when all are ready.

    `row` is in the order of starting; its last child is the runtime, which loads the model.
    """
    *helpers, runtime = row
    for helper in helpers:
        if helper.state is not State.READY:
            soon_back = helper.state is not State.FAILED and not helper.blocked_by
            if runtime.state is State.READY and soon_back:
                return Restarting(f"the {helper.name} is being restarted; try again in a moment", 2)
            return _problem(helper, "is starting")
    if runtime.state is State.READY:
        return None
    loaded = f" ({load_percent} %)" if load_percent is not None else ""
    if runtime.state is State.STARTING and load_percent == 100:
        return _problem(runtime, "has loaded the model and is tested with a first token")
    if runtime.state is not State.STARTING:
        loaded = ""
    return _problem(runtime, f"is loading the model{loaded}")


def long_pause(row: Sequence[Status], hold: float) -> ProxyError | None:
    """Return the reason if the next attempt is further away than `hold` seconds.

    A first failure that may be chance is no reason: its pause is short.
    """
    for status in row:
        pause = status.retry_in if status.state is State.BACKOFF else None
        if pause and pause > hold and not (status.chance and status.failures == 1):
            return _problem(status, "")
    return None


def _problem(status: Status, doing: str) -> ProxyError:
    name = status.name
    if status.state is State.FAILED:
        return GaveUp(f"the {name} is not running; {status.note}. Fix it, then POST /restart.")
    kind = Restarting if status.restarts or status.note else Starting
    if status.waiting_for:
        return kind(f"the {name} is about to start: {status.waiting_for}; try again in a moment")
    if status.blocked_by:
        blocked = f"the {name} cannot start: {status.blocked_by}"
        if status.blocked_seconds < ORDINARY:
            return kind(blocked)
        return Unavailable(blocked, retry_after=30)
    if status.state is State.BACKOFF:
        seconds = int(status.retry_in or 0) + 1
        return Restarting(
            f"the {name} failed ({status.note}) and is started again in {seconds} s",
            retry_after=seconds,
        )
    if status.state is State.STARTING and status.note:
        return kind(f"the {name} {doing} (before: {status.note}); try again in a moment")
    if status.state in (State.STOPPED, State.STARTING):
        return kind(f"the {name} {doing}; try again in a moment")
    return kind(f"the {name} is being stopped; try again in a moment")


def overall(row: Sequence[Status], load_wanted: bool = True) -> str:
    """Return one word for the whole row; `load_wanted` means that the model shall be loaded."""
    states = {status.state for status in row}
    if not load_wanted and State.FAILED not in states:
        return "unloaded"
    if State.FAILED in states:
        return "failed"
    if any(status.blocked_by for status in row):
        return "blocked"
    if states == {State.READY}:
        return "ok"
    if State.STOPPING in states:
        return "stopping"
    again = State.BACKOFF in states or any(status.restarts for status in row)
    return "restarting" if again else "loading"


def child_health(status: Status, now: float, wall: float) -> ChildHealth:
    """Return what `/health` shows of one child.

    `now` is the supervisor's clock, `wall` the time of day, both in seconds.
    """
    return ChildHealth(
        state=status.state.value,
        since=wall - (now - status.since),
        pid=status.pid,
        restarts=status.restarts,
        last_exit=status.last_exit,
        note=status.blocked_by or status.waiting_for or status.note,
    )
