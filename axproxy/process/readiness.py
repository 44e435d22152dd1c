"""Whether a request would run now, in a sentence; and the same for `/health`."""

from __future__ import annotations

from axproxy.errors import GaveUp, ProxyError, Restarting, Starting, Unavailable
from axproxy.health import ChildHealth
from axproxy.process.child import Status
from axproxy.process.states import State


def why_not_ready(
    tokenizer: Status, runtime: Status, load_percent: int | None
) -> ProxyError | None:
    """`None` when both are ready; else the error that a client gets, with when to come back."""
    if tokenizer.state is not State.READY:
        soon_back = tokenizer.state is not State.FAILED and not tokenizer.blocked_by
        if runtime.state is State.READY and soon_back:
            return Restarting("the tokenizer is being restarted; try again in a moment", 2)
        return _of("tokenizer", tokenizer, "is starting")
    if runtime.state is State.READY:
        return None
    loaded = f" ({load_percent} %)" if load_percent is not None else ""
    return _of("runtime", runtime, f"is loading the model{loaded}")


def _of(name: str, status: Status, doing: str) -> ProxyError:
    if status.state is State.FAILED:
        return GaveUp(f"the {name} was {status.note}; mend that, then POST /restart")
    if status.blocked_by:
        return Unavailable(f"the {name} cannot start: {status.blocked_by}", retry_after=30)
    if status.state is State.BACKOFF:
        seconds = int(status.retry_in or 0) + 1
        return Restarting(
            f"the {name} failed ({status.note}) and is started again in {seconds} s",
            retry_after=seconds,
        )
    kind = Restarting if status.restarts or status.note else Starting
    if status.state in (State.STOPPED, State.STARTING):
        return kind(f"the {name} {doing}; try again in a moment")
    return kind(f"the {name} is being stopped; try again in a moment")


def overall(tokenizer: Status, runtime: Status, resident: bool = True) -> str:
    """One word for the whole unit; `resident` says whether the model is wanted on the card."""
    states = {tokenizer.state, runtime.state}
    if not resident and State.FAILED not in states:
        return "unloaded"
    if State.FAILED in states:
        return "failed"
    if tokenizer.blocked_by or runtime.blocked_by:
        return "blocked"
    if states == {State.READY}:
        return "ok"
    if State.STOPPING in states:
        return "stopping"
    again = State.BACKOFF in states or runtime.restarts or tokenizer.restarts
    return "restarting" if again else "loading"


def child_health(status: Status, now: float, wall: float) -> ChildHealth:
    """`now` is the supervisor's clock, `wall` the time of day, both in seconds."""
    return ChildHealth(
        state=status.state.value,
        since=wall - (now - status.since),
        pid=status.pid,
        restarts=status.restarts,
        last_exit=status.last_exit,
        note=status.blocked_by or status.note,
    )
