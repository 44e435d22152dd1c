"""The log of the service: its lines, and what happens on a full disk."""

from __future__ import annotations

import io
import json
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from axproxy.ops.logs import (
    JournalFormatter,
    JsonFormatter,
    LogFile,
    PrintableFormatter,
    RequestFilter,
    configure_logging,
    journal_is_stderr,
)
from axproxy.ops.request_log import RequestRecord, request_context
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

    with request_context(RequestRecord("abc")):
        log.info("inside")
    log.info("outside")

    assert (tmp_path / "log").read_text() == "[abc] inside\noutside\n"


def test_json_lines_have_the_facts_of_a_request_as_fields(log: logging.Logger) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    log.addHandler(handler)

    record = RequestRecord("abc", "POST", "/api/chat", "10.0.0.2", status=200, model="qwen3:4b")
    with request_context(record):
        log.info("%s", "a\nb\x1b", extra={"facts": record.facts()})
    try:
        raise ValueError("of ours")
    except ValueError:
        log.exception("failed")

    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (
        first.items()
        >= {
            "level": "info",
            "message": "a\nb\x1b",
            "request_id": "abc",
            "path": "/api/chat",
            "client": "10.0.0.2",
            "status": 200,
            "model": "qwen3:4b",
        }.items()
    )
    assert "completion_tokens" not in first
    assert "ValueError: of ours" in second["traceback"]


def test_a_long_log_file_is_rotated_and_the_oldest_is_dropped(
    log: logging.Logger, tmp_path: Path
) -> None:
    file = tmp_path / "log"
    log.addHandler(LogFile(str(file), "utf-8", largest=10, kept=2))
    for number in range(4):
        log.warning("line number %d", number)

    left = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert left == {"log": "", "log.1": "line number 3\n", "log.2": "line number 2\n"}


def test_two_processes_that_share_a_log_file_rotate_it_once_each_time(
    tmp_path: Path,
) -> None:
    logs = [logging.Logger("master"), logging.Logger("worker")]
    for log in logs:
        log.addHandler(LogFile(str(tmp_path / "log"), "utf-8", largest=35, kept=50))
    written = [f"line {number:02}" for number in range(40)]
    for number, line in enumerate(written):
        logs[number % 3 == 0].warning(line)
    for log in logs:
        log.handlers[0].close()

    found = [line for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
    assert sorted(found) == written
    assert len(list(tmp_path.iterdir())) == 9  # five lines in each, and the present one


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


COMMANDS = {
    "\x1b[31mred\x1b[0m": r"\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x1b]52;c;cm0gLXJm\x1b\\": r"\x1b]52;c;cm0gLXJm\x1b" + "\\",
    "\x9d8;;http://evil\x9c": r"\x9d8;;http://evil\x9c",
    "\x9b2J\x90q\x85": r"\x9b2J\x90q\x85",
    "a\rb\x08\x7f\0": r"a\rb\x08\x7f\x00",
    "\u202egnp.exe\u2028": r"\u202egnp.exe\u2028",
    "\ud83d": r"\ud83d",
    "Gr\u00fc\u00dfe \U0001f600\ttab": "Gr\u00fc\u00dfe \U0001f600\ttab",
}


@pytest.mark.parametrize("formatter", [PrintableFormatter, JournalFormatter])
@pytest.mark.parametrize("text", COMMANDS, ids=ascii)
def test_no_text_of_a_client_can_command_the_terminal_that_shows_the_log(
    formatter: type[logging.Formatter], text: str
) -> None:
    shown = formatter("%(message)s").format(
        logging.LogRecord("runtime", logging.DEBUG, "", 0, "%s", (text,), None)
    )
    assert shown.removeprefix("<7>") == COMMANDS[text]


def test_a_traceback_cannot_command_the_terminal_either() -> None:
    try:
        raise ValueError("\x1b]0;title\x07")
    except ValueError:
        record = logging.LogRecord("api", logging.ERROR, "", 0, "failed", None, sys.exc_info())
    shown = PrintableFormatter("%(message)s").format(record)

    assert r"ValueError: \x1b]0;title\x07" in shown
    assert "\n" in shown
    assert not {"\x1b", "\x07"} & set(shown)


@pytest.mark.parametrize("to_file", [True, False])
def test_the_log_is_set_up_so_that_no_text_commands_a_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], to_file: bool
) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    file = tmp_path / "log"
    try:
        configure_logging(Settings(log_level="debug", log_file=file if to_file else None))
        logging.getLogger("runtime").debug("%s", "\x9d0;t\x9c\x07")
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:], root.level = before, level
    logged = file.read_text() if to_file else capfd.readouterr().err

    assert r"runtime: \x9d0;t\x9c\x07" in logged


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
