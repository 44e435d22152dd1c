"""Where connections wait: for a request to come in, for the next one, for the client to hang up.

No thread waits with them, so silent clients and slow ones cost a descriptor each and nothing else.
All of this runs on the worker's one polling thread.
"""

from __future__ import annotations

import logging
import selectors
import time
from collections.abc import Callable
from functools import partial

from axproxy.errors import ProxyError
from axproxy.server import refusals as door
from axproxy.server.connection import Connection

log = logging.getLogger(__name__)

FIRST_BYTE = 10.0  # seconds
HEAD = 10.0  # seconds from its first byte to its last
REQUEST = 60.0  # seconds for all of it: 4 MiB over a bad radio link take as long
GOODBYE = 2.0  # seconds for a client to read our last words and hang up

MOST_HELD = 64 * 1024 * 1024  # bytes of half requests, from all clients together


class WaitingRoom:
    """`admit` is given each connection whose request is complete; `closed` is told of each that was
    closed here."""

    def __init__(
        self,
        poller: selectors.BaseSelector,
        admit: Callable[[Connection], None],
        closed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._poller = poller
        self._admit = admit
        self._closed = closed
        self._clock = clock
        self._waiting: dict[Connection, None] = {}  # whoever has waited longest first
        self._held = 0  # bytes
        self._next_sweep = 0.0

    def wait_for_request(
        self, connection: Connection, patience: float, so_far: bytes = b""
    ) -> None:
        """`patience` is for the first byte, in seconds; `so_far` has come already."""
        connection.expect_request()
        self._watch(connection, patience)
        if so_far:
            self._hear(connection, so_far)

    def refuse(self, connection: Connection, refusal: ProxyError) -> None:
        """Answers without asking the application, and says goodbye."""
        door.answer(connection, connection.arrival.label, refusal)
        self.say_goodbye(connection)

    def say_goodbye(self, connection: Connection) -> None:
        self._forget(connection)
        if connection.begin_leaving():
            self._watch(connection, GOODBYE)
        else:
            self._close(connection)

    def make_room(self) -> None:
        """Lets whoever has waited longest go."""
        if self._waiting:
            self._give_up(next(iter(self._waiting)), door.TOO_MANY)

    def sweep(self, most_patience: float | None = None) -> None:
        """Lets those go whose time is over; `most_patience` cuts short the time of all."""
        now = self._clock()
        if most_patience is not None:
            for connection in self._waiting:
                connection.deadline = min(connection.deadline, now + most_patience)
        elif now < self._next_sweep:
            return
        self._next_sweep = now + 0.5
        for connection in [each for each in self._waiting if each.deadline <= now]:
            self._give_up(connection, door.TOO_SLOW)

    def _watch(self, connection: Connection, patience: float) -> None:
        connection.deadline = self._clock() + patience
        self._waiting[connection] = None
        self._poller.register(
            connection.sock, selectors.EVENT_READ, partial(self._readable, connection)
        )

    def _forget(self, connection: Connection) -> None:
        if connection in self._waiting:
            del self._waiting[connection]
            self._poller.unregister(connection.sock)
            self._held -= 0 if connection.leaving else len(connection.arrival)

    def _close(self, connection: Connection) -> None:
        self._forget(connection)
        connection.close()
        self._closed()

    def _give_up(self, connection: Connection, refusal: ProxyError) -> None:
        if connection.leaving or not len(connection.arrival):
            self._close(connection)
        else:
            self.refuse(connection, refusal)

    def _readable(self, connection: Connection, _socket: object) -> None:
        if connection not in self._waiting:  # an earlier event of the same moment has ended it
            return
        self._hear(connection, connection.read())

    def _hear(self, connection: Connection, data: bytes | None) -> None:
        try:
            if data == b"":
                self._close(connection)
            elif data and not connection.leaving:
                self._feed(connection, data)
        except Exception:  # one connection's trouble must not end the thread that serves all
            log.exception("a connection failed and is closed")
            self._close(connection)

    def _feed(self, connection: Connection, data: bytes) -> None:
        arrival = connection.arrival
        began = not len(arrival)
        had_head = arrival.head_complete
        self._held -= len(arrival)
        arrival.feed(data)
        self._held += len(arrival)
        if began:
            connection.deadline = self._clock() + HEAD
        if arrival.head_complete and not had_head:
            connection.deadline += REQUEST - HEAD
        if arrival.complete:
            self._let_in(connection)
            return
        if arrival.wants_continue:
            arrival.wants_continue = False
            connection.write_now(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._held > MOST_HELD:
            largest = max(self._waiting, key=lambda each: len(each.arrival))
            self._give_up(largest, door.TOO_MANY)

    def _let_in(self, connection: Connection) -> None:
        if connection.arrival.head_too_large:
            self.refuse(connection, door.HEAD_TOO_LARGE)
        elif not connection.takes_answers():
            log.info("a client reads none of its answers; its connection is closed")
            self._close(connection)
        else:
            self._forget(connection)
            self._admit(connection)
