"""Who may wait in the lobby, and for how long."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Iterator

import pytest
from gunicorn.config import Config

from axproxy.server import waiting_room as module
from axproxy.server.connection import Connection
from axproxy.server.waiting_room import FIRST_BYTE, GOODBYE, HEAD, REQUEST, WaitingRoom

HALF_HEAD = b"POST /api/chat HTTP/1.1\r\nContent-"
HALF_BODY = b"POST /api/chat HTTP/1.1\r\nContent-Length: 3000\r\n\r\n"


class House:
    """A lobby with a clock that is set by hand, and its clients."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.now = 100.0
        self.admitted: list[Connection] = []
        self.closed = 0
        self._stack = stack
        self._poller = stack.enter_context(selectors.DefaultSelector())
        self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.lobby = WaitingRoom(self._poller, self.admitted.append, self._count, lambda: self.now)

    def _count(self) -> None:
        self.closed += 1

    def visitor(self, says: bytes = b"") -> tuple[socket.socket, Connection]:
        address = self._listener.getsockname()
        client = self._stack.enter_context(socket.create_connection(address, timeout=60))
        accepted, peer = self._listener.accept()
        connection = Connection(Config(), self._stack.enter_context(accepted), peer, address)
        self.lobby.wait_for_request(connection, FIRST_BYTE)
        if says:
            self.hear(client, says)
        return client, connection

    def hear(self, client: socket.socket, says: bytes) -> None:
        client.sendall(says)
        self.look()

    def look(self) -> None:
        for key, _ in self._poller.select(5):
            key.data(key.fileobj)

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.lobby.sweep()


@pytest.fixture
def house() -> Iterator[House]:
    with contextlib.ExitStack() as stack:
        yield House(stack)


def test_who_says_nothing_is_let_go_without_a_word(house: House) -> None:
    client, _ = house.visitor()
    house.passes(FIRST_BYTE - 1)
    assert house.closed == 0

    house.passes(1)
    assert (house.closed, client.recv(100)) == (1, b"")


@pytest.mark.parametrize(("says", "patience"), [(HALF_HEAD, HEAD), (HALF_BODY, REQUEST)])
def test_who_never_comes_to_an_end_is_told_so(house: House, says: bytes, patience: float) -> None:
    client, _ = house.visitor(says)
    house.passes(patience - 1)
    house.hear(client, b"x")
    assert house.closed == 0

    house.passes(1)
    assert client.recv(100).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_a_goodbye_lasts_until_the_client_hangs_up(house: House) -> None:
    client, connection = house.visitor()
    house.lobby.say_goodbye(connection)
    house.hear(client, b"still talking")
    assert house.closed == 0

    client.close()
    house.look()
    assert house.closed == 1


def test_a_goodbye_does_not_last_for_ever(house: House) -> None:
    client, connection = house.visitor()
    house.lobby.say_goodbye(connection)
    house.passes(GOODBYE)

    assert (house.closed, client.recv(100)) == (1, b"")


def test_when_half_requests_take_too_much_memory_the_largest_goes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_HELD", 3000)
    large, _ = house.visitor(HALF_BODY + b"x" * 2000)
    small, _ = house.visitor(HALF_BODY + b"x" * 1000)

    assert large.recv(100).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    house.hear(small, b"x" * 2000)
    assert len(house.admitted) == 1


def test_what_left_the_lobby_is_not_counted_any_more(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_HELD", 3000)
    for _ in range(10):
        client, _ = house.visitor(HALF_BODY)
        house.hear(client, b"x" * 2900)
        client.close()
        house.look()
        house.visitor(b"GET / HTTP/1.1\r\nA: " + b"b" * 2000 + b"\r\n\r\n")

    assert len(house.admitted) == 10


def test_when_we_leave_nobody_is_waited_for_longer_than_a_moment(house: House) -> None:
    client, _ = house.visitor(HALF_BODY)
    house.lobby.sweep(most_patience=2.0)
    house.passes(2.0)

    assert client.recv(100).startswith(b"HTTP/1.1 408 ")


def test_making_room_takes_whoever_has_waited_longest(house: House) -> None:
    first, second = house.visitor()[0], house.visitor()[0]
    house.lobby.make_room()
    assert first.recv(100) == b""
    house.lobby.make_room()
    assert second.recv(100) == b""
    house.lobby.make_room()
    assert house.closed == 2


def test_one_connections_trouble_is_its_own(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = b"GET / HTTP/1.1\r\n\r\n"
    with monkeypatch.context() as broken:
        broken.setattr(Connection, "takes_answers", lambda _: 1 // 0)
        client, _ = house.visitor(request)
    house.visitor(request)

    assert (house.closed, client.recv(100)) == (1, b"")
    assert "a connection failed and is closed" in caplog.text
    assert len(house.admitted) == 1
