"""How long the model stays on the card after the last answer."""

from __future__ import annotations

import math
import threading

import pytest

from axproxy.durations import FOREVER
from axproxy.engine.keep_alive import KeepAlive

# name: (default, what happens one after the other, seconds left at the end)
HISTORIES: dict[str, tuple[float, list[object], float]] = {
    "not used yet": (300, [], math.inf),
    "while a request runs": (300, ["begin"], math.inf),
    "counted from the end of the answer": (300, ["begin", 1000, "end"], 300),
    "time passes": (300, ["begin", "end", 100], 200),
    "a second answer starts it anew": (300, ["begin", "end", 100, "begin", 50, "end"], 300),
    "the last of two counts": (300, ["begin", "begin", "end", 10], math.inf),
    "for ever": (FOREVER, ["begin", "end"], math.inf),
    "a request's own": (300, ["begin", ("use", 10.0), "end"], 10),
    "a request's own stays in force": (300, ["begin", ("use", 10.0), "end", "begin", "end"], 10),
    "for ever by request": (300, ["begin", ("use", FOREVER), "end"], math.inf),
    "at once by request": (300, ["begin", ("use", 0.0), "end"], 0),
    "overdue": (300, ["begin", "end", 400], -100),
    "asked to unload when idle": (FOREVER, ["begin", "end", 50, "expire"], -50),
    "asked to unload before any use": (FOREVER, ["expire"], 0),
    "asked to unload in mid-answer": (FOREVER, ["begin", "expire"], math.inf),
    "and then the answer ends": (FOREVER, ["begin", "expire", "end"], 0),
    "asked to unload in mid-answer whose request has its own": (
        FOREVER,
        ["begin", ("use", 10.0), "expire", "end"],
        0,
    ),
    "unloaded": (300, ["begin", ("use", 0.0), "end", "forget"], math.inf),
    "the default again after a reload": (
        300,
        ["begin", ("use", 0.0), "end", "forget", "begin", "end"],
        300,
    ),
}


ANNOUNCED: dict[str, tuple[float, list[object], float]] = {
    "idle": (300, ["begin", "end", 100], 200),
    "while a request runs": (300, ["begin", "end", 100, "begin", 50], 300),
    "while a request runs that has its own": (300, ["begin", ("use", 10.0), 50], 10),
    "for ever": (FOREVER, ["begin"], math.inf),
    "asked to unload in mid-answer": (300, ["begin", 50, "expire", 7], -7),
    "asked to unload in a later answer": (300, ["begin", "end", "begin", 50, "expire", 7], -57),
    "while a request runs that shall be the last": (300, ["begin", ("use", 0.0)], 0),
}


def after(default: float, history: list[object]) -> KeepAlive:
    now = [1000.0]
    residency = KeepAlive(default, lambda: now[0])
    for step in history:
        match step:
            case int(seconds):
                now[0] += seconds
            case ("use", float(keep_alive)):
                residency.use(keep_alive)
            case str(name):
                getattr(residency, name)()
    return residency


@pytest.mark.parametrize(("default", "history", "left"), HISTORIES.values(), ids=list(HISTORIES))
def test_the_time_left_follows_the_history(
    default: float, history: list[object], left: float
) -> None:
    assert after(default, history).seconds_left == left


@pytest.mark.parametrize(("default", "history", "left"), ANNOUNCED.values(), ids=list(ANNOUNCED))
def test_ps_shows_what_would_be_left_if_the_answers_ended_now(
    default: float, history: list[object], left: float
) -> None:
    assert after(default, history).announced == left


def test_a_waiting_thread_wakes_when_the_time_is_over() -> None:
    residency = KeepAlive(FOREVER)
    over = threading.Event()
    waiting = threading.Thread(target=lambda: residency.wait_expired() and over.set())
    waiting.start()
    residency.begin()
    residency.expire()
    assert not over.is_set()
    residency.end()

    assert over.wait(60)
    waiting.join(60)


def test_a_waiting_thread_wakes_when_the_service_stops() -> None:
    residency = KeepAlive(300)
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(residency.wait_expired()))
    waiting.start()
    residency.stop()
    waiting.join(60)

    assert answers == [False]
