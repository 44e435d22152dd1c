"""The listening socket and the eight threads behind it, as in cpp-httplib 0.15.3.

A thread serves one connection until it ends, so eight silent connections block all others.
"""

from __future__ import annotations

import os
import queue
import select
import signal
import socket
import threading
from collections.abc import Callable

from axmock.crash import CppException
from axmock.wire import (
    URI_LIMIT,
    BadMessage,
    Gone,
    Headers,
    Request,
    Response,
    Stream,
    parse_request_line,
    read_body,
)

THREADS = 8
REQUESTS_PER_CONNECTION = 5
IDLE_SECONDS = 5.0  # how long a connection may be silent between requests, or within one
# The vendor's is 5.  Its accept loop empties that within microseconds: 60 polls at once are all
# answered in 10 ms.  Python is slower, 5 would overflow, and each overflow costs a client a second.
BACKLOG = 128

Handler = Callable[[Request], Response]
_ALLOW_ALL = {"Access-Control-Allow-Origin": "*"}
_PREFLIGHT = {
    **_ALLOW_ALL,
    "Access-Control-Allow-Headers": "Content-Type",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
}


class Server:
    """Serves `routes` ({(method, path): handler}); a signal handler may call stop()."""

    def __init__(self, routes: dict[tuple[bytes, str], Handler]) -> None:
        self._routes = routes
        self._listener: socket.socket | None = None
        self._waiting: queue.SimpleQueue[socket.socket | None] = queue.SimpleQueue()
        self._pool = [threading.Thread(target=self._work, daemon=True) for _ in range(THREADS)]
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)

    @property
    def running(self) -> bool:
        """Whether the port is open."""
        return self._listener is not None

    def open(self, host: str, port: int) -> int:
        """Listen with SO_REUSEPORT and nothing else; return the port.  Raises OSError."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((host, port))
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        for thread in self._pool:
            thread.start()
        return int(listener.getsockname()[1])

    def serve(self) -> None:
        """Accept until stop(); return when every accepted connection is finished."""
        # A signal that arrives just before poll() must still wake it.
        signal.set_wakeup_fd(self._wake_in, warn_on_full_buffer=False)
        poller = select.poll()
        poller.register(self._wake_out, select.POLLIN)
        if self._listener is not None:
            poller.register(self._listener, select.POLLIN)
        while self.running:
            for descriptor, _ in poller.poll():
                if descriptor == self._wake_out:
                    os.read(self._wake_out, 4096)
                else:
                    self._accept()
        for _ in self._pool:
            self._waiting.put(None)
        for thread in self._pool:
            thread.join()

    def stop(self) -> None:
        """Close the listening socket at once; has no effect before open()."""
        listener, self._listener = self._listener, None
        if listener is not None:
            try:
                listener.shutdown(socket.SHUT_RDWR)
            finally:
                listener.close()

    def _accept(self) -> None:
        listener = self._listener
        if listener is None:
            return
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # stopped, or the client is gone again
        connection.settimeout(IDLE_SECONDS)
        self._waiting.put(connection)

    def _work(self) -> None:
        while (connection := self._waiting.get()) is not None:
            with connection:
                try:
                    self._serve_connection(connection)
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # the client went away; its request has been carried out

    def _serve_connection(self, connection: socket.socket) -> None:
        poller = select.poll()
        poller.register(connection, select.POLLIN)
        for left in range(REQUESTS_PER_CONNECTION, 0, -1):
            if not self.running or not poller.poll(IDLE_SECONDS * 1000):
                return
            if not self._serve_request(connection, last=left == 1):
                return

    def _serve_request(self, connection: socket.socket, *, last: bool) -> bool:
        """Answer one request; return False to end the connection."""
        stream = Stream(connection)
        try:
            line = stream.line()
        except Gone:
            return False
        request = Request(b"", "", b"")
        try:
            if len(line) > URI_LIMIT:
                Headers().read(stream)
                raise BadMessage(414)
            request = parse_request_line(line)
            request.headers.read(stream)
        except BadMessage as error:
            # The connection stays open: the library checks for "Connection: close" only later.
            status = 414 if len(line) > URI_LIMIT else error.status
            _reply(connection, request, Response(status), last=last)
            return True
        if request.headers.get("Expect") == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        response = self._respond(stream, request)
        response.headers = {**_ALLOW_ALL, **response.headers}
        _reply(connection, request, response, last=last)
        return not request.wants_close

    def _respond(self, stream: Stream, request: Request) -> Response:
        if request.method == b"OPTIONS":
            return Response(200, headers=dict(_PREFLIGHT))
        try:
            if request.has_body:
                request.body = read_body(stream, request)
        except BadMessage as error:
            return Response(error.status)
        if request.method in (b"CONNECT", b"TRACE", b"PRI"):
            return Response(400)
        method = b"GET" if request.method == b"HEAD" else request.method
        handler = self._routes.get((method, request.path))
        if handler is None:
            return Response(404)
        try:
            return handler(request)
        except CppException as error:
            what = error.what.replace("\r", "\\r").replace("\n", "\\n")
            return Response(500, headers={"EXCEPTION_WHAT": what})


def _reply(connection: socket.socket, request: Request, response: Response, *, last: bool) -> None:
    close = last or request.headers.get("Connection") == "close"
    to_head = request.method == b"HEAD"
    # Two writes, as the library does: a client that reads once may get the headers alone.
    connection.sendall(response.head(close=close, to_head=to_head))
    if response.body and not to_head:
        connection.sendall(response.body.encode())
