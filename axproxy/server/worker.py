"""gunicorn's threaded worker, in which no client can hold a thread by being slow.

gunicorn's own reads requests on the threads that answer them: each half request holds one, and as
many of them as there are threads stall everybody.  Here a request gets a thread when all of it is
there; until then its connection waits in the lobby, on the polling thread.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from gunicorn.http.errors import NoMoreData
from gunicorn.workers.gthread import ThreadWorker

from axproxy.server import refusals as door
from axproxy.server.connection import Connection
from axproxy.server.waiting_room import FIRST_BYTE, WaitingRoom

log = logging.getLogger(__name__)

# What asks for a state and not for an answer comes from memory.  It has threads of its own, so
# that /health answers whatever all the others wait for.
_QUICK = frozenset({"GET", "HEAD", "OPTIONS"})
_QUICK_THREADS = 8

_LAST_REQUESTS = 2.0  # seconds for those that are on their way when we are told to leave


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn ships no type information
    """As many requests as gunicorn's `threads` may take as long as an answer takes; the next one is
    refused at the door, for it would wait without a place in the line.

    Of `worker_connections` the one that has waited longest without a complete request goes when
    another comes.
    """

    # Seconds in which a client takes what is sent: the card waits for it, and so do all others.
    SEND_PATIENCE = 10.0

    def init_process(self) -> None:
        self._quick = ThreadPoolExecutor(_QUICK_THREADS, "quick")  # after the fork
        self._answering = 0
        super().init_process()

    def run(self) -> None:
        self._lobby = WaitingRoom(self.poller, self._admit, self._closed)
        super().run()

    def accept(self, listener: Any) -> None:
        try:
            client, address = listener.accept()
            connection = Connection(self.cfg, client, address, listener.getsockname())
        except BlockingIOError:
            return
        except OSError as error:  # no descriptor left, or the client has gone again
            log.debug("a connection was not accepted: %s", error)
            self._lobby.make_room()
            return
        self.nr_conns += 1
        self._lobby.wait_for_request(connection, FIRST_BYTE)
        if self.nr_conns >= self.worker_connections:
            self._lobby.make_room()

    def murder_pending(self) -> None:
        """gunicorn calls this after each look at the sockets."""
        self._lobby.sweep(None if self.alive else _LAST_REQUESTS)

    def handle(self, conn: Connection) -> bool:
        """Answers one request, on a thread; whether the connection can be used again."""
        request = None
        try:
            conn.sock.settimeout(self.SEND_PATIENCE)
            request = next(conn.parser)
            if not conn.whole:
                request.force_close()
            return bool(self._keepalive_after(conn, self.handle_request(request, conn)))
        except TimeoutError:
            log.info(
                "a client took nothing of its answer for %g s; it counts as gone",
                self.SEND_PATIENCE,
            )
        except (ConnectionError, NoMoreData, StopIteration) as error:
            log.debug("a connection ended: %s", error)
        except Exception as error:  # noqa: BLE001 - whatever broke, the client gets JSON
            self._answer_error(conn, error)
        return False

    def finish_request(self, conn: Connection, fs: Future[bool]) -> None:
        """On the polling thread, after `handle`."""
        self._answering -= conn.holds_place
        if not fs.cancelled() and not fs.exception() and fs.result():
            self._lobby.wait_for_request(conn, self.cfg.keepalive, conn.rest)
        else:
            self._lobby.say_goodbye(conn)

    def _admit(self, connection: Connection) -> None:
        quick = connection.arrival.label.method in _QUICK
        if not quick and self._answering >= self.cfg.threads:
            self._lobby.refuse(connection, door.BUSY)
            return
        connection.holds_place = not quick
        connection.hand_over()
        pool = self._quick if quick else self.tpool
        future = pool.submit(self.handle, connection)  # fails where no thread can be had
        self._answering += connection.holds_place
        future.add_done_callback(
            lambda done: self.method_queue.defer(self.finish_request, connection, done)
        )

    def _closed(self) -> None:
        self.nr_conns -= 1

    def _answer_error(self, connection: Connection, error: Exception) -> None:
        refusal = door.refusal_for(error)
        if refusal is door.OUR_FAULT:
            log.error("a request failed outside of the application", exc_info=error)
        door.answer(connection, connection.label, refusal)
