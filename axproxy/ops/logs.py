"""Sets up the log of the service."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging.config
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from typing import Any

from axproxy.ops.request_log import current_id
from axproxy.printable import printable
from axproxy.settings import Settings, SettingsError

_LINE = "%(asctime)s %(levelname)-7s %(name)s: %(request)s%(message)s"
_MIB = 1024 * 1024  # bytes
_JOURNAL_LINE = "%(name)s: %(request)s%(message)s"  # the journal adds the time and the priority
# Priorities of syslog(3), by the lowest level that has them.
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))


def configure_logging(settings: Settings) -> None:
    """Log to stderr, which may be the journal, or to the file of AX650_LOG_FILE.

    Prompts and answers are logged at debug only.  Raises `SettingsError` when the file cannot be
    written.
    """
    handler: dict[str, Any] = {"class": "logging.StreamHandler"}
    formatter: dict[str, Any] = {"()": PrintableFormatter, "fmt": _LINE}
    if settings.log_file:
        handler = {
            "()": LogFile,
            "filename": str(settings.log_file),
            "encoding": "utf-8",
            "largest": settings.log_file_mb * _MIB,
            "kept": settings.log_files,
        }
        try:
            settings.log_file.open("a").close()
        except OSError as error:
            raise SettingsError(
                f"AX650_LOG_FILE cannot be written: {settings.log_file}: {error.strerror}; "
                f"{_where_to_log(os.environ)}"
            ) from error
    elif journal_is_stderr(os.environ):
        formatter = {"()": JournalFormatter, "fmt": _JOURNAL_LINE}
    if settings.log_format == "json":
        formatter = {"()": JsonFormatter}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"request": {"()": RequestFilter}},
            "formatters": {"line": formatter},
            "handlers": {"default": handler | {"formatter": "line", "filters": ["request"]}},
            "root": {"handlers": ["default"], "level": settings.log_level.upper()},
            "loggers": {"urllib3": {"level": "WARNING"}},  # one debug line per poll hides the rest
        }
    )


def journal_is_stderr(environ: Mapping[str, str]) -> bool:
    """Return whether stderr goes to the journal of systemd, as its JOURNAL_STREAM tells."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def print_error(program: str, what: object) -> None:
    """Print a sentence to stderr before there is a log; the journal shows it as an error."""
    priority = "<3>" if journal_is_stderr(os.environ) else ""
    print(f"{priority}{program}: {printable(str(what))}", file=sys.stderr, flush=True)


def _where_to_log(environ: Mapping[str, str]) -> str:
    if folder := environ.get("LOGS_DIRECTORY"):  # of the unit, which protects everything else
        return f"under systemd it must be in {folder}"
    return "make its folder, or let this user write there"


class PrintableFormatter(logging.Formatter):
    """Escapes control characters, which in a prompt could command the terminal that shows the log.

    It covers messages, their arguments and tracebacks, of every logger.
    """

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class JournalFormatter(PrintableFormatter):
    """Begins each line with its priority, as sd-daemon(3) describes it."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        lines = super().format(record).splitlines() or [""]
        return "\n".join(f"<{priority}>{line}" for line in lines)


class JsonFormatter(logging.Formatter):
    """Writes each record as one JSON object; the line of a request has its facts as fields."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC)
        entry: dict[str, Any] = {
            "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := current_id():
            entry["request_id"] = request_id
        entry |= getattr(record, "facts", {})
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)  # escapes what is not ASCII, so control characters as well


class RequestFilter(logging.Filter):
    """Adds the id of the request to each record; drops nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        request_id = current_id()
        record.request = f"[{request_id}] " if request_id else ""
        return True


class LogFile(WatchedFileHandler):
    """A log file that is rotated, by itself or by another program, and whose disk may be full.

    Beyond `largest` bytes (0: never) the file becomes `NAME.1`, that one `NAME.2`, and so on;
    `kept` of them stay.  gunicorn's master and its worker write to the same file.

    On a full disk lines are lost, stderr gets one message, and the service goes on.
    """

    def __init__(self, filename: str, encoding: str, largest: int = 0, kept: int = 0) -> None:
        super().__init__(filename, encoding=encoding)
        self._largest = largest
        self._kept = kept
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        lost = self._lost
        try:
            # The base class raises when the file's folder is gone.
            super().emit(record)
            self._rotate()
        except OSError:
            self.handleError(record)
        if lost and lost == self._lost:
            self._lost = 0
            self._report(f"can be written again; {lost} lines are missing from it")

    def _rotate(self) -> None:
        """Rotate a file that is too long, unless the other process has done so just now."""
        stream = self.stream
        if not self._largest or not stream or os.fstat(stream.fileno()).st_size <= self._largest:
            return
        fcntl.flock(stream, fcntl.LOCK_EX)  # closing the file frees it
        try:
            is_ours = os.path.samestat(os.stat(self.baseFilename), os.fstat(stream.fileno()))
        except FileNotFoundError:
            is_ours = False
        if not is_ours:
            self.reopenIfNeeded()
            return
        for number in range(self._kept - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{self.baseFilename}.{number}", f"{self.baseFilename}.{number + 1}")
        if self._kept:
            os.replace(self.baseFilename, f"{self.baseFilename}.1")
        else:
            os.unlink(self.baseFilename)
        self.reopenIfNeeded()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # it flushes, and the disk may still be full
            super().close()

    def handleError(self, record: logging.LogRecord) -> None:
        """Count a lost line; called in the `except` block of the error."""
        error = sys.exception()
        if not isinstance(error, OSError | ValueError):  # ValueError: closed by a failed reopening
            super().handleError(record)
            return
        if not self._lost:
            self._report(
                f"cannot be written ({getattr(error, 'strerror', None) or error}); "
                "make room on its disk, until then lines are lost"
            )
        self._lost += 1

    def _report(self, what: str) -> None:
        print(f"backend: the log file {self.baseFilename} {what}", file=sys.stderr, flush=True)
