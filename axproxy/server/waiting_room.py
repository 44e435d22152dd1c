"""Wait, without a thread, on connections that have no complete request or are being closed.

A silent or slow client costs one descriptor and nothing else.  Everything here runs on the worker's
one polling thread.
"""

from __future__ import annotations

import logging
import selectors
import time
from collections.abc import Callable
from functools import partial

from axproxy.errors import ProxyError
from axproxy.server import refusals
from axproxy.server.connection import Connection

log = logging.getLogger(__name__)

FIRST_BYTE_TIMEOUT = 10.0  # seconds
HEAD_TIMEOUT = 10.0  # seconds from the first byte of the head to its last
REQUEST_TIMEOUT = 60.0  # seconds for the whole request: 4 MiB over a bad radio link take as long
LINGER_TIMEOUT = 2.0  # seconds for a client to read the end of our reply and hang up

MOST_BUFFERED = 64 * 1024 * 1024  # bytes of incomplete requests, from all clients together


class WaitingRoom:
    """Holds connections until their request is complete; the poller calls it when they have data.

    `admit` is called with each connection whose request is complete, `closed` after each connection
    that was closed here.
    """

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
        self._waiting: dict[Connection, None] = {}  # in the order in which they began to wait
        self._buffered = 0  # bytes
        self._next_sweep = 0.0

    def wait_for_request(self, connection: Connection, timeout: float, so_far: bytes = b"") -> None:
        """Wait `timeout` seconds for the first byte; `so_far` has already been received."""
        connection.expect_request()
        self._watch(connection, timeout)
        if so_far:
            self._received(connection, so_far)

    def refuse(self, connection: Connection, refusal: ProxyError) -> None:
        """Answer without the application, then close the connection."""
        refusals.answer(connection, connection.arrival.label, refusal)
        self.linger(connection)

    def linger(self, connection: Connection) -> None:
        """Close our side, and the connection once the client has hung up or the time is over."""
        self._forget(connection)
        if connection.stop_sending():
            self._watch(connection, LINGER_TIMEOUT)
        else:
            self._close(connection)

    def make_room(self) -> None:
        """Close the connection that has waited longest."""
        if self._waiting:
            self._give_up(next(iter(self._waiting)), refusals.TOO_MANY)

    def sweep(self, most: float | None = None) -> None:
        """Give up connections whose time is over; no wait may last longer than `most` seconds."""
        now = self._clock()
        if most is not None:
            for connection in self._waiting:
                connection.deadline = min(connection.deadline, now + most)
        elif now < self._next_sweep:
            return
        self._next_sweep = now + 0.5
        for connection in [each for each in self._waiting if each.deadline <= now]:
            self._give_up(connection, refusals.TOO_SLOW)

    def _watch(self, connection: Connection, timeout: float) -> None:
        connection.deadline = self._clock() + timeout
        self._waiting[connection] = None
        self._poller.register(
            connection.sock, selectors.EVENT_READ, partial(self._readable, connection)
        )

    def _forget(self, connection: Connection) -> None:
        if connection in self._waiting:
            del self._waiting[connection]
            self._poller.unregister(connection.sock)
            self._buffered -= 0 if connection.closing else len(connection.arrival)

    def _close(self, connection: Connection) -> None:
        self._forget(connection)
        connection.close()
        self._closed()

    def _give_up(self, connection: Connection, refusal: ProxyError) -> None:
        if connection.closing or not len(connection.arrival):
            self._close(connection)
        else:
            self.refuse(connection, refusal)

    def _readable(self, connection: Connection, _socket: object) -> None:
        if connection not in self._waiting:  # closed by an earlier event of the same poll
            return
        self._received(connection, connection.read())

    def _received(self, connection: Connection, data: bytes | None) -> None:
        try:
            if data == b"":
                self._close(connection)
            elif data and not connection.closing:
                self._feed(connection, data)
        except Exception:  # one connection's fault must not end the thread that serves them all
            log.exception("a connection failed and is closed")
            self._close(connection)

    def _feed(self, connection: Connection, data: bytes) -> None:
        arrival = connection.arrival
        began = not len(arrival)
        had_head = arrival.head_complete
        self._buffered -= len(arrival)
        arrival.feed(data)
        self._buffered += len(arrival)
        if began:
            connection.deadline = self._clock() + HEAD_TIMEOUT
        if arrival.head_complete and not had_head:
            connection.deadline += REQUEST_TIMEOUT - HEAD_TIMEOUT
        if arrival.complete:
            self._let_in(connection)
            return
        if arrival.wants_continue:
            arrival.wants_continue = False
            connection.write_now(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._buffered > MOST_BUFFERED:
            largest = max(self._waiting, key=lambda each: len(each.arrival))
            self._give_up(largest, refusals.TOO_MANY)

    def _let_in(self, connection: Connection) -> None:
        if connection.arrival.head_too_large:
            self.refuse(connection, refusals.HEAD_TOO_LARGE)
        elif not connection.takes_answers():
            log.info("a client reads none of its answers; its connection is closed")
            self._close(connection)
        else:
            self._forget(connection)
            self._admit(connection)
