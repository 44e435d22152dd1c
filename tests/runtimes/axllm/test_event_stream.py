"""Reading the program's events from a socket, whatever the pieces in which they come."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.local_http import BrokenReply, ConnectionFailed, LocalHTTPError
from axproxy.runtimes.axllm.event_stream import DONE, ChunkedDecoder, EventStream

HEAD = (
    b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100\r\nTransfer-Encoding: chunked\r\n"
    b"Connection: keep-alive\r\nCache-Control: no-cache\r\n"
    b"Content-Type: text/event-stream\r\nContent-Type: text/event-stream\r\n\r\n"
)


def chunked(*bodies: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in bodies) + b"0\r\n\r\n"


def event(value: object) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


@given(
    bodies=st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    cuts=st.lists(st.integers(1, 30), max_size=20),
)
def test_a_body_in_chunks_is_the_same_in_whatever_pieces_it_comes(
    bodies: list[bytes], cuts: list[int]
) -> None:
    sent = chunked(*bodies)
    decoder, read, at = ChunkedDecoder(), b"", 0
    for cut in [*cuts, len(sent)]:
        read += decoder.feed(sent[at : at + cut])
        at += cut

    assert read == b"".join(bodies)
    assert decoder.ended


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    decoder = ChunkedDecoder()
    try:
        decoder.feed(data)
    except BrokenReply:
        return
    assert len(decoder.feed(b"")) == 0


def test_events_come_as_json_and_the_end_is_known(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    theirs.sendall(HEAD + chunked(event({"a": 1}), b"data: [DONE]\n\n"))
    stream = EventStream(ours, 1.0)

    assert stream.status == 200
    assert stream.events(1.0) == [{"a": 1}, DONE]
    assert stream.ended


def test_no_event_in_time_is_an_empty_list_and_not_an_end(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    theirs.sendall(HEAD)
    stream = EventStream(ours, 1.0)

    assert stream.events(0.01) == []
    assert not stream.ended
    theirs.close()
    assert stream.events(1.0) == []
    assert stream.ended


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"", ConnectionFailed),
        (b"HTTP/1.1 200", ConnectionFailed),
        (b"nothing like HTTP\r\n\r\n", BrokenReply),
        (b"X" * 70_000, BrokenReply),
    ],
    ids=["nothing", "half a header", "no HTTP", "endless"],
)
def test_what_is_no_reply_is_an_error(
    pair: tuple[socket.socket, socket.socket], sent: bytes, error: type[LocalHTTPError]
) -> None:
    ours, theirs = pair
    theirs.sendall(sent)
    theirs.shutdown(socket.SHUT_WR)

    with pytest.raises(error):
        EventStream(ours, 1.0)


def test_an_event_that_is_not_json_is_an_error(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    theirs.sendall(HEAD + chunked(b"data: {half\n\n"))
    stream = EventStream(ours, 1.0)

    with pytest.raises(BrokenReply):
        stream.events(1.0)


def test_the_body_of_an_error_is_read_by_its_length(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    theirs.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\nno")
    stream = EventStream(ours, 1.0)
    theirs.sendall(b"pe and more")

    assert stream.status == 400
    assert stream.error_body() == b"nope"
