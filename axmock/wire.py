"""HTTP/1.1 messages as the vendor's library (cpp-httplib 0.15.3) reads and writes them."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field

URI_LIMIT = 8192  # bytes of the request line
HEADER_LIMIT = 8192  # bytes of one header line
FORM_LIMIT = 8192  # bytes of a form body; curl -d sends JSON as a form without a Content-Type
_READ_AHEAD = 4096
_BODY_PIECE = 16384

METHODS = frozenset(
    b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PRI".split()
)  # PRI: the preface of HTTP/2, which gets a 400 like any method without handlers
_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH", b"PRI", b"DELETE"})

REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    413: "Payload Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
}


class Gone(Exception):
    """The peer closed the connection, or was silent for the read timeout."""


class BadMessage(Exception):
    """The request is refused with `status` and an empty body."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Stream:
    """Reads one request from a socket; bytes beyond its end are lost.

    That is why pipelining does not work: a second request from the same packet is still in this
    buffer when the first one has been answered.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._ahead = b""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, at least one.  Raises Gone."""
        if not self._ahead:
            data = self._receive(max(size, _READ_AHEAD))
            if size >= _READ_AHEAD:
                return data
            self._ahead = data
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def line(self) -> bytes:
        """Return one line with its end, or what is there at the end of the stream.  Raises Gone."""
        parts = []
        while True:
            end = self._ahead.find(b"\n") + 1
            if end:
                parts.append(self._ahead[:end])
                self._ahead = self._ahead[end:]
                return b"".join(parts)
            parts.append(self._ahead)
            self._ahead = b""
            try:
                self._ahead = self._receive(_READ_AHEAD)
            except EndOfStream:
                if not any(parts):
                    raise
                return b"".join(parts)

    def _receive(self, size: int) -> bytes:
        try:
            data = self._connection.recv(size)
        except OSError as error:
            raise Gone from error
        if not data:
            raise EndOfStream
        return data


class EndOfStream(Gone):
    """The peer closed its side of the connection."""


class Headers:
    """Header fields of a request; the first of equal names counts, values are percent-decoded."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def add_line(self, line: bytes) -> None:
        """Add one `Name: value` line; lines without a value do not count."""
        name, colon, value = line.rstrip(b" \t").partition(b":")
        value = value.lstrip(b" \t")
        if name and colon and value:
            key = name.decode("latin-1").lower()
            self._values.setdefault(key, decode_url(value).decode("latin-1"))

    def get(self, name: str) -> str:
        """Return the value of `name`, empty when absent."""
        return self._values.get(name.lower(), "")

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._values

    def read(self, stream: Stream) -> None:
        """Read up to the empty line.  Raises BadMessage(400), also for an end before it."""
        while True:
            try:
                line = stream.line()
            except Gone as error:
                raise BadMessage(400) from error
            if line == b"\r\n":
                return
            if not line.endswith(b"\r\n"):
                continue  # a bare line feed does not end a line
            if len(line) > HEADER_LIMIT:
                raise BadMessage(400)
            self.add_line(line[:-2])


@dataclass
class Request:
    """A request; the body is read only when a handler may need it."""

    method: bytes
    path: str
    version: bytes
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    @property
    def has_body(self) -> bool:
        """Whether the library reads a body for this method at all."""
        return self.method in _WITH_BODY

    @property
    def wants_close(self) -> bool:
        """Whether the connection ends with this request."""
        connection = self.headers.get("Connection")
        return connection == "close" or (self.version == b"HTTP/1.0" and connection != "Keep-Alive")


@dataclass
class Response:
    """A response; an empty body has no content type."""

    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def head(self, *, close: bool, to_head: bool) -> bytes:
        """Return the status line and headers, sorted by name as the library's map does."""
        fields = dict(self.headers)
        if close:
            fields["Connection"] = "close"
        else:
            fields["Keep-Alive"] = "timeout=5, max=5"
        fields["Content-Length"] = str(len(self.body.encode()))
        if self.body:
            fields["Content-Type"] = "application/json"
        if to_head:
            fields["Accept-Ranges"] = "bytes"
        lines = [f"{name}: {fields[name]}\r\n" for name in sorted(fields, key=str.lower)]
        reason = REASONS[self.status]
        return f"HTTP/1.1 {self.status} {reason}\r\n{''.join(lines)}\r\n".encode("latin-1")


def parse_request_line(line: bytes) -> Request:
    """Parse the first line of a request.  Raises BadMessage(400)."""
    words = line[:-2].split(b" ")
    if not line.endswith(b"\r\n") or len(words) != 3 or b"\0" in line:
        raise BadMessage(400)
    method, target, version = words
    if method not in METHODS or version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise BadMessage(400)
    path = target.partition(b"#")[0].partition(b"?")[0]
    return Request(method, decode_url(path).decode("latin-1"), version)


def read_body(stream: Stream, request: Request) -> bytes:
    """Read the body as the handlers see it.

    Without Content-Length the library reads until the peer closes or is silent for 5 s.  Raises
    BadMessage.
    """
    headers = request.headers
    encoding = headers.get("Content-Encoding")
    content_type = headers.get("Content-Type")
    multipart = content_type.startswith("multipart/form-data")
    boundary = re.search(r"boundary=\"?([^;\"]+)", content_type)
    if multipart and not boundary:
        raise BadMessage(400)
    if request.method == b"DELETE" and "Content-Length" not in headers:
        return b""
    if encoding in ("gzip", "deflate") or "br" in encoding:
        raise BadMessage(415)
    if headers.get("Transfer-Encoding").lower() == "chunked":
        body = b"".join(_chunks(stream))
    elif "Content-Length" in headers:
        body = _exactly(stream, _length(headers.get("Content-Length")))
    else:
        body = b"".join(_until_silence(stream))
    if multipart and boundary:
        if not body.rstrip(b"\r\n").endswith(b"--" + boundary[1].encode("latin-1") + b"--"):
            raise BadMessage(400)
        return b""  # the parts go to the library's list of files, which no handler reads
    if content_type.startswith("application/x-www-form-urlencoded") and len(body) > FORM_LIMIT:
        raise BadMessage(413)
    return body


def decode_url(text: bytes) -> bytes:
    """Undo percent-encoding (`%41`, and `%u0041` as UTF-8); keep everything else."""
    if b"%" not in text:
        return text

    def decoded(match: re.Match[bytes]) -> bytes:
        if match[1]:
            return chr(int(match[1], 16)).encode("utf-8", "ignore")
        return bytes([int(match[2], 16)])

    return re.sub(rb"%(?:u([0-9a-fA-F]{4})|([0-9a-fA-F]{2}))", decoded, text)


def _length(text: str) -> int:
    number = re.match(r"\s*([+-]?)(\d+)", text)
    if number is None:
        return 0
    return 2**64 - int(number[2]) if number[1] == "-" else int(number[2])


def _exactly(stream: Stream, size: int) -> bytes:
    parts = []
    while size:
        try:
            parts.append(stream.read(min(size, _BODY_PIECE)))
        except Gone as error:
            raise BadMessage(400) from error
        size -= len(parts[-1])
    return b"".join(parts)


def _until_silence(stream: Stream) -> Iterable[bytes]:
    try:
        while True:
            yield stream.read(_BODY_PIECE)
    except Gone:
        return


def _chunks(stream: Stream) -> Iterable[bytes]:
    try:
        while True:
            size = re.match(rb"\s*(?:0[xX])?([0-9a-fA-F]+)", stream.line())
            if size is None:
                raise BadMessage(400)
            if not int(size[1], 16):
                break
            yield _exactly(stream, int(size[1], 16))
            if stream.line() != b"\r\n":
                raise BadMessage(400)
        while stream.line() != b"\r\n":
            pass  # trailers
    except Gone as error:
        raise BadMessage(400) from error
