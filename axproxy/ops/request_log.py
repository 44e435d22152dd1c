"""Gives each request an id, in its response and its log lines, and logs one line at its end."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

HEADER = "X-Request-Id"

_VALID_ID = re.compile(r"[\w.:/+=@-]{1,100}", re.ASCII)
_LONGEST_PATH = 100  # characters
_WATCHED = frozenset({"/", "/health", "/ready", "/metrics"})  # polled by watchdogs
_current: ContextVar[str] = ContextVar("request_id", default="")


def current_id() -> str:
    """Return the id of the request that this thread works for; empty if there is none."""
    return _current.get()


def id_for(sent: str) -> str:
    """Return the client's own id if it is safe to log, or a new one."""
    return sent if _VALID_ID.fullmatch(sent) else secrets.token_hex(8)


@contextmanager
def request_context(request_id: str) -> Iterator[None]:
    """Mark every log line of this thread with the request, inside a `with` block."""
    token = _current.set(request_id)
    try:
        yield
    finally:
        _current.reset(token)


def log_request(method: str, path: str, status: int, seconds: float, size: int) -> None:
    """Log the line of one request, without its query, headers and body."""
    shown = quote(path[:_LONGEST_PATH], safe="/:@+~,;=!$&'()*")  # so no line ends and no colours
    level = logging.DEBUG if path in _WATCHED and status < 400 else logging.INFO
    what = (method or "?", shown or "?", status, seconds * 1000, size)
    log.log(level, "%s %s %d %.0f ms %d bytes", *what)


class RequestLog:
    """Wraps the WSGI application `app`."""

    def __init__(self, app: WSGIApplication, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = _Body(environ, self._clock)

        def start(status: str, headers: list[tuple[str, str]], *args: Any) -> Any:
            body.status = int(status[:3])
            return start_response(status, [*headers, (HEADER, body.id)], *args)

        with request_context(body.id):
            body.parts = self._app(environ, start)
        return body


class _Body:
    """The parts of the response, each made in the context of its request."""

    def __init__(self, environ: WSGIEnvironment, clock: Callable[[], float]) -> None:
        self.id = id_for(environ.get("HTTP_X_REQUEST_ID", ""))
        self.status = 0
        self.parts: Iterable[bytes] = ()
        self._iterator: Iterator[bytes] | None = None
        self._method = environ["REQUEST_METHOD"]
        self._path = environ.get("PATH_INFO", "")
        self._clock = clock
        self._began = clock()
        self._size = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with request_context(self.id):
            if self._iterator is None:
                self._iterator = iter(self.parts)
            part = next(self._iterator)
        self._size += len(part)
        return part

    def close(self) -> None:
        with request_context(self.id):
            try:
                if close := getattr(self.parts, "close", None):
                    close()
            finally:
                seconds = self._clock() - self._began
                log_request(self._method, self._path, self.status, seconds, self._size)
