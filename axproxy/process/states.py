"""The states of a child process, and the events that lead from one to the next, as one table.

python -m axproxy.process.states     prints the diagram of docs/how-it-works.md
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    FAILED = "failed"


class Event(Enum):
    START = "start"  # it is wanted, and all children before it in the row are ready
    ANSWERED = "answered"  # its probe succeeded
    EXITED = "exited"
    SPAWN_FAILED = "spawn failed"
    TIMED_OUT = "timed out"  # no progress while starting
    WEDGED = "wedged"  # alive but of no use
    STOP = "stop"  # no longer wanted, or the child before it has left `ready`
    RETRY = "retry"  # it was stopped because it was of no use; that counts as a failure
    DELAY_OVER = "delay over"
    GAVE_UP = "gave up"


HAS_PROCESS = frozenset({State.STARTING, State.READY, State.STOPPING})

TRANSITIONS: dict[State, dict[Event, State]] = {
    State.STOPPED: {
        Event.START: State.STARTING,
        Event.RETRY: State.BACKOFF,
    },
    State.STARTING: {
        Event.ANSWERED: State.READY,
        Event.EXITED: State.BACKOFF,
        Event.SPAWN_FAILED: State.BACKOFF,
        Event.TIMED_OUT: State.STOPPING,
        Event.WEDGED: State.STOPPING,
        Event.STOP: State.STOPPING,
    },
    State.READY: {
        Event.EXITED: State.BACKOFF,
        Event.WEDGED: State.STOPPING,
        Event.STOP: State.STOPPING,
    },
    State.STOPPING: {
        Event.EXITED: State.STOPPED,
    },
    State.BACKOFF: {
        Event.DELAY_OVER: State.STARTING,
        Event.GAVE_UP: State.FAILED,
        Event.STOP: State.STOPPED,
    },
    State.FAILED: {
        Event.START: State.STARTING,
        Event.STOP: State.STOPPED,
    },
}


class IllegalTransition(Exception):
    """Raised for an event that has no arrow in this state: a bug in this package."""


def advance(state: State, event: Event) -> State:
    """Return the state after `event`; raises `IllegalTransition` if the table has no arrow."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(f"{event.value!r} has no meaning while {state.value}") from None


def as_mermaid() -> str:
    """Return the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.STOPPED.value}"]
    for state, arrows in TRANSITIONS.items():
        by_target: dict[State, list[str]] = {}
        for event, target in arrows.items():
            by_target.setdefault(target, []).append(event.value)
        lines += [
            f"    {state.value} --> {target.value}: {', '.join(events)}"
            for target, events in by_target.items()
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(as_mermaid())
