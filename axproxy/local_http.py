"""HTTP calls to the two programs beside this one, over loopback.

Some fifty calls a second are made while an answer is generated.  Compared with `requests`, a call
takes a quarter of the processor time on an open connection, and under two fifths on a new one,
where the kernel's part is large.
"""

from __future__ import annotations

import contextlib
import io
import json as json_text
import re
import select
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlencode, urlsplit

MAX_LINE = 65536  # bytes, of a header line
MAX_HEADER_LINES = 100
MAX_BODY = 64 << 20  # bytes
READ_SIZE = 65536  # bytes of a body at a time: a false Content-Length must not reserve memory

_STATUS = re.compile("[1-9][0-9][0-9]")


class LocalHTTPError(Exception):
    """There is no complete reply; the text says why, in a few words."""


class ConnectionFailed(LocalHTTPError):
    """The connection was refused or reset, or it was closed before a reply began."""


class TimedOut(LocalHTTPError):
    """The server did not accept the connection, or did not send a whole reply, in time."""


class BrokenReply(LocalHTTPError):
    """The reply is not HTTP, or its body is not complete."""


class EndlessReply(TimedOut, BrokenReply):
    """A reply has begun, and did not end in time or at any length that one could have."""


@dataclass(frozen=True, slots=True)
class LocalReply:
    """A complete reply.  The names in `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Parse the body; bytes that are not UTF-8 become U+FFFD.  Raises `ValueError`."""
        try:
            return json_text.loads(self.body.decode("utf-8", "replace"))
        except RecursionError as error:
            raise ValueError("nested too deeply") from error

    def json_object(self) -> dict[str, Any]:
        """Return the object in the body; empty where it holds none."""
        try:
            body = self.json()
        except ValueError:
            return {}
        return body if isinstance(body, dict) else {}


class LocalHTTP:
    """Calls the server at `url` over one connection; for one thread at a time.

    The connection stays open unless one side sends `Connection: close`.  There are no proxies (one
    in the environment must not catch these calls), no cookies and no redirects.  With `reset`
    every connection ends with a reset (see `reset_on_close`).
    """

    def __init__(
        self, url: str, headers: Mapping[str, str] | None = None, *, reset: bool = False
    ) -> None:
        self._socket: socket.socket | None = None
        self._reset = reset
        self._readable = select.poll()
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._prefix = parts.path.rstrip("/")
        # A server that is asked to close need not repeat it in its reply.
        self._keep_alive = (headers or {}).get("Connection") != "close"
        lines = {"Host": parts.netloc, "Accept-Encoding": "identity", **(headers or {})}
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in lines.items())

    def __del__(self) -> None:
        self.close()  # a client has one per thread, and a thread ends without closing it

    def call(
        self,
        method: str,
        path: str,
        *,
        timeout: float,
        read_timeout: float | None = None,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
    ) -> LocalReply:
        """Send a request and return the complete reply.

        `timeout` limits the connecting, and then the time from the request to the last byte of the
        reply, in seconds; `read_timeout`, if given, replaces it for the latter.  Raises
        `LocalHTTPError`, and `ValueError` for a `json` with a number that JSON cannot express.
        """
        request = self._request(method, path, json, params)
        keep = False
        try:
            connection = self._connect(timeout)
            limit = timeout if read_timeout is None else read_timeout
            deadline = time.monotonic() + limit
            connection.settimeout(limit)
            with contextlib.suppress(BrokenPipeError):  # it may have replied before it closed
                connection.sendall(request)
            with _Response(_Reading(connection, deadline)) as response:
                response.begin()
                reply = LocalReply(response.status, response.fields, response.body())
                keep = self._keep_alive and not response.will_close
        except TimeoutError as error:
            raise TimedOut("timed out") from error
        except OSError as error:
            raise ConnectionFailed((error.strerror or str(error)).lower()) from error
        finally:
            if not keep:
                self.close()
        return reply

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._socket is not None:
            self._readable.unregister(self._socket)
            self._socket.close()
            self._socket = None

    def _request(
        self, method: str, path: str, json: Any, params: Mapping[str, Any] | None
    ) -> bytes:
        # One buffer: if header and body were written separately, the kernel could hold the body
        # back until the header is acknowledged, which takes up to 40 ms (Nagle, delayed ACK).
        query = f"?{urlencode(params)}" if params else ""
        header = f"{method} {self._prefix}{path}{query} HTTP/1.1\r\n{self._headers}"
        if json is None:
            return f"{header}\r\n".encode()
        body = json_text.dumps(json, allow_nan=False).encode()
        header += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return header.encode() + body

    def _connect(self, timeout: float) -> socket.socket:
        # An idle connection is readable when the server has closed it, or when it has sent what
        # must not be taken for the next reply.
        if self._socket is not None and self._readable.poll(0):
            self.close()
        if self._socket is None:
            self._socket = socket.socket()
            self._readable.register(self._socket, select.POLLIN)
            # For a request of several segments: its end is not held back either.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._reset:
                reset_on_close(self._socket)
            self._socket.settimeout(timeout)
            self._socket.connect(self._address)
        return self._socket


def reset_on_close(connection: socket.socket) -> None:
    """Have the kernel end this connection with a reset, also when this process is killed.

    Otherwise a server that closes first, or dies, leaves its port taken for a minute (TIME_WAIT).
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class _Reading(io.RawIOBase):
    """Reads a socket until `deadline`, in place of the one that `http.client` expects.

    A timeout of the socket itself would begin anew with each byte.
    """

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Response(HTTPResponse):
    """Reads the header itself: the e-mail parser of `http.client` takes half the time of a call.

    It accepts what `http.client` accepts, within the same limits, but knows neither HEAD nor
    HTTP/0.9.
    """

    fields: dict[str, str]

    def __init__(self, reading: _Reading) -> None:
        super().__init__(reading)  # type: ignore[arg-type]  # it only calls `makefile`

    def begin(self) -> None:
        """Read the header, after any `100 Continue`."""
        version = ""
        self.status = 100
        while self.status == 100:
            status_line, *lines = self._read_header()
            version, self.status = parse_status_line(status_line)
            self.fields = parse_fields(lines)
        self.chunked = "chunked" in self.fields.get("transfer-encoding", "").lower()
        self.chunk_left = None
        self.length = None if self.chunked else self._content_length()
        closes = version == "HTTP/1.0" or "close" in self.fields.get("connection", "").lower()
        self.will_close = closes or (self.length is None and not self.chunked)

    def body(self) -> bytes:
        """Read to the end of the body; without a length, that is the end of the connection."""
        pieces, size = [], 0
        try:
            while piece := self.read(READ_SIZE):
                pieces.append(piece)
                size += len(piece)
                if size > MAX_BODY:
                    raise EndlessReply("the reply is too long")
        except TimeoutError as error:
            raise EndlessReply("the reply stopped in the middle") from error
        except (HTTPException, OSError, ValueError) as error:
            raise BrokenReply("the reply stopped in the middle") from error
        if self.length:
            raise BrokenReply("the reply stopped in the middle")
        return b"".join(pieces)

    def _read_header(self) -> list[str]:
        header = [self._read_line()]
        if not header[0]:
            raise ConnectionFailed("connection closed without a reply")
        # As in `http.client`, the end of the data is also the end of the header.
        while (line := self._read_line()) not in (b"\r\n", b"\n", b""):
            header.append(line)
            if len(header) > MAX_HEADER_LINES:
                raise EndlessReply("the reply's header has too many lines")
        return b"".join(header).decode("latin-1").split("\n")

    def _read_line(self) -> bytes:
        line = self.fp.readline(MAX_LINE + 1)
        if len(line) > MAX_LINE:
            raise EndlessReply("the reply's header has a line that is too long")
        return line

    def _content_length(self) -> int | None:
        if self.status in (204, 304) or self.status < 200:
            return 0
        value = self.fields.get("content-length", "")
        return int(value) if value.isdecimal() and len(value) < 19 else None


def parse_status_line(line: str) -> tuple[str, int]:
    match line.split(None, 2):
        case [version, status, *_] if version.startswith("HTTP/1.") and _STATUS.fullmatch(status):
            return version, int(status)
    raise BrokenReply("the reply is not HTTP")


def parse_fields(lines: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.lower(), value.strip())
    return fields
