"""One run of the checks."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from axproxy.preflight.checks import CHECKS, Check, checks_for
from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding
from axproxy.preflight.inspection import Inspection
from tests.preflight.machine import Machine

FINE = Finding("cma", "ok", "fine")


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    release = threading.Event()
    yield release
    release.set()


def check(name: str, *findings: Finding) -> Check:
    return Check((name,), lambda _context: findings)


def test_findings_come_in_the_order_of_the_checks(pi: Machine) -> None:
    slow, hot = Finding("governor", "warn", "slow"), Finding("temperature", "warn", "hot")
    checks = [check("governor", slow), check("temperature", hot), Check(("cma",), lambda _: FINE)]
    assert Inspection(checks).run(pi.context()) == [slow, hot, FINE]


def test_a_skipped_check_is_not_run_and_is_listed_as_skipped(pi: Machine) -> None:
    def never(_context: CheckContext) -> Finding:
        raise AssertionError

    findings = Inspection([Check(("cma",), never)]).run(pi.context(AX650_PREFLIGHT_SKIP="cma"))
    assert findings == [Finding("cma", "skip", "skipped by AX650_PREFLIGHT_SKIP")]


def test_one_of_several_findings_of_a_check_can_be_skipped(pi: Machine) -> None:
    card, cmm = Finding("card", "ok", "there"), Finding("cmm", "fail", "full")
    checks = [Check(("card", "cmm"), lambda _: [card, cmm])]
    findings = Inspection(checks).run(pi.context(AX650_PREFLIGHT_SKIP="cmm"))
    assert findings == [Finding("cmm", "skip", "skipped by AX650_PREFLIGHT_SKIP"), card]


CAUSES = {
    # what fails: what is reported as failed
    ("pcie", "driver", "device-node", "card"): {"pcie", "driver"},
    ("pcie", "card"): {"pcie"},
    ("driver", "device-node", "card"): {"driver"},
    ("device-node",): {"device-node"},
    ("card",): {"card"},
}


@pytest.mark.parametrize("broken", CAUSES)
def test_a_problem_fails_once_and_its_consequences_name_it(
    pi: Machine, broken: tuple[str, ...]
) -> None:
    found = Inspection([check(name, Finding(name, "fail", "gone", "x")) for name in broken])
    findings = found.run(pi.context())

    assert {finding.name for finding in findings if finding.verdict == "fail"} == CAUSES[broken]
    for finding in findings:
        assert finding.seen.startswith("gone")
        assert (finding.verdict == "skip") == ("; see " in finding.seen)


def test_a_skipped_check_is_no_cause(pi: Machine) -> None:
    dead = Finding("card", "fail", "it does not answer", "reboot")
    checks = [check("pcie", Finding("pcie", "fail", "gone")), check("card", dead)]
    assert dead in Inspection(checks).run(pi.context(AX650_PREFLIGHT_SKIP="pcie"))


def test_a_check_that_hangs_delays_nothing_and_is_not_started_twice(
    pi: Machine, stuck: threading.Event
) -> None:
    begun = []

    def hangs(_context: CheckContext) -> Finding:
        begun.append(1)
        stuck.wait(20)
        return FINE

    inspection = Inspection([Check(("cma",), hangs), check("memory")], timeout=0.02)
    for _ in range(3):
        (finding,) = inspection.run(pi.context())
        assert finding.verdict == "warn"
        assert finding.seen == "this check did not finish within 0.02 s"
        assert "AX650_PREFLIGHT_SKIP=cma" in finding.remedy
    assert len(begun) == 1


def test_a_check_that_crashes_does_not_prevent_a_start(pi: Machine) -> None:
    def crashes(_context: CheckContext) -> Finding:
        raise ZeroDivisionError("oh")

    (finding,) = Inspection([Check(("cma",), crashes)]).run(pi.context())
    assert finding.verdict == "warn"
    assert "ZeroDivisionError" in finding.seen


def test_findings_have_the_names_of_their_checks(pi: Machine) -> None:
    environ = {"AX650_RUNTIME": "vendor", "AX650_MODEL_PATH": "/nowhere"}
    for each in CHECKS:
        for finding in Inspection([each]).run(pi.context_of_files(**environ)):
            assert finding.name in each.names
            assert "crashed" not in finding.seen
            assert bool(finding.remedy) == (finding.verdict in ("warn", "fail"))


def test_the_simulator_needs_its_ports_only() -> None:
    assert [check.names for check in checks_for("mock")] == [("ports",), ("api-keys",)]
    assert checks_for("vendor") == CHECKS
