"""What all tests share: signals, hypothesis, the integration marker, and services to start."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

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

# Models that the user of this machine has pulled are none of the tests' business, and the tests'
# are none of the user's.
_DATA = tempfile.TemporaryDirectory(prefix="ax650-tests-")
os.environ["XDG_DATA_HOME"] = _DATA.name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that starts real processes, so that only these may have a second try."""
    known: dict[str, bool] = {}
    slow: list[pytest.Item] = []
    quick: list[pytest.Item] = []
    for item in items:
        if item.path.is_relative_to(SYSTEM) or starts_processes(item, known):
            item.add_marker("integration")
        if repeats_itself(item):
            item.add_marker("no_cover")
        is_slow = item.path.is_relative_to(SYSTEM) or item.path.parent.name == "benchmarks"
        (slow if is_slow else quick).append(item)
    items[:] = dealt(slow, quick, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def repeats_itself(item: pytest.Item) -> bool:
    """Return whether the test runs the same code again and again, as hypothesis does.

    Coverage learns nothing from that, and makes it take twice as long.
    """
    by_hypothesis = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
    return by_hypothesis or "growth" in item.path.name or "in_time_that_grows" in item.name


def dealt(slow: list[pytest.Item], quick: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """Return all tests, with some of the slow ones first in the share of each worker.

    The workers begin with equal shares of the list, and at the end take tests from each other: then
    only quick ones should be left.  The tests of a module stay together.
    """
    shares: list[list[pytest.Item]] = [[] for _ in range(workers)]
    modules = [list(tests) for _, tests in groupby(slow, key=lambda item: item.path)]
    for tests in sorted(modules, key=len, reverse=True):
        min(shares, key=len).extend(tests)
    size = -(-(len(slow) + len(quick)) // workers)
    rest = iter(quick)
    for share in shares:
        share.extend(islice(rest, max(size - len(share), 0)))
    return [*chain.from_iterable(shares), *rest]


@pytest.fixture(scope="session")
def start_shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
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


@pytest.fixture
def start_service(start_shared_service: Start) -> Iterator[Start]:
    """Return a function that starts services; each begins to stop when its test has ended.

    Even idle services probe their programs, and with a hundred of them that takes a whole core.
    """
    started: list[Service] = []

    def start(*, wait: bool = True, **how: Any) -> Service:
        service = start_shared_service(wait=False, **how)
        started.append(service)
        if wait:
            eventually(service.ready)
        return service

    yield start
    for service in started:
        service.begin_to_stop()


@pytest.fixture(scope="session")
def shared(start_shared_service: Start) -> Service:
    """One service for all tests that do not change it."""
    return start_shared_service()
