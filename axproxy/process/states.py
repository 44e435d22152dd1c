"""The life of a child process as one table; everything about its states lives here.

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
    START = "start"  # it is wanted, and everything before it in the row is ready
    ANSWERED = "answered"  # its probe succeeded
    EXITED = "exited"
    SPAWN_FAILED = "spawn failed"
    TIMED_OUT = "timed out"  # no progress while starting
    WEDGED = "wedged"  # alive but useless
    STOP = "stop"  # not wanted any more, or something before it in the row has left `ready`
    RETRY = "retry"  # we took it down ourselves because it was useless; that counts as a death
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
    """An event that has no arrow in this state: a mistake of ours."""


def advance(state: State, event: Event) -> State:
    """The state after `event`; raises `IllegalTransition` where the table has no arrow."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(f"{event.value!r} has no meaning while {state.value}") from None


def as_mermaid() -> str:
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
