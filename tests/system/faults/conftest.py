from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.asking import Asked
from tests.support.service import Service, Start
from tests.support.waiting import eventually

Whole = Callable[[Service, float], float]

# It loads quickly and answers slowly enough to be interrupted in the middle.
MOCK = "--load-seconds 0.1 --tokens-per-second 100 --prefill-tokens-per-second 2000"


@pytest.fixture(scope="session", params=["mock", "mock-axllm"])
def program(request: pytest.FixtureRequest) -> str:
    """Both of the vendor's programs, simulated, for faults that are not in the program itself."""
    name: str = request.param
    return name


@pytest.fixture
def start(start_service: Start) -> Iterator[Start]:
    """Start services that get SIGTERM when the test ends, and are gone with the session."""
    started: list[Service] = []

    def begin(faults: str = "", **how: object) -> Service:
        service = start_service(**{"AX650_MOCK_ARGS": f"{MOCK} {faults}", **how})
        started.append(service)
        return service

    yield begin
    for service in started:
        if service.process.poll() is None:
            service.process.terminate()


@pytest.fixture
def whole_again(request: pytest.FixtureRequest) -> Whole:
    """Wait until a service answers again after a fault at `began`; return the seconds it took.

    FAULT_FIGURES names a file that collects them for docs/reliability.md.
    """

    def wait(service: Service, began: float) -> float:
        eventually(service.ready)
        assert Asked(service, "And now?").answered_whole()
        took = time.monotonic() - began
        if path := os.environ.get("FAULT_FIGURES"):
            with Path(path).open("a") as figures:
                figures.write(f"{request.node.name}: {took:.1f} s\n")
        return took

    return wait
