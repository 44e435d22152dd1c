"""What ./run_tests.sh does with tests that failed: a second try for few, and only for some."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FAILS_ONCE = """
import pathlib, pytest
pytestmark = [{marks}]
@pytest.mark.parametrize("number", range({number}))
def test_it(number):
    tried = pathlib.Path(f"tried-{{number}} [a::b]")
    again = tried.exists()
    tried.touch()
    assert again and not {wrong}
"""


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def both_tries(
    folder: Path, *, number: int, marks: str = "", wrong: bool = False, crowd: bool = False
) -> subprocess.CompletedProcess[str]:
    """The second try, after a first run in which every test failed."""
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = integration: x\n")
    test = FAILS_ONCE.format(marks=marks, number=number, wrong=wrong)
    (folder / "test_it.py").write_text(test)
    how = ("-p", "xdist", "--numprocesses", "2") if crowd else ()
    first = run(folder, "pytest", "-p", "tests.support.second_try", *how)
    assert first.returncode == 1, first
    return run(folder, "tests.support.second_try")


INTEGRATION = "pytest.mark.integration"


def test_a_unit_test_that_fails_once_has_no_second_try(tmp_path: Path) -> None:
    second = both_tries(tmp_path, number=1)
    assert second.returncode == 1
    assert second.stdout.startswith("second try: none, because 1 of the failures start no process")


@pytest.mark.parametrize("crowd", [False, True])
def test_an_integration_test_that_fails_once_passes_and_is_counted(
    tmp_path: Path, crowd: bool
) -> None:
    second = both_tries(tmp_path, number=2, marks=INTEGRATION, crowd=crowd)
    assert second.returncode == 0, second.stdout
    assert "second try: 2 passed at the second try" in second.stdout
    assert second.stdout.splitlines()[-2:] == ["test_it.py::test_it[0]", "test_it.py::test_it[1]"]


def test_an_integration_test_that_fails_twice_is_red(tmp_path: Path) -> None:
    assert both_tries(tmp_path, number=1, marks=INTEGRATION, wrong=True).returncode == 1


def test_three_that_need_a_second_try_are_red(tmp_path: Path) -> None:
    second = both_tries(tmp_path, number=3, marks=INTEGRATION)
    assert second.returncode == 1
    assert second.stdout == "second try: none, because 3 tests need it; at most 2 may\n"


def test_without_a_record_of_the_first_run_there_is_no_second_try(tmp_path: Path) -> None:
    assert run(tmp_path, "tests.support.second_try").returncode == 1


def test_a_module_that_does_not_import_is_red(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("1 / 0")
    run(tmp_path, "pytest", "-p", "tests.support.second_try")
    assert run(tmp_path, "tests.support.second_try").returncode == 1


def test_tests_that_start_processes_are_marked(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("integration")


def test_tests_that_start_no_process_are_not_marked(request: pytest.FixtureRequest) -> None:
    pure = [item for item in request.session.items if item.path.name == "test_layers.py"]
    assert not any(item.get_closest_marker("integration") for item in pure)
