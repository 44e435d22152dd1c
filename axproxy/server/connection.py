"""One connection of a client, and what the service waits for on it."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import termios
from array import array
from typing import Any

from gunicorn.http import get_parser
from gunicorn.workers.gthread import TConn

from axproxy.server.request_framing import LARGEST_BODY, Arrival, Label

SEND_BUFFER = 64 * 1024  # bytes; so a client that does not read is noticed after some 100 KB
SILENCE = 30  # seconds after which a machine that acknowledges nothing counts as switched off

_PIECE = 64 * 1024  # bytes


class Connection(TConn):  # type: ignore[misc] # gunicorn ships no type information
    """`arrival` is the request that is coming in; `deadline` is when waiting for it ends, or for
    the client to hang up once we are `leaving`.  Once it is handed over, `label` and `whole` tell
    of it, and `rest` has come after it."""

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        # A client that was switched off, or left the wireless network, never says goodbye.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENCE // 2)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, SILENCE // 6)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE * 1000)
        # The parser gets whole requests from us and never reads the socket, so it cannot block.
        self.parser = get_parser(cfg, (), client)
        self.arrival = Arrival(LARGEST_BODY)
        self.label = Label()
        self.whole = False
        self.rest = b""
        self.deadline = 0.0
        self.leaving = False
        self.holds_place = False  # among those that may take as long as an answer takes

    def read(self) -> bytes | None:
        """What has come; `b""` when the client has hung up, `None` when nothing has come."""
        try:
            data: bytes = self.sock.recv(_PIECE)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        return data

    def write_now(self, data: bytes) -> None:
        """Sends what there is room for, which is all of it unless the client takes nothing."""
        with contextlib.suppress(OSError):
            self.sock.setblocking(False)
            self.sock.send(data)

    def takes_answers(self) -> bool:
        """False for a client that sends request after request and reads none of the answers."""
        unsent = array("i", [0])
        fcntl.ioctl(self.sock, termios.TIOCOUTQ, unsent)
        return unsent[0] < SEND_BUFFER // 2

    def expect_request(self) -> None:
        self.arrival = Arrival(LARGEST_BODY)
        self.sock.setblocking(False)

    def hand_over(self) -> None:
        """Gives the request to the parser."""
        self.label, self.whole = self.arrival.label, self.arrival.whole
        request, self.rest = self.arrival.take()
        self.arrival = Arrival(LARGEST_BODY)
        self.parser.unreader.unread(request)

    def begin_leaving(self) -> bool:
        """Tells the client that nothing more comes; False when it has gone already.

        Closing at once would reset the connection while it may still be sending, and take our
        last words with it.
        """
        self.leaving = True
        try:
            self.sock.setblocking(False)
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return True
