"""A client's connection: its socket, the request that is coming in, and what to wait for on it."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import termios
from array import array
from typing import Any

from axproxy.api.http.policy import LARGEST_BODY
from axproxy.server.request_framing import Arrival, Label

SEND_BUFFER = 64 * 1024  # bytes; so a client that does not read is noticed after some 100 KB
UNACKNOWLEDGED = 30  # seconds without an acknowledgement after which a machine counts as off

_PIECE = 64 * 1024  # bytes


class Connection:
    """One accepted connection; gunicorn reads its `sock`, `client`, `server` and `parser`.

    `arrival` is the request that is coming in.  `deadline` is when waiting for it ends or, once we
    are `closing`, when waiting for the client to hang up ends.  After `take_request`, `label` and
    `whole` describe the request, and `rest` is what came after it.
    """

    def __init__(self, sock: socket.socket, client: Any, server: Any, parser: Any = None) -> None:
        self.sock = sock
        self.client = client
        self.server = server
        self.parser = parser
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        # A client that was switched off, or left the wireless network, never hangs up.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, UNACKNOWLEDGED // 2)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, UNACKNOWLEDGED // 6)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED * 1000)
        self.arrival = Arrival(LARGEST_BODY)
        self.label = Label()
        self.whole = False
        self.rest = b""
        self.deadline = 0.0
        self.closing = False
        self.holds_place = False  # among those that may take as long as an answer takes

    def read(self) -> bytes | None:
        """Return what has come: `b""` when the client has hung up, `None` when nothing has come."""
        try:
            data: bytes = self.sock.recv(_PIECE)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        return data

    def write_now(self, data: bytes) -> None:
        """Send what fits the socket's buffer: all of it unless the client reads nothing."""
        with contextlib.suppress(OSError):
            self.sock.setblocking(False)
            self.sock.send(data)

    def takes_answers(self) -> bool:
        """Return False if the client sends requests and reads none of the answers."""
        unsent = array("i", [0])
        fcntl.ioctl(self.sock, termios.TIOCOUTQ, unsent)
        return unsent[0] < SEND_BUFFER // 2

    def expect_request(self) -> None:
        self.arrival = Arrival(LARGEST_BODY)
        self.sock.setblocking(False)

    def take_request(self) -> bytes:
        """Return the request that has come in, and keep what describes it."""
        self.label, self.whole = self.arrival.label, self.arrival.whole
        request, self.rest = self.arrival.take()
        self.arrival = Arrival(LARGEST_BODY)
        return request

    def stop_sending(self) -> bool:
        """Tell the client that nothing more comes; return False when it has already gone.

        Closing at once would reset the connection while the client may still be sending, and the
        end of our reply would be lost.
        """
        self.closing = True
        try:
            self.sock.setblocking(False)
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.close()
