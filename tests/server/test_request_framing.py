"""Where a request ends, however it is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.server.request_framing import LARGEST_HEAD, Arrival

LIMIT = 1000  # bytes of body

CHUNKED = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = {
    "no body": b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
    "an empty line before it": b"\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n",
    "a body": b"POST /a?b HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    "an empty body": b"POST /a HTTP/1.1\r\ncontent-LENGTH:0\r\n\r\n",
    "a body with line ends": b"POST /a HTTP/1.1\r\nContent-Length: 6\r\n\r\n\n\r\n\r\n\n",
    "chunks": CHUNKED + b"5\r\nhello\r\n2;x=y\r\n\r\n\r\n0\r\n\r\n",
    "no chunks": CHUNKED + b"0\r\n\r\n",
    "trailers": CHUNKED + b"1\r\na\r\n0\r\nA: b\r\nC: d\r\n\r\n",
}
NEXT = b"GET /next HTTP/1.1\r\n\r\n"


def fed(*pieces: bytes) -> Arrival:
    arrival = Arrival(LIMIT)
    for piece in pieces:
        arrival.feed(piece)
    return arrival


@pytest.mark.parametrize("request_", WHOLE.values(), ids=list(WHOLE))
def test_a_request_is_complete_with_its_last_byte_and_not_before(request_: bytes) -> None:
    arrival = Arrival(LIMIT)
    for byte in request_:
        assert not arrival.complete
        arrival.feed(bytes([byte]))

    assert (arrival.complete, arrival.whole) == (True, True)
    assert arrival.take() == (request_, b"")


@given(st.sampled_from(list(WHOLE.values())), st.data())
def test_what_follows_a_request_is_kept_for_the_next(request_: bytes, data: st.DataObject) -> None:
    both = request_ + NEXT
    cut = data.draw(st.integers(len(request_), len(both)))
    first = data.draw(st.integers(0, cut))
    arrival = fed(both[:first], both[first:cut])

    assert arrival.take() == (request_, both[len(request_) : cut])


MALFORMED = {
    "a bare line feed": b"GET / HTTP/1.1\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "a length that is no number": b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    "an endless length": b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "a length and chunks": CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n",
    "a coding that has no end": b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
    "a chunk without a size": CHUNKED + b"hello\r\n",
    "a chunk line without an end": CHUNKED + b"1" * 1100,
    "a head without an end": b"GET / HTTP/1.1\r\nA: " + b"b" * LARGEST_HEAD,
    "a body that is too long": b"POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n",
    "chunks that are too long": CHUNKED + b"1f000\r\n" + b"a" * 0x1F000,
}


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=list(MALFORMED))
def test_the_rest_of_a_request_that_will_be_refused_is_not_waited_for(request_: bytes) -> None:
    arrival = fed(request_)
    assert (arrival.complete, arrival.whole) == (True, False)


@given(st.lists(st.binary(max_size=30)))
def test_no_bytes_confuse_it(pieces: list[bytes]) -> None:
    arrival = fed(CHUNKED, *pieces)
    request_, rest = arrival.take()
    assert request_ + rest == CHUNKED + b"".join(pieces)


def test_a_client_that_expects_100_continue_gets_it_once() -> None:
    arrival = fed(b"POST /a HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n")
    assert arrival.wants_continue
    assert not arrival.complete

    arrival.feed(b"hi")
    assert arrival.take()[0] == b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"


def test_a_request_is_labelled_with_its_method_its_path_and_its_id() -> None:
    label = fed(b"POST /a/b?secret=1 HTTP/1.1\r\nX-Request-ID:  seven \r\n\r\n").label
    assert (label.method, label.path, label.request_id) == ("POST", "/a/b", "seven")


def test_what_is_not_http_has_an_empty_label() -> None:
    label = fed(b"\x16\x03\x01\x02\x00\x01\x00\n").label
    assert (label.method, label.path, label.request_id) == ("", "", "")
