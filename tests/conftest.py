"""What all tests share: signals, hypothesis, the integration marker, and services to start."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.second_try import (
    pytest_configure,  # noqa: F401 - a hook
    starts_processes,
)
from tests.support.service import Service, Start
from tests.support.waiting import eventually

# A shell script's background jobs ignore these signals, and so would the programs that the tests
# start and then end by a signal.
for _number, _usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)

# By default hypothesis fails an example that takes 0.2 s, or some seconds to generate; on a busy
# machine any example can.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
# `pytest --hypothesis-profile=hostile` tries forty times as many examples as usual.
settings.register_profile("hostile", max_examples=4000, deadline=20_000)


SYSTEM = Path(__file__).parent / "system"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that starts real processes, so that only these may have a second try."""
    known: dict[str, bool] = {}
    for item in items:
        if item.path.is_relative_to(SYSTEM) or starts_processes(item, known):
            item.add_marker("integration")


@pytest.fixture(scope="session")
def start_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Return a function that starts services; each ends with the session at the latest."""
    started: list[Service] = []

    def start(
        *,
        wait: bool = True,
        command: list[str] | None = None,
        folder: Path | None = None,
        **environ: str,
    ) -> Service:
        log = tmp_path_factory.mktemp("service") / "log"
        service = Service(environ, log, command, folder)
        started.append(service)
        if wait:
            eventually(service.ready)
        return service

    yield start
    with ThreadPoolExecutor(8) as pool:  # one by one they would take minutes
        list(pool.map(Service.stop, started))


@pytest.fixture(scope="session")
def shared(start_service: Start) -> Service:
    """One service for all tests that do not change it."""
    return start_service()
