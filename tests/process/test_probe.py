"""A probe asks on its own thread and reports what it finds."""

from __future__ import annotations

import threading

from axproxy.process.probe import NotReady, Probe, Unusable
from tests.support.waiting import eventually


def nothing(_cancelled: object = None) -> None:
    """A check that succeeds."""


def test_ready_once_the_check_returns() -> None:
    asked = []

    def check(_cancelled: object) -> None:
        asked.append(1)
        if len(asked) < 3:
            raise NotReady

    watch = Probe(check, nothing, pause=0.001)
    assert eventually(lambda: watch.ready)
    watch.cancel()

    assert len(asked) == 3


def test_a_probe_that_fails_by_itself_is_repeated_and_proves_nothing() -> None:
    failures = iter([OSError("too many open files"), TypeError("what?")])
    asked: list[int] = []

    def check(_cancelled: object) -> None:
        if error := next(failures, None):
            raise error

    def alive() -> None:
        asked.append(1)
        if len(asked) < 5:
            raise KeyError("gone")
        raise Unusable("it is dead")

    watch = Probe(check, alive, pause=0.001, heartbeat=0.001)

    assert eventually(lambda: watch.unusable) == "it is dead"
    assert watch.ready
    assert len(asked) == 5


def test_an_unusable_process_is_reported_to_the_supervisor() -> None:
    def check(_cancelled: object) -> None:
        raise Unusable("the self-test failed")

    watch = Probe(check, nothing)

    assert eventually(lambda: watch.unusable) == "the self-test failed"
    assert not watch.ready


def test_three_missed_probes_in_a_row_make_a_process_unusable() -> None:
    answers = iter([True, False, True, False, False, True, False, False, False])
    asked = []

    def alive() -> None:
        asked.append(1)
        if not next(answers):
            raise NotReady("no answer")

    watch = Probe(nothing, alive, heartbeat=0.001)

    assert "stopped answering" in eventually(lambda: watch.unusable)
    assert len(asked) == 9


def test_a_check_under_way_can_see_that_it_was_cancelled() -> None:
    begun, left = threading.Event(), threading.Event()

    def check(cancelled) -> None:
        begun.set()
        eventually(cancelled)
        left.set()
        raise NotReady

    watch = Probe(check, nothing)
    begun.wait(60)
    watch.cancel()

    assert left.wait(60)
    assert not watch.ready
