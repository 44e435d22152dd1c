"""A request is read in time that grows with its length, however many pieces it comes in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from gunicorn.config import Config

from axproxy.server.gunicorn_adapter import give, new_parser
from axproxy.server.request_framing import Arrival
from tests.support.growth import assert_linear

LARGEST_BODY = 4 << 20
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

REQUESTS: dict[str, Callable[[int], bytes]] = {
    "a body": lambda size: b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (size, b"a" * size),
    "tiny chunks": lambda size: CHUNKED + b"1\r\na\r\n" * (size // 6) + b"0\r\n\r\n",
    "long sizes of chunks": lambda size: CHUNKED + b"1;%s\r\na\r\n" % (b" " * 900) * (size // 900),
    "trailers": lambda size: CHUNKED + b"0\r\n" + b"a: b\r\n" * (size // 6) + b"\r\n",
    "a line without an end": lambda size: b"GET /" + b"a" * size,
    "line ends": lambda size: b"GET / HTTP/1.1" + b"\r\n \t" * (size // 4),
    "framing headers": lambda size: b"GET / HTTP/1.1" + b"\r\nExpect: \t" * (size // 11),
    "blanks": lambda size: b"GET / HTTP/1.1\r\nExpect:" + b" " * size,
}


@pytest.mark.parametrize("piece", [3, 1 << 20])
@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_framed_in_time_that_grows_with_its_length(name: str, piece: int) -> None:
    def frame(request: bytes) -> None:
        arrival = Arrival(LARGEST_BODY)
        for at in range(0, len(request), piece):
            arrival.feed(request[at : at + piece])
        assert arrival.label.method in ("", "GET", "POST")
        arrival.take()

    assert_linear(REQUESTS[name], frame, 1 << 16)


@pytest.mark.parametrize("name", ["tiny chunks", "a body"])
def test_gunicorns_parser_reads_a_body_in_time_that_grows_with_its_length(name: str) -> None:
    def read(request: bytes) -> None:
        parser = new_parser(Config(), ("127.0.0.1", 1))
        for _ in range(2):  # a second request on the same connection
            give(parser, request)
            body = next(parser).body
            while body.read(65_536):
                pass

    assert_linear(REQUESTS[name], read, 1 << 16)
