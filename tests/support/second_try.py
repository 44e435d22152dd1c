"""Give integration tests that failed in a crowd one more try, alone; count and print them.

A test that starts real processes can fail because the machine is busy.  As a plugin (imported by
tests/conftest.py) this records which tests failed.  As a program (`python -m
tests.support.second_try`, see run_tests.sh) it runs these once more, without other tests beside
them.  The run stays red if a test failed that starts no process, if one fails again, or if more
than `MOST` needed the second try.  pytest-rerunfailures would repeat a test at once, in the same
crowd, and cannot limit how many.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MOST = 2  # tests
MARKER = "integration"
_KEY = "second_try/failed"  # in pytest's cache
_RECORD = Path(".pytest_cache", "v", *_KEY.split("/"))


class FailureRecord:
    """Collects what failed, in the process that sees the reports of all tests."""

    def __init__(self, cache: pytest.Cache) -> None:
        self._cache = cache
        self._failed: dict[str, bool] = {}  # node id: whether it is an integration test
        cache.set(_KEY, None)  # so that no record of an earlier run is used if this one breaks

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed[report.nodeid] = MARKER in report.keywords

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._failed[report.nodeid] = False

    def pytest_sessionfinish(self) -> None:
        self._cache.set(_KEY, self._failed)


def pytest_configure(config: pytest.Config) -> None:
    is_worker = hasattr(config, "workerinput")  # of xdist; its reports reach the main process
    if not is_worker and hasattr(config, "cache"):
        config.pluginmanager.register(FailureRecord(config.cache))


def starts_processes(item: pytest.Item, known: dict[str, bool]) -> bool:
    """Return whether the test's module, or that of a fixture it uses, can start a program.

    `known` keeps the results by module.
    """
    fixtures = getattr(item, "_fixtureinfo").name2fixturedefs  # noqa: B009 - pytest's own, untyped
    modules = {getattr(item, "module").__name__}  # noqa: B009 - only functions have it
    modules |= {each.func.__module__ for many in fixtures.values() for each in many}
    for name in modules - known.keys():
        values = vars(sys.modules[name]).values() if name in sys.modules else ()
        known[name] = not name.startswith(("_pytest", "pytest", "xdist")) and any(
            value is subprocess or getattr(value, "__module__", "") == "tests.support.service"
            for value in values
        )
    return any(known[name] for name in modules)


def main() -> int:
    """Return 0 when everything that failed passes now, and may be tried again at all."""
    record: Any = json.loads(_RECORD.read_text()) if _RECORD.is_file() else None
    if not record:
        print("second try: the first run left no record of what failed", file=sys.stderr)
        return 1
    unit = [test for test, is_integration in record.items() if not is_integration]
    if unit:
        print(f"second try: none, because {len(unit)} of the failures start no process:")
        print(*sorted(unit), sep="\n")
        return 1
    tests = sorted(record)
    if len(tests) > MOST:
        print(f"second try: none, because {len(tests)} tests need it; at most {MOST} may")
        return 1
    print(f"second try: {len(tests)} of at most {MOST}, alone:", *tests, sep="\n", flush=True)
    if subprocess.call([sys.executable, "-m", "pytest", *tests]) != 0:
        return 1
    print(f"second try: {len(tests)} passed at the second try; find out why they failed:")
    print(*tests, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
