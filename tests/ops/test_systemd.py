"""The notifications that systemd gets, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from axproxy.errors import GaveUp, ProxyError, Starting, Unavailable, Unloaded
from axproxy.ops.systemd import (
    REPORT_INTERVAL,
    TIMEOUT_EXTENSION,
    Notifier,
    SystemdReport,
)
from tests.system.systemd.listener import Listener

LOADING = Starting("the runtime is loading the model (37 %); try again in a moment")
EXTENDED = str(TIMEOUT_EXTENSION * 1_000_000)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    with Listener(tmp_path / "notify", abstract=request.param == "abstract") as listener:
        yield listener


@pytest.fixture
def clock() -> Clock:
    return Clock()


def report(systemd: Listener, clock: Clock, *, watched: bool = True) -> SystemdReport:
    return SystemdReport(Notifier(systemd.address, watched), "qwen3 answers", clock)


def test_a_notification_arrives_on_a_path_and_in_the_abstract_namespace(systemd: Listener) -> None:
    Notifier(systemd.address).send(READY=1, STATUS="loading\n37 %")

    assert systemd.heard() == [{"READY": "1", "STATUS": "loading 37 %"}]


def test_a_status_is_cut_before_systemd_would_drop_it(systemd: Listener) -> None:
    Notifier(systemd.address).send(STATUS="\U0001f5dd" * 5000, READY=1)

    ((status, ready),) = [notice.values() for notice in systemd.heard()]
    assert ready == "1"
    assert 3000 < len(status.encode()) < 4000


def test_without_systemd_nothing_is_sent() -> None:
    environ = {"HOME": "/"}
    notifier = Notifier.taken_from(environ)
    SystemdReport(notifier, "fine").beat(None)

    assert not notifier.listens
    assert environ == {"HOME": "/"}


def test_the_variables_are_removed_from_the_environment(systemd: Listener) -> None:
    environ = {
        "NOTIFY_SOCKET": systemd.address,
        "WATCHDOG_USEC": "120000000",
        "WATCHDOG_PID": "1",
        "HOME": "/",
    }
    notifier = Notifier.taken_from(environ)
    notifier.send(READY=1)

    assert environ == {"HOME": "/"}
    assert notifier.watched
    assert systemd.heard() == [{"READY": "1"}]


def test_a_service_manager_that_has_gone_raises_no_error(tmp_path: Path) -> None:
    Notifier(str(tmp_path / "nobody")).send(READY=1)


def test_a_service_manager_that_does_not_read_does_not_block(tmp_path: Path) -> None:
    with Listener(tmp_path / "notify") as deaf:
        for _ in range(10_000):  # far more than its queue holds
            Notifier(deaf.address).send(WATCHDOG=1)


def test_a_load_is_reported_and_given_time(systemd: Listener, clock: Clock) -> None:
    report(systemd, clock, watched=False).beat(LOADING)

    assert systemd.heard() == [{"STATUS": LOADING.message, "EXTEND_TIMEOUT_USEC": EXTENDED}]


def test_ready_is_sent_once_when_the_model_answers(systemd: Listener, clock: Clock) -> None:
    reports = report(systemd, clock, watched=False)
    reports.beat(LOADING)
    reports.beat(None)
    clock.now += REPORT_INTERVAL
    reports.beat(None)

    assert systemd.heard()[1:] == [
        {"STATUS": "qwen3 answers", "READY": "1"},
        {"STATUS": "qwen3 answers"},
    ]


@pytest.mark.parametrize(
    "problem",
    [
        GaveUp("the runtime is not running; gave up. Fix it, then POST /restart."),
        Unavailable("the runtime cannot start: port 8000 is held by python3 (pid 7); stop it"),
        Unloaded("the model is not on the card yet"),
    ],
    ids=lambda problem: type(problem).__name__,
)
def test_a_problem_that_does_not_pass_is_ready_with_the_reason_as_status(
    systemd: Listener, clock: Clock, problem: ProxyError
) -> None:
    report(systemd, clock, watched=False).beat(problem)

    assert systemd.heard() == [{"STATUS": problem.message, "READY": "1"}]


def test_the_watchdog_is_fed_while_nothing_changes_and_only_if_there_is_one(
    systemd: Listener, clock: Clock
) -> None:
    reports = report(systemd, clock)
    for _ in range(41):  # ten seconds of beats
        reports.beat(None)
        clock.now += 0.25

    assert [notice.get("WATCHDOG") for notice in systemd.heard()] == ["1", "1", "1"]


def test_a_restart_of_the_runtime_is_reported_and_the_service_stays_ready(
    systemd: Listener, clock: Clock
) -> None:
    reports = report(systemd, clock, watched=False)
    reports.beat(None)
    reports.beat(LOADING)

    assert systemd.heard()[1:] == [{"STATUS": LOADING.message}]


def test_a_service_that_stops_during_its_load_never_sends_ready(
    systemd: Listener, clock: Clock
) -> None:
    reports = report(systemd, clock, watched=False)
    reports.beat(LOADING)
    reports.leaving()
    reports.beat(Unavailable("the service is being stopped; try again when it is back"))

    assert systemd.heard()[1:] == [
        {"STOPPING": "1"},
        {"STATUS": "the service is being stopped; try again when it is back"},
    ]
