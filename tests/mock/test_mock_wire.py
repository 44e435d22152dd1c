"""HTTP messages as the vendor's library reads and writes them."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from axmock.wire import (
    BadMessage,
    Gone,
    Headers,
    Request,
    Response,
    Stream,
    decode_url,
    parse_request_line,
    read_body,
)


class Line:
    """Two ends of a connection; reading gives up after a moment."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.settimeout(0.1)
        self.stream = Stream(self.near)

    def body(self, headers: str, sent: bytes, method: bytes = b"POST") -> bytes:
        request = Request(method, "/", b"HTTP/1.1")
        for line in headers.split("\n"):
            request.headers.add_line(line.encode())
        self.far.sendall(sent)
        return read_body(self.stream, request)


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.near.close()
    line.far.close()


REFUSED_LINES = [
    b"GET /\r\n",
    b"GET / HTTP/1.1\n",
    b"GET  / HTTP/1.1\r\n",
    b"FETCH / HTTP/1.1\r\n",
    b"GET / HTTP/2\r\n",
    b"get / HTTP/1.1\r\n",
]


@pytest.mark.parametrize("text", REFUSED_LINES)
def test_a_request_line_must_have_three_words_a_known_method_and_version(text: bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        parse_request_line(text)

    assert caught.value.status == 400


def test_a_path_is_decoded_and_loses_query_and_fragment() -> None:
    assert parse_request_line(b"GET /api/sto%70?x=1#y HTTP/1.1\r\n").path == "/api/stop"


def test_percent_encoding_covers_bytes_and_code_points() -> None:
    assert decode_url(b"%41%u00e9%zz%") == b"A\xc3\xa9%zz%"


def test_the_first_of_equal_headers_counts_and_empty_ones_do_not() -> None:
    headers = Headers()
    for text in (b"Connection: close", b"connection: keep-alive", b"Empty:", b"no colon"):
        headers.add_line(text)

    assert headers.get("CONNECTION") == "close"
    assert "Empty" not in headers


def test_headers_end_at_an_empty_line_and_bare_line_feeds_are_skipped(line: Line) -> None:
    line.far.sendall(b"A: 1\r\nB: 2\n\nC: 3\r\n\r\nrest")
    headers = Headers()

    headers.read(line.stream)

    assert [headers.get(name) for name in "ABC"] == ["1", "", "3"]
    assert line.stream.read(10) == b"rest"


def test_a_header_line_over_8_kib_is_a_400(line: Line) -> None:
    line.far.sendall(b"A: " + b"x" * 8192 + b"\r\n\r\n")

    with pytest.raises(BadMessage):
        Headers().read(line.stream)


def test_an_end_in_the_headers_is_a_400(line: Line) -> None:
    line.far.sendall(b"A: 1\r\n")
    line.far.close()

    with pytest.raises(BadMessage):
        Headers().read(line.stream)


def test_a_last_line_without_an_end_counts_but_silence_does_not(line: Line) -> None:
    line.far.sendall(b"half")
    with pytest.raises(Gone):
        line.stream.line()
    line.far.sendall(b"half")
    line.far.close()

    assert Stream(line.near).line() == b"half"


FORM = "Content-Type: application/x-www-form-urlencoded\n"
PARTS = "Content-Type: multipart/form-data; boundary=b\n"
# name: (headers, bytes sent, body or status)
BODIES: dict[str, tuple[str, bytes, bytes | int]] = {
    "with length": ("Content-Length: 3", b"abcdef", b"abc"),
    "length zero": ("Content-Length: 0", b"abc", b""),
    "length that is no number counts as zero": ("Content-Length: x", b"abc", b""),
    "negative length": ("Content-Length: -1", b"abc", 400),
    "half a body": ("Content-Length: 9", b"abc", 400),
    "no length takes what comes until silence": ("", b"abc", b"abc"),
    "chunked": ("Transfer-Encoding: chunked", b"2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n", b"abc"),
    "chunked with trailer": ("Transfer-Encoding: chunked", b"0\r\nA: 1\r\n\r\n", b""),
    "chunked without size": ("Transfer-Encoding: chunked", b"zz\r\n", 400),
    "chunk without end": ("Transfer-Encoding: chunked", b"2\r\nabc\r\n", 400),
    "chunked, cut off": ("Transfer-Encoding: chunked", b"2\r\nab\r\n", 400),
    "form of 8192 bytes": (FORM + "Content-Length: 8192", b"x" * 8192, b"x" * 8192),
    "form of 8193 bytes": (FORM + "Content-Length: 8193", b"x" * 8193, 413),
    "multipart without boundary": (
        "Content-Type: multipart/form-data\nContent-Length: 2",
        b"{}",
        400,
    ),
    "multipart that is none": (PARTS + "Content-Length: 2", b"{}", 400),
    "multipart leaves no body": (PARTS + "Content-Length: 17", b"--b\r\n\r\nx\r\n--b--\r\n", b""),
    "compressed": ("Content-Encoding: gzip\nContent-Length: 2", b"xx", 415),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies(name: str, line: Line) -> None:
    headers, sent, expected = BODIES[name]

    if isinstance(expected, bytes):
        assert line.body(headers, sent) == expected
        return
    with pytest.raises(BadMessage) as caught:
        line.body(headers, sent)
    assert caught.value.status == expected


def test_a_large_body_arrives_whole(line: Line) -> None:
    assert len(line.body("Content-Length: 100000", b"x" * 100_000)) == 100_000


def test_delete_without_length_has_no_body(line: Line) -> None:
    assert line.body("", b"abc", b"DELETE") == b""


def test_a_response_has_sorted_headers_and_neither_date_nor_server() -> None:
    head = Response(200, "é", {"Z": "1", "Access-Control-Allow-Origin": "*"}).head(
        close=False, to_head=True
    )

    assert head == (
        b"HTTP/1.1 200 OK\r\n"
        b"Accept-Ranges: bytes\r\n"
        b"Access-Control-Allow-Origin: *\r\n"
        b"Content-Length: 2\r\n"
        b"Content-Type: application/json\r\n"
        b"Keep-Alive: timeout=5, max=5\r\n"
        b"Z: 1\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("version", "connection", "closes"),
    [
        (b"HTTP/1.1", "", False),
        (b"HTTP/1.1", "close", True),
        (b"HTTP/1.1", "Close", False),
        (b"HTTP/1.0", "", True),
        (b"HTTP/1.0", "Keep-Alive", False),
    ],
)
def test_when_the_connection_is_closed(version: bytes, connection: str, closes: bool) -> None:
    request = Request(b"GET", "/", version)
    request.headers.add_line(f"Connection: {connection}".encode())

    assert request.wants_close is closes
