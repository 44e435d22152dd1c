"""The gate before a launch."""

from __future__ import annotations

import logging
import threading

import pytest

from axproxy.preflight.finding import Finding
from axproxy.preflight.gate import FRESH, LaunchGate, sentence
from tests.support.waiting import eventually

OK = Finding("binary", "ok", "it is there")
MISSING = Finding("driver", "fail", "the driver is not loaded", "sudo modprobe axcl_host")
FULL = Finding("cmm", "fail", "the card is full", "stop the others")
HOT = Finding("temperature", "warn", "it is hot", "give it air")


class World:
    """A gate whose clock and findings the test holds."""

    def __init__(self) -> None:
        self.now = 100.0
        self.findings = [OK]
        self.looks = 0
        self.gate = LaunchGate(self._look, lambda: self.now)

    def _look(self) -> list[Finding]:
        self.looks += 1
        return self.findings

    def ask(self) -> str | None:
        """What the gate says once the look that it may have begun is over."""
        self.gate.blocked_by()
        self.let_it_look()
        return self.gate.blocked_by()

    def let_it_look(self) -> None:
        if self.gate._thread:
            self.gate._thread.join()


def test_the_first_answer_is_that_nothing_is_known_yet() -> None:
    release = threading.Event()

    def look() -> list[Finding]:
        release.wait(20)
        return [OK]

    gate = LaunchGate(look)
    assert gate.blocked_by() == ""
    assert gate.blocked_by() == ""  # at once, however long the look takes
    release.set()
    assert eventually(lambda: gate.blocked_by() is None)
    assert gate.findings == (OK,)


def test_each_launch_is_looked_at_anew() -> None:
    world = World()
    assert world.ask() is None
    world.findings = [MISSING]
    assert world.ask() == "the driver is not loaded; sudo modprobe axcl_host"
    assert world.looks == 2


def test_what_is_in_the_way_stays_said_while_it_looks_again_and_less_and_less_often() -> None:
    world = World()
    world.findings = [MISSING]
    pauses, last = [], world.now
    for _ in range(2000):
        before = world.looks
        said = world.gate.blocked_by()
        world.let_it_look()
        assert before == 0 or said == "the driver is not loaded; sudo modprobe axcl_host"
        if world.looks > before:
            pauses.append(world.now - last)
            last = world.now
        world.now += 0.25
    assert pauses[1:4] == [0.5, 1.0, 2.0]
    assert max(pauses) < 16
    assert world.looks < 45


def test_what_was_mended_meanwhile_lets_it_start() -> None:
    world = World()
    world.findings = [MISSING]
    assert world.ask()
    world.findings = [OK]
    world.now += 60
    assert world.ask() is None
    assert world.gate.findings == (OK,)


def test_an_old_look_does_not_count() -> None:
    world = World()
    world.gate.blocked_by()
    world.let_it_look()
    world.now += FRESH + 1
    world.findings = [MISSING]
    assert world.ask() == sentence([MISSING])


def test_several_failures_are_counted_up_in_one_sentence() -> None:
    assert sentence([OK, HOT]) is None
    assert sentence([OK, MISSING, HOT, FULL]) == (
        "the driver is not loaded; sudo modprobe axcl_host (/health tells 1 more)"
    )


def test_a_warning_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.findings = [HOT]
    with caplog.at_level(logging.WARNING, "preflight"):
        for _ in range(3):
            assert world.ask() is None
    assert caplog.messages == ["temperature: it is hot; give it air"]
