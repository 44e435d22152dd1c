"""What the service and the worker say to each other: lines of JSON on a private Unix socket.

    {"do": "info"}                       -> {"info": {…}}
    {"do": "answer", "ids": [1, 2], …}   -> {"reused": 1} {"token": 5} … {"end": "stop", …}
    {"do": "embed", "inputs": [[1, 2]]}  -> {"vectors": [[…]]}

Each connection asks one thing.  What fails ends with `{"error": …, "fault": …}`.  A service that
no longer wants an answer closes the connection; the worker looks for that between two tokens.
"""

from __future__ import annotations

import json
import socket
from typing import Any, Literal

LONGEST_LINE = 16 << 20  # bytes
_RECEIVE = 65_536

# `prompt`: this request can never run.  `card`: the library or the card failed.  `busy`: another
# answer is on.  `stopping`: the worker has been told to end.
Fault = Literal["prompt", "card", "busy", "stopping"]


class BrokenWire(Exception):
    """The other side closed the connection, or sent what is no line of JSON."""


def send_line(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send one message.  Raises `OSError`."""
    connection.sendall(json.dumps(message, separators=(",", ":")).encode() + b"\n")


class LineReader:
    """Reads the messages of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = bytearray()

    def read(self) -> dict[str, Any]:
        """Return the next message.

        Raises `BrokenWire`, and `OSError`; `TimeoutError` loses nothing of a line that has begun.
        """
        searched = 0
        while (end := self._rest.find(b"\n", searched)) < 0:
            searched = len(self._rest)
            if searched > LONGEST_LINE:
                raise BrokenWire("a line is too long")
            data = self._connection.recv(_RECEIVE)
            if not data:
                raise BrokenWire("the connection is closed")
            self._rest += data
        line = bytes(self._rest[:end])
        del self._rest[: end + 1]
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BrokenWire("a line is not JSON") from error
        if not isinstance(message, dict):
            raise BrokenWire("a line is not an object")
        return message

    @property
    def has_line(self) -> bool:
        """Whether a message has come already."""
        return b"\n" in self._rest
