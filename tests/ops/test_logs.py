"""The log of the service: its lines, and what happens on a full disk."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from axproxy.ops.logs import LogFile, RequestFilter
from axproxy.ops.request_log import request_context


@pytest.fixture(name="log")
def logger() -> Iterator[logging.Logger]:
    log = logging.Logger("test")
    yield log
    for handler in [*log.handlers]:
        log.removeHandler(handler)
        handler.close()


def test_a_line_has_the_id_of_its_request(log: logging.Logger, tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "log"), "utf-8")
    file.addFilter(RequestFilter())
    file.setFormatter(logging.Formatter("%(request)s%(message)s"))
    log.addHandler(file)

    with request_context("abc"):
        log.info("inside")
    log.info("outside")

    assert (tmp_path / "log").read_text() == "[abc] inside\noutside\n"


def test_a_full_disk_is_reported_once_and_nothing_else_happens(
    log: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    log.addHandler(LogFile("/dev/full", "utf-8"))

    for _ in range(5):
        log.warning("something")

    assert capfd.readouterr().err == (
        "backend: the log file /dev/full cannot be written (No space left on device); "
        "make room on its disk, until then lines are lost\n"
    )


def test_a_log_whose_folder_was_removed_goes_on_when_it_is_back(
    log: logging.Logger, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log.addHandler(LogFile(str(folder / "log"), "utf-8"))
    log.warning("first")

    shutil.rmtree(folder)
    log.warning("lost")
    log.warning("lost, too")
    printed = capfd.readouterr().err
    folder.mkdir()
    log.warning("found")

    assert printed.count("\n") == 1
    assert "cannot be written (No such file or directory)" in printed
    assert (folder / "log").read_text() == "found\n"
    assert "can be written again; 2 lines are missing from it" in capfd.readouterr().err


def test_a_faulty_line_is_still_reported(
    log: logging.Logger, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log.addHandler(LogFile(str(tmp_path / "log"), "utf-8"))
    log.warning("%d", "no number")
    assert "TypeError" in capfd.readouterr().err
