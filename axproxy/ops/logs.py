"""Where the service's own log goes."""

from __future__ import annotations

import contextlib
import logging.config
import sys
from logging.handlers import WatchedFileHandler
from typing import Any

from axproxy.ops.request_log import current_id
from axproxy.settings import Settings, SettingsError


def configure_logging(settings: Settings) -> None:
    """To stderr, where journald adds time and unit, or to a file with the time in it.

    Prompts and answers are logged at debug only.  Raises `SettingsError` when the file cannot be
    written.
    """
    handler: dict[str, Any] = {"class": "logging.StreamHandler"}
    if settings.log_file:
        handler = {"()": LogFile, "filename": str(settings.log_file), "encoding": "utf-8"}
        try:
            settings.log_file.open("a").close()
        except OSError as error:
            raise SettingsError(
                f"AX650_LOG_FILE cannot be written: {settings.log_file}: {error.strerror}; make "
                "its folder, or let this user write there"
            ) from error
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"request": {"()": RequestFilter}},
            "formatters": {
                "line": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(request)s%(message)s"}
            },
            "handlers": {"default": handler | {"formatter": "line", "filters": ["request"]}},
            "root": {"handlers": ["default"], "level": settings.log_level.upper()},
            "loggers": {"urllib3": {"level": "WARNING"}},  # a debug line per poll is no help
        }
    )


class RequestFilter(logging.Filter):
    """Lets everything pass, and says to which request it belongs."""

    def filter(self, record: logging.LogRecord) -> bool:
        request_id = current_id()
        record.request = f"[{request_id}] " if request_id else ""
        return True


class LogFile(WatchedFileHandler):
    """A file that may be rotated, and whose disk may be full: then lines are lost, stderr is told
    once, and the service goes on."""

    def __init__(self, filename: str, encoding: str) -> None:
        super().__init__(filename, encoding=encoding)
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        lost = self._lost
        try:
            # Its base class lets the error out when the file's folder is gone.
            super().emit(record)
        except OSError:
            self.handleError(record)
        if lost and lost == self._lost:
            self._lost = 0
            self._tell(f"can be written again; {lost} lines are missing from it")

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what was written in vain is tried once more
            super().close()

    def handleError(self, record: logging.LogRecord) -> None:
        """Called where the error is being handled."""
        error = sys.exception()
        if not isinstance(error, OSError | ValueError):  # ValueError: closed by a failed reopening
            super().handleError(record)
            return
        if not self._lost:
            self._tell(
                f"cannot be written ({getattr(error, 'strerror', None) or error}); "
                "make room on its disk, until then lines are lost"
            )
        self._lost += 1

    def _tell(self, what: str) -> None:
        print(f"backend: the log file {self.baseFilename} {what}", file=sys.stderr, flush=True)
