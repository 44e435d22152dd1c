"""A client that has left is noticed."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from axproxy.api.http.disconnect import gone_check

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("key", ["gunicorn.socket", "werkzeug.socket"])
@pytest.mark.parametrize("timeout", [None, 0.0, 30.0])
def test_a_client_that_hangs_up_is_gone(pair: Pair, key: str, timeout: float | None) -> None:
    ours, theirs = pair
    ours.settimeout(timeout)
    gone = gone_check({key: ours})

    assert not gone()
    theirs.close()
    assert gone()


def test_a_client_that_sends_its_next_request_early_is_connected_and_loses_nothing(
    pair: Pair,
) -> None:
    ours, theirs = pair
    theirs.sendall(b"GET / HTTP/1.1")

    assert not gone_check({"gunicorn.socket": ours})()
    assert ours.recv(100) == b"GET / HTTP/1.1"


def test_a_connection_that_was_reset_is_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    theirs.close()

    with ours:
        assert gone_check({"gunicorn.socket": ours})()


def test_a_connection_closed_on_our_side_is_gone(pair: Pair) -> None:
    ours, _ = pair
    ours.close()

    assert gone_check({"gunicorn.socket": ours})()


def test_a_client_of_an_unknown_server_never_counts_as_gone() -> None:
    assert not gone_check({})()


def test_a_read_that_would_block_means_that_the_client_is_connected() -> None:
    class Hasty(socket.socket):
        def recv(self, *_: object) -> bytes:
            raise BlockingIOError

    ours, theirs = socket.socketpair()
    with Hasty(fileno=ours.detach()) as hasty, theirs:
        theirs.sendall(b"x")
        assert not gone_check({"gunicorn.socket": hasty})()
