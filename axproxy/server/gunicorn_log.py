"""gunicorn's log lines in the log of the service."""

from __future__ import annotations

from typing import Any

from axproxy.server.gunicorn_adapter import GunicornLogger


class OneLog(GunicornLogger):  # type: ignore[misc] # gunicorn ships no type information
    """Passes gunicorn's lines on to the root logger, which has our format and our destination."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in list(self.error_log.handlers):
            self.error_log.removeHandler(handler)
        self.error_log.propagate = True
