"""Gives each request an id, in its response and its log lines, and logs one line at its end."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from axproxy.messages import Event, Finished, Text
from axproxy.printable import printable

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

HEADER = "X-Request-Id"
CLIENT_LEFT = "the client left"  # the reason of an answer that was not read to its end

_VALID_ID = re.compile(r"[\w.:/+=@-]{1,100}", re.ASCII)
_LONGEST_PATH = 100  # characters
_LONGEST_REASON = 160  # characters
_WATCHED = frozenset({"/", "/health", "/ready", "/metrics"})  # polled by watchdogs


@dataclass
class RequestRecord:
    """What is known of one request; the thread that works for it fills this in.

    Times are in seconds: `queue_wait` in the queue and for the model, `first_text` from the
    request to its first text.  `reason` is why the answer ended, or the message of an error.  No
    prompt and no answer is ever here.
    """

    id: str = ""
    method: str = ""
    path: str = ""
    client: str = ""  # its address
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    status: int = 0
    size: int = 0  # bytes of the response's body
    seconds: float = 0.0
    model: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    queue_wait: float | None = None
    first_text: float | None = None
    eval_seconds: float | None = None  # from the first token to the last
    reason: str = ""

    def __post_init__(self) -> None:
        self._began = self.clock()

    def saw(self, event: Event) -> None:
        """Note an event of the answer, as it is sent."""
        if isinstance(event, Finished):
            usage = event.usage
            self.prompt_tokens, self.completion_tokens = (
                usage.prompt_tokens,
                usage.completion_tokens,
            )
            self.queue_wait, self.eval_seconds = usage.load, usage.eval
            self.reason = event.reason
        elif self.first_text is None and event != Text(""):  # which is a sign of life
            self.first_text = self.clock() - self._began

    def end(self) -> None:
        self.seconds = self.clock() - self._began

    def facts(self) -> dict[str, Any]:
        """Return what is known, by the names that a program reads in the JSON log."""
        shown = quote(self.path[:_LONGEST_PATH], safe="/:@+~,;=!$&'()*")  # no line end, no colour
        known = {
            "method": self.method or "?",
            "path": shown or "?",
            "status": self.status,
            "seconds": round(self.seconds, 4),
            "bytes": self.size,
            "client": self.client,
            "model": self.model,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "queue_seconds": self.queue_wait and round(self.queue_wait, 4),
            "first_text_seconds": self.first_text and round(self.first_text, 4),
            "reason": printable(self.reason)[:_LONGEST_REASON],
        }
        return {name: value for name, value in known.items() if value not in (None, "")}

    def line(self) -> str:
        """Return the line of the text log."""
        facts = self.facts()
        parts = [
            f"{facts['method']} {facts['path']} {self.status} {self.seconds * 1000:.0f} ms "
            f"{self.size} bytes"
        ]
        parts += [f"{name}={facts[name]}" for name in ("client", "model") if name in facts]
        if self.completion_tokens is not None:
            parts.append(f"tokens={self.prompt_tokens}+{self.completion_tokens}")
        if self.queue_wait is not None:
            parts.append(f"queue={self.queue_wait:.2f}s")
        if self.first_text is not None:
            parts.append(f"first={self.first_text:.2f}s")
        if reason := facts.get("reason"):
            parts.append(f'reason="{reason}"' if " " in reason else f"reason={reason}")
        return " ".join(parts)


_current: ContextVar[RequestRecord | None] = ContextVar("request", default=None)


def current_record() -> RequestRecord:
    """Return the record of the request that this thread works for.

    Outside of a request it is one that is thrown away.
    """
    return _current.get() or RequestRecord()


def current_id() -> str:
    """Return the id of the request that this thread works for; empty if there is none."""
    record = _current.get()
    return record.id if record else ""


def id_for(sent: str) -> str:
    """Return the client's own id if it is safe to log, or a new one."""
    return sent if _VALID_ID.fullmatch(sent) else secrets.token_hex(8)


@contextmanager
def request_context(record: RequestRecord) -> Iterator[None]:
    """Mark every log line of this thread with the request, inside a `with` block."""
    token = _current.set(record)
    try:
        yield
    finally:
        _current.reset(token)


def log_request(record: RequestRecord) -> None:
    """Log the line of one request, without its query, headers and body."""
    watched = record.path in _WATCHED and record.status < 400
    level = logging.DEBUG if watched else logging.INFO
    if log.isEnabledFor(level):
        log.log(level, "%s", record.line(), extra={"facts": record.facts()})


class RequestLog:
    """Wraps the WSGI application `app`; `observe` gets each record at its end."""

    def __init__(
        self,
        app: WSGIApplication,
        clock: Callable[[], float] = time.monotonic,
        observe: Callable[[RequestRecord], None] = lambda _record: None,
    ) -> None:
        self._app = app
        self._clock = clock
        self._observe = observe

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        record = RequestRecord(
            id_for(environ.get("HTTP_X_REQUEST_ID", "")),
            environ["REQUEST_METHOD"],
            environ.get("PATH_INFO", ""),
            environ.get("REMOTE_ADDR", ""),
            self._clock,
        )
        body = _Body(record, self._observe)

        def start(status: str, headers: list[tuple[str, str]], *args: Any) -> Any:
            record.status = int(status[:3])
            return start_response(status, [*headers, (HEADER, record.id)], *args)

        with request_context(record):
            body.parts = self._app(environ, start)
        return body


class _Body:
    """The parts of the response, each made in the context of its request."""

    def __init__(self, record: RequestRecord, observe: Callable[[RequestRecord], None]) -> None:
        self.parts: Iterable[bytes] = ()
        self._record = record
        self._observe = observe
        self._iterator: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with request_context(self._record):
            if self._iterator is None:
                self._iterator = iter(self.parts)
            part = next(self._iterator)
        self._record.size += len(part)
        return part

    def close(self) -> None:
        with request_context(self._record):
            try:
                if close := getattr(self.parts, "close", None):
                    close()
            finally:
                self._record.end()
                log_request(self._record)
                self._observe(self._record)
