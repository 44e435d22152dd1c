"""How long a connection may wait for its request, and what ends the wait."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Iterator

import pytest

from axproxy.server import waiting_room as module
from axproxy.server.connection import Connection
from axproxy.server.waiting_room import (
    FIRST_BYTE_TIMEOUT,
    HEAD_TIMEOUT,
    LINGER_TIMEOUT,
    REQUEST_TIMEOUT,
    WaitingRoom,
)

HALF_HEAD = b"POST /api/chat HTTP/1.1\r\nContent-"
HALF_BODY = b"POST /api/chat HTTP/1.1\r\nContent-Length: 3000\r\n\r\n"


class Room:
    """A waiting room with a clock that is set by hand, and its clients."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.now = 100.0
        self.admitted: list[Connection] = []
        self.closed = 0
        self._stack = stack
        self._poller = stack.enter_context(selectors.DefaultSelector())
        self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.waiting_room = WaitingRoom(
            self._poller, self.admitted.append, self._count, lambda: self.now
        )

    def _count(self) -> None:
        self.closed += 1

    def connect(self, sends: bytes = b"") -> tuple[socket.socket, Connection]:
        address = self._listener.getsockname()
        client = self._stack.enter_context(socket.create_connection(address, timeout=60))
        accepted, peer = self._listener.accept()
        connection = Connection(self._stack.enter_context(accepted), peer, address)
        self.waiting_room.wait_for_request(connection, FIRST_BYTE_TIMEOUT)
        if sends:
            self.send(client, sends)
        return client, connection

    def send(self, client: socket.socket, data: bytes) -> None:
        client.sendall(data)
        self.poll()

    def poll(self) -> None:
        for key, _ in self._poller.select(5):
            key.data(key.fileobj)

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.waiting_room.sweep()


@pytest.fixture
def room() -> Iterator[Room]:
    with contextlib.ExitStack() as stack:
        yield Room(stack)


def test_a_silent_connection_is_closed_without_a_reply(room: Room) -> None:
    client, _ = room.connect()
    room.passes(FIRST_BYTE_TIMEOUT - 1)
    assert room.closed == 0

    room.passes(1)
    assert (room.closed, client.recv(100)) == (1, b"")


@pytest.mark.parametrize(
    ("sent", "timeout"), [(HALF_HEAD, HEAD_TIMEOUT), (HALF_BODY, REQUEST_TIMEOUT)]
)
def test_a_request_that_never_ends_is_refused(room: Room, sent: bytes, timeout: float) -> None:
    client, _ = room.connect(sent)
    room.passes(timeout - 1)
    room.send(client, b"x")
    assert room.closed == 0

    room.passes(1)
    assert client.recv(100).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_a_closing_connection_lingers_until_the_client_hangs_up(room: Room) -> None:
    client, connection = room.connect()
    room.waiting_room.linger(connection)
    room.send(client, b"still talking")
    assert room.closed == 0

    client.close()
    room.poll()
    assert room.closed == 1


def test_a_closing_connection_does_not_linger_for_ever(room: Room) -> None:
    client, connection = room.connect()
    room.waiting_room.linger(connection)
    room.passes(LINGER_TIMEOUT)

    assert (room.closed, client.recv(100)) == (1, b"")


def test_when_incomplete_requests_take_too_much_memory_the_largest_is_refused(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BUFFERED", 3000)
    large, _ = room.connect(HALF_BODY + b"x" * 2000)
    small, _ = room.connect(HALF_BODY + b"x" * 1000)

    assert large.recv(100).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    room.send(small, b"x" * 2000)
    assert len(room.admitted) == 1


def test_a_connection_that_left_the_waiting_room_is_no_longer_counted(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BUFFERED", 3000)
    for _ in range(10):
        client, _ = room.connect(HALF_BODY)
        room.send(client, b"x" * 2900)
        client.close()
        room.poll()
        room.connect(b"GET / HTTP/1.1\r\nA: " + b"b" * 2000 + b"\r\n\r\n")

    assert len(room.admitted) == 10


def test_a_stop_shortens_every_wait(room: Room) -> None:
    client, _ = room.connect(HALF_BODY)
    room.waiting_room.sweep(most=2.0)
    room.passes(2.0)

    assert client.recv(100).startswith(b"HTTP/1.1 408 ")


def test_making_room_closes_the_connection_that_has_waited_longest(room: Room) -> None:
    first, second = room.connect()[0], room.connect()[0]
    room.waiting_room.make_room()
    assert first.recv(100) == b""
    room.waiting_room.make_room()
    assert second.recv(100) == b""
    room.waiting_room.make_room()
    assert room.closed == 2


def test_a_connection_that_fails_harms_no_other(
    room: Room, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = b"GET / HTTP/1.1\r\n\r\n"
    with monkeypatch.context() as broken:
        broken.setattr(Connection, "takes_answers", lambda _: 1 // 0)
        client, _ = room.connect(request)
    room.connect(request)

    assert (room.closed, client.recv(100)) == (1, b"")
    assert "a connection failed and is closed" in caplog.text
    assert len(room.admitted) == 1
