"""The log of the service: its lines, and what happens on a full disk."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from axproxy.ops.logs import (
    JournalFormatter,
    LogFile,
    RequestFilter,
    configure_logging,
    journal_is_stderr,
)
from axproxy.ops.request_log import request_context
from axproxy.settings import Settings, SettingsError


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


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.CRITICAL, 3), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (10, 7)],
)
def test_every_line_for_the_journal_begins_with_its_priority(level: int, priority: int) -> None:
    record = logging.LogRecord("supervisor", level, "", 0, "first\nsecond", None, None)

    assert JournalFormatter("%(name)s: %(message)s").format(record) == (
        f"<{priority}>supervisor: first\n<{priority}>second"
    )


def test_the_journal_is_known_by_the_stream_that_systemd_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "stderr").open("w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        status = (tmp_path / "stderr").stat()

        assert journal_is_stderr({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        assert not journal_is_stderr({"JOURNAL_STREAM": f"{status.st_dev}:1"})  # inherited
        assert not journal_is_stderr({})


def test_a_log_file_that_the_unit_protects_is_refused_with_the_folder_that_may_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOGS_DIRECTORY", "/var/log/ax650")
    settings = Settings(log_file=Path("/nowhere/log"))

    with pytest.raises(SettingsError, match="under systemd it must be in /var/log/ax650"):
        configure_logging(settings)
