"""The whole service as systemd starts it: a real gunicorn, a real socket, the simulator."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from axproxy.settings import Settings
from runtime_supervisor import RuntimeSupervisor
from tests.process.test_supervisor import spec
from tests.support.ports import own_port
from tests.support.service import Service, Start
from tests.support.waiting import eventually
from tests.system.systemd.listener import Listener


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Listener]:
    with Listener(tmp_path / "notify") as listener:
        yield listener


def environ(systemd: Listener) -> dict[str, str]:
    return {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "120000000"}


def started(start_service: Start, systemd: Listener, load_seconds: int) -> Service:
    mock = f"--load-seconds {load_seconds}"
    return start_service(wait=False, AX650_MOCK_ARGS=mock, **environ(systemd))


@pytest.mark.integration
def test_systemd_gets_the_percentage_and_then_ready_when_the_model_answers(
    start_service: Start, systemd: Listener
) -> None:
    service = started(start_service, systemd, 3)
    heard: list[dict[str, str]] = []

    def ready() -> bool:
        heard.extend(systemd.heard())
        return any("READY" in notice for notice in heard)

    eventually(ready)
    assert service.get("/ready").status_code == 200

    first = next(at for at, notice in enumerate(heard) if "READY" in notice)
    loading, serving = heard[:first], heard[first]
    assert serving["STATUS"] == "a SIMULATOR answers, no card is configured"
    percentages = {notice["STATUS"] for notice in loading if " %)" in notice["STATUS"]}
    assert len(percentages) > 2
    assert all("EXTEND_TIMEOUT_USEC" in notice for notice in loading)
    assert all(notice["WATCHDOG"] == "1" for notice in heard)
    for pid in service.pids():  # the children cannot report in the service's name
        inherited = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"PATH=" in inherited
        assert b"NOTIFY_SOCKET" not in inherited
        assert b"WATCHDOG" not in inherited
    service.stop()


@pytest.mark.integration
def test_a_stop_during_the_load_is_reported_and_ready_never_is(
    start_service: Start, systemd: Listener
) -> None:
    service = started(start_service, systemd, 120)
    eventually(service.listening)
    assert service.stop() == 0

    heard = systemd.heard()
    assert {"STOPPING": "1"} in heard
    assert not [notice for notice in heard if "READY" in notice]


def test_a_supervisor_that_hangs_stops_feeding_the_watchdog() -> None:
    free, hangs, goes_on = threading.Event(), threading.Event(), threading.Event()
    free.set()

    def blocked_by() -> None:
        if not free.is_set():
            hangs.set()
            goes_on.wait(120)

    tokenizer = spec("tokenizer")
    runtime = replace(spec("runtime"), blocked_by=blocked_by)
    beats: list[object] = []
    settings = Settings.from_env({"AX650_RUNTIME_PORT": str(own_port())})
    supervisor = RuntimeSupervisor(settings, (tokenizer, runtime))
    supervisor.start(beats.append)
    try:
        supervisor.wait_ready(lambda: False)
        eventually(lambda: beats and beats[-1] is None)
        free.clear()
        os.kill(supervisor.pid() or 0, 9)
        assert hangs.wait(60)
        so_far = len(beats)
        assert not threading.Event().wait(0.6)  # more than two ticks
        assert len(beats) == so_far
        free.set()
        goes_on.set()
        eventually(lambda: len(beats) > so_far and beats[-1] is None)
    finally:
        goes_on.set()
        supervisor.stop()


def test_a_supervisor_whose_every_round_fails_stops_feeding_the_watchdog() -> None:
    def blocked_by() -> None:
        raise RuntimeError("a mistake of ours")

    tokenizer = replace(spec("tokenizer"), blocked_by=blocked_by)
    beats: list[object] = []
    settings = Settings.from_env({"AX650_RUNTIME_PORT": str(own_port())})
    supervisor = RuntimeSupervisor(settings, (tokenizer, spec("runtime")))
    supervisor.start(beats.append)
    try:
        threading.Event().wait(0.3)
        assert beats == []
    finally:
        supervisor.stop()
