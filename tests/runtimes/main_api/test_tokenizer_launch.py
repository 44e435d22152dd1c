"""When a process of the vendor's script is replaced."""

from __future__ import annotations

import pytest

from axproxy.process.spec import Status
from axproxy.process.states import State
from axproxy.runtimes.main_api.tokenizer_launch import ScriptSession

UP, LOADING, DOWN = State.READY, State.STARTING, State.STOPPING
NONE, LATER = State.STOPPED, State.BACKOFF


def status(state: State, pid: int | None) -> Status:
    return Status("one", state, 0.0, pid, 0, None, None, None)


HISTORIES: dict[str, tuple[list[tuple[State, int | None, State]], bool]] = {
    "before the first runtime": ([(UP, 1, NONE)], False),
    "while it loads": ([(UP, 1, NONE), (UP, 1, LOADING)], False),
    "while it answers": ([(UP, 1, LOADING), (UP, 1, UP)], False),
    "while it stops, for it may still ask": ([(UP, 1, UP), (UP, 1, DOWN)], False),
    "after it has died": ([(UP, 1, UP), (UP, 1, LATER)], True),
    "after it was unloaded": ([(UP, 1, UP), (UP, 1, DOWN), (UP, 1, NONE)], True),
    "once the script itself is gone": ([(UP, 1, UP), (UP, 1, LATER), (NONE, None, LATER)], False),
    "with its successor": ([(UP, 1, UP), (UP, 1, LATER), (UP, 2, LATER)], False),
    "with one that came while the runtime was stopping": (
        [(UP, 1, UP), (LATER, None, DOWN), (UP, 2, DOWN), (UP, 2, NONE)],
        False,
    ),
}


@pytest.mark.parametrize(("looks", "over"), HISTORIES.values(), ids=HISTORIES)
def test_a_script_is_replaced(looks: list[tuple[State, int | None, State]], over: bool) -> None:
    session = ScriptSession()
    said = [session.over(status(script, pid), status(runtime, 9)) for script, pid, runtime in looks]
    assert said[-1] is over
