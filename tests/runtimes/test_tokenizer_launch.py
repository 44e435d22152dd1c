"""When a process of the vendor's script is replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from axproxy.process.spec import Status
from axproxy.process.states import State
from axproxy.runtimes.tokenizer_launch import FilesGate, ScriptSession, tokenizer_spec
from axproxy.settings import Settings
from tests.support.model_folders import published_model
from tests.support.waiting import eventually

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


def test_files_that_are_not_there_hold_the_tokenizer_back_until_they_are(tmp_path: Path) -> None:
    now = [0.0]
    gate = FilesGate(Settings(model_path=tmp_path / "disk" / "model"), lambda: now[0])
    wanted = (
        f"{tmp_path}/disk/model does not exist; mount its disk, or set AX650_MODEL_PATH to the "
        "model's folder"
    )
    for _ in range(12):  # the delays grow to a few seconds and no further
        assert eventually(gate.blocked_by) == wanted
        now[0] += 4.0
    (finding,) = gate.failed
    assert (finding.name, finding.verdict) == ("model-folder", "fail")
    published_model(tmp_path / "disk" / "model")

    def later() -> bool:
        now[0] += 0.1
        return gate.blocked_by() is None

    eventually(later)
    assert gate.failed == []


def test_a_tokenizer_that_has_served_is_started_again_without_a_check(tmp_path: Path) -> None:
    gate = FilesGate(Settings(model_path=tmp_path / "nothing"))
    gate.started()
    gate.answered()
    assert gate.blocked_by() is None
    gate.started()
    assert gate.blocked_by() is not None


def test_the_simulators_tokenizer_needs_no_files() -> None:
    gate = FilesGate(Settings())
    gate.started()
    assert gate.blocked_by() is None


def test_a_failing_tokenizer_is_tried_again_within_a_minute() -> None:
    policy = tokenizer_spec(Settings()).policy
    assert policy.delay(1) == 0.05
    assert policy.delay(policy.attempts) == policy.longest_delay <= 15
    assert policy.retried_after <= 60
