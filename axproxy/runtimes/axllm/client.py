"""The client of `axllm serve`: its probes, and one streamed run.

Errors of the connection and of the program become ours here and nowhere else.  What the program
answers is observed on its HTTP library, with a stub in place of the model.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from axproxy.errors import (
    PromptTooLong,
    ProxyError,
    RuntimeFault,
    RuntimeGone,
    RuntimeMisbehaved,
    RuntimeStalled,
)
from axproxy.local_http import LocalHTTP, LocalHTTPError, TimedOut, reset_on_close
from axproxy.runtimes.axllm.event_stream import EventStream

PROBE_TIMEOUT = 2.0  # seconds
TOO_LONG = "\u957f\u5ea6\u4e0a\u9650"  # "length limit", in its answer to a prompt that is too long
_AGAIN = "if it happens again, restart the service"


class ProgramBusy(RuntimeMisbehaved):
    """The program still works for another request; it accepts this one later."""


@dataclass(frozen=True)
class ModelInfo:
    """What the program reports of its model; None where its version does not.

    `context` and `prefill_limit` are in tokens.
    """

    name: str
    context: int | None = None
    prefill_limit: int | None = None


class AxllmClient:
    """Calls the program at `url`; for one thread at a time.

    The server has eight threads and keeps one busy for each open connection for five seconds, so no
    connection stays open after a call.  Each ends with a reset: a new process tests before its load
    whether it can bind the port, ends with status 255 if not, and an earlier connection of ours
    would keep the port taken for a minute.  (Its test sets SO_REUSEADDR, but its HTTP library
    listens with SO_REUSEPORT only; ax-llm, `net_utils.cpp` and `httplib.h`.)

    Raises `RuntimeGone` if the program cannot be reached, `RuntimeStalled` if it does not reply
    within `timeout` seconds, and `RuntimeMisbehaved`.
    """

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self._url = url
        self._timeout = timeout
        self._http = LocalHTTP(url, reset=True)

    def answers(self) -> bool:
        """Return whether the program serves; it does not listen before its model is loaded."""
        try:
            return self._http.call("GET", "/health", timeout=PROBE_TIMEOUT).status == 200
        except LocalHTTPError:
            return False
        finally:
            self._http.close()

    def model(self) -> ModelInfo:
        """Return what the program reports of the model that it serves."""
        reply = self._call("GET", "/v1/models")
        entries = reply.get("data")
        entry = entries[0] if isinstance(entries, list) and entries else None
        name = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(name, str):
            raise RuntimeMisbehaved(f"the runtime lists no model; {_AGAIN}")
        return ModelInfo(name, _size(entry, "max_token_len"), _size(entry, "prefill_max_token_num"))

    def chat(self, body: Mapping[str, Any]) -> EventStream:
        """Begin a streamed run; the caller closes the stream.

        Raises `ProgramBusy` and what `error_of` returns.
        """
        stream = self._stream("/v1/chat/completions", body)
        if stream.status == 200:
            return stream
        with contextlib.closing(stream):
            reason = stream.headers.get("exception_what", "")
            raise error_of(stream.status, message_in(stream.error_body()) or reason)

    def embeddings(self, body: Mapping[str, Any], timeout: float) -> Mapping[str, Any]:
        """Return the reply to a request for embeddings; `timeout` is in seconds."""
        return self._call("POST", "/v1/embeddings", body, timeout)

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Mapping[str, Any]:
        try:
            reply = self._http.call(
                method, path, json=body, timeout=self._timeout, read_timeout=timeout
            )
        except LocalHTTPError as error:
            raise self._failure(error) from error
        finally:
            self._http.close()
        if reply.status != 200:
            reason = reply.headers.get("exception_what", "")
            raise error_of(reply.status, message_in(reply.body) or reason)
        return reply.json_object()

    def _stream(self, path: str, body: Mapping[str, Any]) -> EventStream:
        parts = urlsplit(self._url)
        text = json.dumps(body, allow_nan=False).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(text)}\r\n\r\n"
        )
        connection = socket.socket()
        try:
            connection.settimeout(self._timeout)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reset_on_close(connection)
            connection.connect((parts.hostname or "", parts.port or 80))
            connection.sendall(head.encode() + text)
            return EventStream(connection, self._timeout)
        except (OSError, LocalHTTPError) as error:
            connection.close()
            raise self._failure(error) from error
        except BaseException:
            connection.close()
            raise

    def _failure(self, error: Exception) -> RuntimeFault:
        if isinstance(error, TimedOut | TimeoutError):
            return RuntimeStalled(
                f"the runtime on {self._url} does not answer; if that lasts it is restarted"
            )
        return RuntimeGone(
            f"the runtime does not answer on {self._url}; GET /health says what became of it"
        )


def error_of(status: int, message: str) -> ProxyError:
    """Return our error for the program's; `message` may be empty."""
    if status in (429, 503):
        return ProgramBusy("the runtime is busy with another request; try again in a moment")
    if TOO_LONG in message:
        return PromptTooLong(
            "the runtime finds the prompt too long; shorten the conversation or the last message"
        )
    detail = message or "no reason given"
    return RuntimeMisbehaved(
        f"the runtime refused the request with status {status}: {detail}; {_AGAIN}"
    )


def message_in(body: bytes) -> str:
    """Return the message of an error's body; empty where it holds none."""
    try:
        return message_of(json.loads(body))
    except (ValueError, RecursionError):
        return ""


def message_of(reply: Any) -> str:
    """Return the message in `{"error": {"message": …}}`; empty where it holds none."""
    error = reply.get("error") if isinstance(reply, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) else ""


def _size(entry: Mapping[str, Any], key: str) -> int | None:
    value = entry.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 1 else None
