"""Where the service's own log goes."""

from __future__ import annotations

import logging.config
from typing import Any

from axproxy.settings import Settings, SettingsError


def configure_logging(settings: Settings) -> None:
    """To stderr, where journald adds time and unit, or to a file with the time in it.

    Prompts and answers are logged at debug only.  Raises `SettingsError` when the file cannot be
    written.
    """
    handler: dict[str, Any] = {"class": "logging.StreamHandler", "formatter": "line"}
    if settings.log_file:
        handler = {
            "class": "logging.handlers.WatchedFileHandler",
            "filename": str(settings.log_file),
            "encoding": "utf-8",
            "formatter": "line",
        }
        try:
            settings.log_file.open("a").close()
        except OSError as error:
            raise SettingsError(f"AX650_LOG_FILE cannot be written: {error}") from error
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"}},
            "handlers": {"default": handler},
            "root": {"handlers": ["default"], "level": settings.log_level.upper()},
            "loggers": {"urllib3": {"level": "WARNING"}},  # a debug line per poll is no help
        }
    )
