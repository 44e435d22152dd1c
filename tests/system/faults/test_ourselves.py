"""Faults of the service itself: killed, stopped, its clock changed."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
import requests

from axproxy.engine.engine import SerialEngine
from axproxy.messages import ChatRequest, Finished, Message
from axproxy.settings import Settings
from backend import create_engine
from tests.support.asking import PREFACE, Asked
from tests.support.ports import own_port
from tests.support.service import Service, Start
from tests.support.waiting import eventually
from tests.system.faults.conftest import MOCK, Whole

pytestmark = pytest.mark.integration

LONG = "all of this again " * 40


def worker_of(service: Service) -> int:
    (worker,) = psutil.Process(service.process.pid).children()
    return worker.pid


def test_a_killed_worker_cuts_its_streams_and_the_next_worker_takes_over(
    start: Start, program: str, whole_again: Whole
) -> None:
    service = start(AX650_RUNTIME=program)
    before = {process.pid for process in service.family()}
    asked = Asked(service, LONG)
    eventually(lambda: asked.text)
    os.kill(worker_of(service), signal.SIGKILL)
    began = time.monotonic()

    assert asked.ended().cut
    assert not asked.complete
    assert (PREFACE + LONG).startswith(asked.text)
    eventually(lambda: not any(map(psutil.pid_exists, before)))  # no orphans
    whole_again(service, began)
    assert before.isdisjoint(process.pid for process in service.family())


def test_a_killed_master_ends_every_process_and_the_next_start_succeeds(
    start_service: Start, program: str, whole_again: Whole
) -> None:
    service = start_service(AX650_RUNTIME=program)
    family = service.family()
    assert len(family) >= 2
    asked = Asked(service, LONG)
    eventually(lambda: asked.text)
    service.process.kill()
    service.process.wait()
    began = time.monotonic()

    _gone, alive = psutil.wait_procs(family, timeout=120)
    assert not alive
    asked.ended()
    assert asked.complete != (asked.cut or bool(asked.error))  # it may have finished in time
    ports = {
        "AX650_PORT": str(service.port),
        "AX650_RUNTIME_PORT": str(service.runtime_port),
        "AX650_TOKENIZER_PORT": str(service.tokenizer_port),
    }
    second = start_service(wait=False, AX650_RUNTIME=program, **ports)
    second.port, second.base = service.port, service.base
    whole_again(second, began)
    second.stop()


def test_a_killed_master_is_not_kept_by_a_client_that_goes_on_asking(
    start_service: Start,
) -> None:
    service = start_service()
    family = service.family()
    client = requests.Session()
    client.trust_env = False
    service.process.kill()
    service.process.wait()

    def gone() -> bool:  # Prometheus asks like this, and its connection is kept alive
        with contextlib.suppress(requests.RequestException):
            client.get(f"{service.base}/health", timeout=5)
        return not any(process.is_running() for process in family)

    eventually(gone)


WITHOUT_MEANING = ["SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGUSR2", "SIGHUP", "SIGWINCH"]


def test_no_other_signal_than_an_order_to_stop_ends_the_service(start: Start) -> None:
    service = start(NOTIFY_SOCKET="/run/systemd/notify")
    before = [process.pid for process in service.family()]
    for pid in (service.process.pid, worker_of(service)):
        for name in WITHOUT_MEANING:
            os.kill(pid, getattr(signal, name))
    os.kill(service.process.pid, signal.SIGCHLD)  # handled after all of them

    assert Asked(service, "Are you there?").answered_whole()
    assert [process.pid for process in service.family()] == before
    assert service.process.poll() is None


def test_on_sigterm_the_running_answer_is_finished_and_the_others_are_refused(
    start: Start, program: str
) -> None:
    service = start(AX650_RUNTIME=program)
    asked = Asked(service, "Say this again. " * 60)
    eventually(lambda: asked.text)
    queued = [Asked(service, f"I am number {number}.") for number in range(2)]
    eventually(lambda: service.health()["queue"]["waiting"] == 2)
    family = service.family()
    service.process.send_signal(signal.SIGTERM)

    assert asked.answered_whole()
    for other in queued:
        assert other.ended().status == 503
        assert other.retry_after
        assert "being stopped" in str(other.error)
    assert service.process.wait(120) == 0
    assert not any(process.is_running() for process in family)


def test_on_sigterm_an_answer_that_takes_too_long_ends_with_an_error(
    start: Start, program: str
) -> None:
    service = start("--tokens-per-second 5", AX650_RUNTIME=program)
    asked = Asked(service, "Why is the sky blue?" * 5)
    eventually(lambda: asked.text)
    service.process.send_signal(signal.SIGTERM)

    assert "being stopped" in str(asked.ended().error)
    assert not asked.complete
    assert service.process.wait(120) == 0


def pids_of(engine: SerialEngine) -> tuple[int | None, int | None]:
    runtime = engine.health().runtime
    assert runtime.tokenizer
    return runtime.tokenizer.pid, runtime.runtime.pid


def test_a_clock_that_jumps_by_days_stops_no_answer_and_restarts_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = Settings.from_env(
        {
            "AX650_RUNTIME_PORT": str(own_port()),
            "AX650_TOKENIZER_PORT": str(own_port()),
            "AX650_MOCK_ARGS": MOCK,
            "AX650_KEEP_ALIVE": "1h",
            "AX650_LOG_FILE": str(tmp_path / "log"),
        }
    )
    days = itertools.cycle((0, 400, -400, 86_400, -1))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + next(days) * 86_400)
    engine, models = create_engine(settings)
    engine.start()
    try:
        eventually(lambda: engine.not_ready() is None)
        pids = pids_of(engine)
        for _ in range(3):
            request = ChatRequest((Message("user", "What day is it?"),))
            *texts, finished = engine.answer(models.default(), request, lambda: False)
            assert "What day is it?" in "".join(event.text for event in texts)
            assert isinstance(finished, Finished)
            assert 0 <= finished.usage.total < 60
            assert engine.loaded()
        assert pids_of(engine) == pids
        assert engine.health().runtime.runtime.restarts == 0
    finally:
        engine.stop()
