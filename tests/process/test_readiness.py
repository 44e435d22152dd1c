"""Whether a request would run now, and if not, the reason and the time to retry."""

import itertools
from dataclasses import replace

import pytest

from axproxy.errors import GaveUp, ProxyError, Restarting, Starting, Unavailable
from axproxy.health import ChildHealth
from axproxy.process.readiness import child_health, overall, why_not_ready
from axproxy.process.spec import Status
from axproxy.process.states import State


def child(
    state: State, note: str | None = None, retry_in: float | None = None, restarts: int = 0
) -> Status:
    return Status("runtime", state, 100.0, 4321, restarts, "exited with status 1", note, retry_in)


READY = child(State.READY)
STARTING = child(State.STARTING)
GAVE_UP = child(State.FAILED, "gave up after 9 failures in a row: no card is connected")

# name: (tokenizer, runtime, percent; the kind of error, its message, the time to retry)
REASONS: dict[str, tuple[Status, Status, int | None, type[ProxyError], str, int | None]] = {
    "the model is loading": (
        READY,
        STARTING,
        42,
        Starting,
        "the runtime is loading the model (42 %); try again in a moment",
        5,
    ),
    "no progress is known yet": (
        READY,
        STARTING,
        None,
        Starting,
        "the runtime is loading the model; try again in a moment",
        5,
    ),
    "progress may be nothing": (
        READY,
        STARTING,
        0,
        Starting,
        "the runtime is loading the model (0 %); try again in a moment",
        5,
    ),
    "nothing has begun": (
        child(State.STOPPED),
        child(State.STOPPED),
        None,
        Starting,
        "the tokenizer is starting; try again in a moment",
        5,
    ),
    "another program has taken the tokenizer's port under a running model": (
        replace(child(State.BACKOFF), blocked_by="port 12345 is held by nc (pid 7)"),
        READY,
        100,
        Unavailable,
        "the tokenizer cannot start: port 12345 is held by nc (pid 7)",
        30,
    ),
    "the tokenizer is being restarted under a running model": (
        STARTING,
        READY,
        100,
        Restarting,
        "the tokenizer is being restarted; try again in a moment",
        2,
    ),
    "the runtime waits before its next attempt": (
        READY,
        child(State.BACKOFF, "killed by SIGSEGV", retry_in=7.3),
        None,
        Restarting,
        "the runtime failed (killed by SIGSEGV) and is started again in 8 s",
        8,
    ),
    "the supervisor gave up on the runtime": (
        READY,
        GAVE_UP,
        None,
        GaveUp,
        "the runtime is not running; gave up after 9 failures in a row: no card is connected. "
        "Fix it, then POST /restart.",
        None,
    ),
    "the supervisor gave up on the tokenizer before the model was loaded": (
        GAVE_UP,
        child(State.STOPPED),
        None,
        GaveUp,
        "the tokenizer is not running; gave up after 9 failures in a row: no card is connected. "
        "Fix it, then POST /restart.",
        None,
    ),
    "the supervisor gave up on the tokenizer under a running model": (
        GAVE_UP,
        READY,
        100,
        GaveUp,
        "the tokenizer is not running; gave up after 9 failures in a row: no card is connected. "
        "Fix it, then POST /restart.",
        None,
    ),
    "another program holds the port": (
        READY,
        replace(child(State.STOPPED), blocked_by="port 8000 is held by nginx (pid 7)"),
        None,
        Unavailable,
        "the runtime cannot start: port 8000 is held by nginx (pid 7)",
        30,
    ),
    "the runtime was stopped because it was of no use, and is tried again": (
        READY,
        child(State.STOPPED, "the self-test failed"),
        None,
        Restarting,
        "the runtime is loading the model; try again in a moment",
        5,
    ),
    "the runtime is of no use and being stopped": (
        READY,
        child(State.STOPPING, "no token for 61 s"),
        None,
        Restarting,
        "the runtime is being stopped; try again in a moment",
        5,
    ),
    "the runtime is loading again after it died": (
        READY,
        replace(STARTING, restarts=1),
        7,
        Restarting,
        "the runtime is loading the model (7 %); try again in a moment",
        5,
    ),
    "a percentage of the last load does not count before the next": (
        READY,
        child(State.STOPPED),
        100,
        Starting,
        "the runtime is loading the model; try again in a moment",
        5,
    ),
    "the runtime is being stopped": (
        READY,
        child(State.STOPPING),
        None,
        Starting,
        "the runtime is being stopped; try again in a moment",
        5,
    ),
}


@pytest.mark.parametrize("reason", REASONS)
def test_the_error_gives_the_reason_and_the_time_to_retry(reason: str) -> None:
    tokenizer, runtime, percent, kind, sentence, retry_after = REASONS[reason]
    error = why_not_ready([replace(tokenizer, name="tokenizer"), runtime], percent)
    assert type(error) is kind
    assert (error.message, error.retry_after) == (sentence, retry_after)


@pytest.mark.parametrize(
    ("tokenizer", "runtime"), list(itertools.product(State, State)), ids=lambda state: state.value
)
def test_a_request_would_run_only_when_both_are_ready(tokenizer: State, runtime: State) -> None:
    both = tokenizer is runtime is State.READY
    assert (why_not_ready([child(tokenizer), child(runtime)], None) is None) == both
    assert (overall([child(tokenizer), child(runtime)]) == "ok") == both


@pytest.mark.parametrize(
    ("tokenizer", "runtime", "word"),
    [
        (READY, READY, "ok"),
        (READY, child(State.READY, restarts=3), "ok"),
        (READY, STARTING, "loading"),
        (STARTING, child(State.STOPPED), "loading"),
        (READY, child(State.BACKOFF), "restarting"),
        (READY, child(State.STARTING, restarts=1), "restarting"),
        (child(State.STARTING, restarts=1), READY, "restarting"),
        (READY, child(State.STOPPING), "stopping"),
        (READY, replace(child(State.STOPPED), blocked_by="no card"), "blocked"),
        (READY, GAVE_UP, "failed"),
        (GAVE_UP, READY, "failed"),
        (child(State.BACKOFF), GAVE_UP, "failed"),
    ],
)
def test_one_word_describes_the_whole_row(tokenizer: Status, runtime: Status, word: str) -> None:
    assert overall([tokenizer, runtime]) == word


def test_health_shows_since_as_the_time_of_day() -> None:
    health = child_health(child(State.READY, "a note"), now=160.0, wall=1_000_000.0)
    assert health == ChildHealth(
        state="ready",
        since=999_940.0,
        pid=4321,
        restarts=0,
        last_exit="exited with status 1",
        note="a note",
    )
