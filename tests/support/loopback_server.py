"""A server on loopback that sends the exact bytes that a test prepares, hangs, or closes."""

from __future__ import annotations

import contextlib
import json as json_text
import socket
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.support.waiting import eventually

# What the server does with a connection after it has sent its bytes.  "keep" waits for the next
# request, or closes if the request says so; "hang" sends nothing more until the client closes.
Afterwards = Literal["keep", "close", "reset", "hang"]


@dataclass(frozen=True)
class Reply:
    """The pieces that a reply consists of, and what happens to the connection afterwards."""

    pieces: Iterable[bytes] = ()
    then: Afterwards = "keep"


CLOSE, RESET, HANG = Reply(then="close"), Reply(then="reset"), Reply(then="hang")


def reply(
    status: int = 200,
    *,
    json: Any = None,
    body: str = "",
    headers: Mapping[str, str] | None = None,
    then: Afterwards = "keep",
) -> Reply:
    """Return an ordinary reply with a Content-Length."""
    data = (body if json is None else json_text.dumps(json)).encode()
    lines = {"Content-Type": "application/json", "Content-Length": str(len(data))}
    header = "".join(
        f"{name}: {value}\r\n" for name, value in (lines | dict(headers or {})).items()
    )
    return Reply((f"HTTP/1.1 {status} Whatever\r\n{header}\r\n".encode() + data,), then)


@dataclass(frozen=True)
class Received:
    """A request.  The names in `headers` are in lower case; `path` includes the query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json_text.loads(self.body)


@dataclass
class LoopbackServer:
    """Answers requests for a path with the replies prepared for it; the last of them repeats."""

    url: str
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    closed: int = 0  # how many of them
    _replies: dict[tuple[str, str], list[Reply]] = field(default_factory=dict)

    def on(self, method: str, path: str, *replies: Reply) -> None:
        """Prepare replies; they are added to those that are prepared already."""
        self._replies.setdefault((method, path), []).extend(replies)

    def paths_not_requested(self) -> set[tuple[str, str]]:
        """Return the paths that were prepared in vain."""
        return self._replies.keys() - {
            (it.method, it.path.partition("?")[0]) for it in self.requests
        }

    def answer(self, request: Received) -> Reply:
        """Return the reply to a request; 501 if none is prepared."""
        self.requests.append(request)
        replies = self._replies.get((request.method, request.path.partition("?")[0]))
        if not replies:
            return reply(501, body="the test has prepared no reply")
        return replies.pop(0) if len(replies) > 1 else replies[0]

    def wait_until_closed(self, connections: int) -> None:
        """Wait until the server has closed so many connections."""
        eventually(lambda: self.closed >= connections)


@contextlib.contextmanager
def loopback_server() -> Iterator[LoopbackServer]:
    """Run a server; fails if a prepared path was not requested."""
    threads: list[threading.Thread] = []
    sockets: list[socket.socket] = []

    def accept(listener: socket.socket, server: LoopbackServer) -> None:
        with contextlib.suppress(OSError):  # the listener is shut down
            while True:
                connection, _ = listener.accept()
                server.connections += 1
                sockets.append(connection)
                thread = threading.Thread(target=_serve, args=(connection, server))
                threads.append(thread)
                thread.start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = LoopbackServer(f"http://127.0.0.1:{listener.getsockname()[1]}")
        acceptor = threading.Thread(target=accept, args=(listener, server))
        acceptor.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for connection in sockets:
                with contextlib.suppress(OSError):  # it is closed already
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
    assert server.paths_not_requested() == set()


def _serve(connection: socket.socket, server: LoopbackServer) -> None:
    with connection, connection.makefile("rb") as stream, contextlib.suppress(OSError):
        while (request := _received(stream)) is not None:
            planned = server.answer(request)
            for piece in planned.pieces:
                connection.sendall(piece)
            if planned.then == "hang":
                stream.read()
            if planned.then == "reset":
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            if planned.then != "keep" or request.headers.get("connection") == "close":
                break
    server.closed += 1


def _received(stream: Any) -> Received | None:
    request_line = stream.readline().decode()
    if not request_line:
        return None
    method, path, _ = request_line.split(" ")
    headers = {}
    while line := stream.readline().decode().strip():
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    return Received(method, path, headers, stream.read(int(headers.get("content-length", 0))))
