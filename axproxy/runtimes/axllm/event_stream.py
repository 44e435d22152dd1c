"""Reads the program's server-sent events from a socket, without ever blocking for long.

The standard library's client would block until a line is complete; a request must notice meanwhile
that its own client has left.
"""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Mapping
from typing import Any

from axproxy.local_http import BrokenReply, ConnectionFailed, parse_fields, parse_status_line

MAX_HEADER = 65536  # bytes
MAX_EVENT = 1 << 20  # bytes; the program's events have some hundred
MAX_ERROR_BODY = 1 << 20  # bytes
_RECEIVE = 65536  # bytes
DONE = "[DONE]"


class ChunkedDecoder:
    """Decodes a body in chunks as it comes.  `ended` is set by the last, empty chunk."""

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0  # bytes of the chunk that have not come yet
        self._after_chunk = False  # its line end is still to come
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """Return what these bytes add to the body.  Raises `BrokenReply`."""
        self._buffer += data
        body = []
        while self._buffer and not self.ended:
            if self._left:
                piece, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
                self._left -= len(piece)
                self._after_chunk = not self._left
                body.append(piece)
                continue
            line, found, rest = self._buffer.partition(b"\r\n")
            if not found:
                if len(self._buffer) > MAX_HEADER:
                    raise BrokenReply("the reply's chunks are malformed")
                break
            self._buffer = rest
            if self._after_chunk:
                self._after_chunk = False
                if line:
                    raise BrokenReply("the reply's chunks are malformed")
                continue
            self._begin(line)
        return b"".join(body)

    def _begin(self, line: bytes) -> None:
        try:
            self._left = int(line.partition(b";")[0], 16)
        except ValueError as error:
            raise BrokenReply("the reply's chunks are malformed") from error
        if self._left < 0:
            raise BrokenReply("the reply's chunks are malformed")
        self.ended = self._left == 0


class EventStream:
    """The reply to one request, from its header on; for one thread at a time.

    `status` and `headers` are known once the object is made.  Raises `ConnectionFailed` and
    `BrokenReply`, and `TimeoutError` where the header does not come in time.
    """

    def __init__(self, connection: socket.socket, timeout: float) -> None:
        self._socket = connection
        self._socket.settimeout(timeout)
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        header, rest = self._read_header()
        status_line, *lines = header.decode("latin-1").split("\r\n")
        _, self.status = parse_status_line(status_line)
        self.headers: Mapping[str, str] = parse_fields(lines)
        chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        self._decoder = ChunkedDecoder() if chunked else None
        self._text = b""
        self._body(rest)
        self.ended = False  # no more will come

    def error_body(self) -> bytes:
        """Return the whole body of a reply that is no stream; what is missing is left out."""
        length = self.headers.get("content-length", "")
        wanted = min(int(length), MAX_ERROR_BODY) if length.isdecimal() else 0
        try:
            while len(self._text) < wanted and (data := self._socket.recv(_RECEIVE)):
                self._body(data)
        except OSError:
            pass
        return self._text[:wanted]

    def events(self, wait: float) -> list[Any]:
        """Return the events that have come, after at most `wait` seconds; maybe none.

        Each is the JSON of an event, or `DONE`.  `ended` is set once the stream is over.
        """
        events = self._complete_events()
        if events or self.ended:
            return events
        if not self._poll.poll(wait * 1000):
            return []
        try:
            data = self._socket.recv(_RECEIVE)
        except OSError as error:
            raise ConnectionFailed((error.strerror or str(error)).lower()) from error
        if not data:
            self.ended = True
            return []
        self._body(data)
        if len(self._text) > MAX_EVENT:
            raise BrokenReply("the reply has an event that is too long")
        return self._complete_events()

    def close(self) -> None:
        """Close the connection, whatever is still to come."""
        self._socket.close()

    def _read_header(self) -> tuple[bytes, bytes]:
        received = b""
        while b"\r\n\r\n" not in received:
            try:
                data = self._socket.recv(_RECEIVE)
            except TimeoutError:
                raise
            except OSError as error:
                raise ConnectionFailed((error.strerror or str(error)).lower()) from error
            if not data:
                raise ConnectionFailed("connection closed without a reply")
            received += data
            if len(received) > MAX_HEADER:
                raise BrokenReply("the reply's header is too long")
        header, _, rest = received.partition(b"\r\n\r\n")
        return header, rest

    def _body(self, data: bytes) -> None:
        self._text += self._decoder.feed(data) if self._decoder else data

    def _complete_events(self) -> list[Any]:
        *events, self._text = self._text.split(b"\n\n")
        if self._decoder and self._decoder.ended:
            self.ended = True
        return [event for text in events if (event := _event(text)) is not None]


def _event(text: bytes) -> Any:
    """Return the JSON of an event, `DONE`, or `None` for one without data.

    Raises `BrokenReply`.
    """
    lines = [line for line in text.splitlines() if line.startswith(b"data:")]
    if not lines:
        return None
    data = b"\n".join(line.removeprefix(b"data:").strip() for line in lines).decode(
        errors="replace"
    )
    if data == DONE:
        return DONE
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BrokenReply("the reply has an event that is not JSON") from error
