"""Whether the client is still there, while nothing is written to it."""

from __future__ import annotations

import select
import socket
from collections.abc import Mapping
from typing import Any

from axproxy.engine.protocol import Gone


def gone_check(environ: Mapping[str, Any]) -> Gone:
    """Asks the connection behind a WSGI request whether its other end has hung up.

    While the model reads a prompt nothing is sent, so no write can fail; only looking tells.
    Where the server does not say which socket it is, the client counts as there.
    """
    connection = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    if connection is None:
        return lambda: False
    return lambda: has_hung_up(connection)


def has_hung_up(connection: socket.socket) -> bool:
    """Takes nothing: the next request's bytes, if there are any, stay where they are.

    A client that only closes its sending half, as `nc -N` does, looks the same as one that left;
    no client that reads an answer over HTTP does so, and those that leave must not hold the card.
    """
    try:
        readable = select.poll()
        readable.register(connection, select.POLLIN)
        if not readable.poll(0):  # a socket with a timeout would wait for it in `recv`
            return False
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except (OSError, ValueError):  # ValueError: closed on our side, it has no number any more
        return True
