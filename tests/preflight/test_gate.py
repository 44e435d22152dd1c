"""The gate before a launch."""

from __future__ import annotations

import logging
import threading

import pytest

from axproxy.preflight.finding import Finding
from axproxy.preflight.gate import MAX_AGE, LaunchGate, why_blocked
from tests.support.waiting import eventually

OK = Finding("binary", "ok", "it is there")
MISSING = Finding("driver", "fail", "the driver is not loaded", "sudo modprobe axcl_host")
FULL = Finding("cmm", "fail", "the card is full", "stop the others")
HOT = Finding("temperature", "warn", "it is hot", "give it air")


class World:
    """A gate with a clock and findings that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self.findings = [OK]
        self.inspections = 0
        self.gate = LaunchGate(self._inspect, lambda: self.now)

    def _inspect(self) -> list[Finding]:
        self.inspections += 1
        return self.findings

    def ask(self) -> str | None:
        """Return what blocks the launch after the inspection that this may have started."""
        self.gate.blocked_by()
        self.wait()
        return self.gate.blocked_by()

    def wait(self) -> None:
        if self.gate._thread:
            self.gate._thread.join()


def test_nothing_is_known_before_the_first_inspection_ends() -> None:
    release = threading.Event()

    def inspect() -> list[Finding]:
        release.wait(20)
        return [OK]

    gate = LaunchGate(inspect)
    assert gate.blocked_by() == ""
    assert gate.blocked_by() == ""  # at once, however long the inspection takes
    release.set()
    assert eventually(lambda: gate.blocked_by() is None)
    assert gate.findings == (OK,)


def test_each_launch_is_inspected_anew() -> None:
    world = World()
    assert world.ask() is None
    world.findings = [MISSING]
    assert world.ask() == "the driver is not loaded; sudo modprobe axcl_host"
    assert world.inspections == 2


def test_the_reason_stays_during_later_inspections_which_become_rarer() -> None:
    world = World()
    world.findings = [MISSING]
    delays, last = [], world.now
    for _ in range(2000):
        before = world.inspections
        reason = world.gate.blocked_by()
        world.wait()
        assert before == 0 or reason == "the driver is not loaded; sudo modprobe axcl_host"
        if world.inspections > before:
            delays.append(world.now - last)
            last = world.now
        world.now += 0.25
    assert delays[1:4] == [0.5, 1.0, 2.0]
    assert max(delays) < 16
    assert world.inspections < 45


def test_a_problem_that_was_fixed_lets_it_start() -> None:
    world = World()
    world.findings = [MISSING]
    assert world.ask()
    world.findings = [OK]
    world.now += 60
    assert world.ask() is None
    assert world.gate.findings == (OK,)


def test_old_findings_do_not_count() -> None:
    world = World()
    world.gate.blocked_by()
    world.wait()
    world.now += MAX_AGE + 1
    world.findings = [MISSING]
    assert world.ask() == why_blocked([MISSING])


def test_further_failures_are_counted_in_the_sentence() -> None:
    assert why_blocked([OK, HOT]) is None
    assert why_blocked([OK, MISSING, HOT, FULL]) == (
        "the driver is not loaded; sudo modprobe axcl_host (1 more in /health)"
    )


def test_a_warning_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.findings = [HOT]
    with caplog.at_level(logging.WARNING, "preflight"):
        for _ in range(3):
            assert world.ask() is None
    assert caplog.messages == ["temperature: it is hot; give it air"]
