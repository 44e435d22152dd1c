"""Find where an HTTP request ends while its bytes come in.

This reads no more of HTTP than that takes.  A malformed request counts as complete, so that the
real parser sees it and reports what is wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LARGEST_HEAD = 64 * 1024  # bytes; what browsers send with all their cookies is a quarter of it

_LONGEST_CHUNK_LINE = 1024  # bytes
_SLACK = 64 * 1024  # bytes by which a chunked body may exceed the limit, for its chunks' frames
_REQUEST_LINE = re.compile(rb"(?:\r\n)?([A-Z]{1,20}) ([^ ?\r\n]{1,2000})")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_FRAMING = re.compile(rb"\r\n(content-length|transfer-encoding):[ \t]*([^\r\n]*)", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)
_REQUEST_ID = re.compile(rb"\r\nx-request-id:[ \t]*([^\r\n]*)", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,8}")


@dataclass(frozen=True)
class Label:
    """What the log line of a request needs; a field that cannot be read is empty.

    `path` is without the query, `request_id` as the client wrote it.
    """

    method: str = ""
    path: str = ""
    request_id: str = ""


class Arrival:
    """A request that is coming in; `feed` gets what the socket gives, even beyond the request.

    `complete` is true once there is nothing to wait for.  If `whole` is false then, the request is
    malformed or too large to be read, and the connection must be closed after the reply.
    `largest_body` is in bytes.
    """

    def __init__(self, largest_body: int) -> None:
        self._largest_body = largest_body
        self._received = bytearray()
        self._searched = 0
        self._body_at: int | None = None
        self._length: int | None = None  # of the body, unless it is chunked
        self._end = 0
        self._at = 0  # where the next chunk begins, or goes on
        self._to_skip = 0
        self._in_trailers = False
        self.complete = False
        self.whole = False
        self.wants_continue = False

    def __len__(self) -> int:
        return len(self._received)

    @property
    def head_complete(self) -> bool:
        return self._body_at is not None

    @property
    def head_too_large(self) -> bool:
        return (len(self) if self._body_at is None else self._body_at) > LARGEST_HEAD

    @property
    def label(self) -> Label:
        named = _REQUEST_LINE.match(self._received)
        method, path = (part.decode("latin-1") for part in named.groups()) if named else ("", "")
        given = _REQUEST_ID.search(self._received, 0, self._body_at or len(self))
        return Label(method, path, given[1].decode("latin-1").strip() if given else "")

    def feed(self, data: bytes) -> None:
        self._received += data
        if self._body_at is None:
            self._look_for_head()
        if self._body_at is not None and not self.complete:
            self._look_for_end()

    def take(self) -> tuple[bytes, bytes]:
        """Return the request, and what came after it."""
        end = self._end if self.whole else len(self)
        return bytes(self._received[:end]), bytes(self._received[end:])

    def _look_for_head(self) -> None:
        start, self._searched = max(self._searched - 3, 0), len(self)
        end = self._received.find(b"\r\n\r\n", start)
        if end < 0:
            # A line that ends without a carriage return is refused: there is nothing to wait for.
            self.complete = bool(_BARE_LF.search(self._received, start)) or self.head_too_large
            return
        # We send "100 Continue" ourselves, because the parser runs only when the body is here.
        expect = _EXPECT.search(self._received, 0, end + 2)
        if expect:
            del self._received[expect.start() : expect.end()]
            end -= expect.end() - expect.start()
        self._body_at = self._at = end + 4
        self._read_framing(bytes(self._received[: end + 2]))
        self.complete = self.complete or self.head_too_large
        self.wants_continue = expect is not None and not self.complete

    def _read_framing(self, head: bytes) -> None:
        fields = [(name.lower(), value.strip()) for name, value in _FRAMING.findall(head)]
        lengths = [value for name, value in fields if name == b"content-length"]
        codings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
        if codings:
            if lengths or not codings[-1].endswith(b"chunked"):
                self.complete = True  # ambiguous, and refused
        elif not lengths:
            self._length = 0
        elif len(lengths) > 1 or not lengths[0].isdigit():
            self.complete = True
        elif len(lengths[0]) > 12 or int(lengths[0]) > self._largest_body:
            self.complete = True  # the answer to it needs no body
        else:
            self._length = int(lengths[0])

    def _look_for_end(self) -> None:
        body_at = self._body_at or 0
        if self._length is not None:
            self._end = body_at + self._length
            self.complete = self.whole = len(self) >= self._end
            return
        while not self.complete and self._next_line():
            pass
        if len(self) - body_at > self._largest_body + _SLACK:
            self.complete = True

    def _next_line(self) -> bool:
        """Read one line between the chunks; return False when it has not come yet."""
        if len(self) < self._at + self._to_skip:
            return False
        self._at += self._to_skip
        self._to_skip = 0
        end = self._received.find(b"\r\n", self._at, self._at + _LONGEST_CHUNK_LINE)
        if end < 0:
            self.complete = len(self) - self._at > _LONGEST_CHUNK_LINE
            return False
        line = self._received[self._at : end]
        self._at = end + 2
        if self._in_trailers:
            if not line:
                self._end = self._at
                self.complete = self.whole = True
            return True
        size = _CHUNK_SIZE.fullmatch(line.partition(b";")[0].strip())
        if not size:
            self.complete = True
            return False
        self._to_skip = int(size[0], 16) + 2 if int(size[0], 16) else 0
        self._in_trailers = not self._to_skip
        return True
