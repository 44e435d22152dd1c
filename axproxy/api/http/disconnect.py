"""Whether the client is still connected, while nothing is written to it."""

from __future__ import annotations

import select
import socket
from collections.abc import Mapping
from typing import Any

from axproxy.engine.protocol import Gone


def gone_check(environ: Mapping[str, Any]) -> Gone:
    """Return a function that checks whether the client of a WSGI request has hung up.

    While the model reads a prompt nothing is sent, so no write can fail and only this check notices
    it.  If the server does not provide the socket, the client counts as connected.
    """
    connection = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    if connection is None:
        return lambda: False
    return lambda: has_hung_up(connection)


def has_hung_up(connection: socket.socket) -> bool:
    """Return whether the other end has closed the connection.

    It consumes nothing: bytes of the next request stay in the socket.  A client that only closes
    its sending half, as `nc -N` does, looks like a client that left.  No HTTP client that reads its
    answer does that, and clients that leave must not hold the card.
    """
    try:
        readable = select.poll()
        readable.register(connection, select.POLLIN)
        if not readable.poll(0):  # a socket with a timeout would wait for it in `recv`
            return False
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except (OSError, ValueError):  # ValueError: closed on our side, so it has no descriptor
        return True
