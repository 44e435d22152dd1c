"""gunicorn's threaded worker, changed so that slow clients hold no thread.

gunicorn's own reads requests on the threads that answer them: each incomplete request holds a
thread, and as many of them as there are threads stall every client.  Here a request gets a thread
when it is complete; until then its connection is in the waiting room, on the polling thread.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from axproxy.server import refusals
from axproxy.server.connection import Connection
from axproxy.server.gunicorn_adapter import ThreadWorker, give, http_errors, new_parser
from axproxy.server.waiting_room import FIRST_BYTE_TIMEOUT, WaitingRoom

log = logging.getLogger(__name__)

# Requests for a state, not for an answer, are served from memory.  They have threads of their own,
# so that /health answers whatever all the others wait for.
_QUICK = frozenset({"GET", "HEAD", "OPTIONS"})
_QUICK_THREADS = 8

_LAST_REQUESTS = 2.0  # seconds for requests that are on their way when the order to stop comes


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn ships no type information
    """Answers at most `threads` requests at a time that may take as long as an answer takes.

    The next such request is refused at once, because it would wait without a place in the queue.
    When `worker_connections` are open and another comes, the one that has waited longest without a
    complete request is closed.
    """

    # Seconds in which a client must take what is sent: the card waits for it, and so do all others.
    SEND_TIMEOUT = 10.0

    def init_process(self) -> None:
        self._quick = ThreadPoolExecutor(_QUICK_THREADS, "quick")  # after the fork
        self._answering = 0
        super().init_process()

    def run(self) -> None:
        self._waiting_room = WaitingRoom(self.poller, self._admit, self._closed)
        super().run()

    def accept(self, listener: Any) -> None:
        try:
            client, address = listener.accept()
            parser = new_parser(self.cfg, address)
            connection = Connection(client, address, listener.getsockname(), parser)
        except BlockingIOError:
            return
        except OSError as error:  # no descriptor left, or the client has gone again
            log.debug("a connection was not accepted: %s", error)
            self._waiting_room.make_room()
            return
        self.nr_conns += 1
        self._waiting_room.wait_for_request(connection, FIRST_BYTE_TIMEOUT)
        if self.nr_conns >= self.worker_connections:
            self._waiting_room.make_room()

    def is_parent_alive(self) -> bool:
        """Called by gunicorn after each poll; a worker without its master stops as if told to.

        gunicorn leaves its loop without clearing `alive`, and then waits up to `graceful_timeout`
        for clients that go on using their connections.
        """
        if not super().is_parent_alive():
            self.alive = False
        return bool(self.alive)

    def murder_pending(self) -> None:
        """Called by gunicorn after each poll of the sockets."""
        self._waiting_room.sweep(None if self.alive else _LAST_REQUESTS)

    def handle(self, conn: Connection) -> bool:
        """Answer one request, on a thread; return whether the connection can be used again."""
        request = None
        try:
            conn.sock.settimeout(self.SEND_TIMEOUT)
            request = next(conn.parser)
            if not conn.whole:
                request.force_close()
            return bool(self._keepalive_after(conn, self.handle_request(request, conn)))
        except TimeoutError:
            log.info(
                "a client took nothing of its answer for %g s; it counts as gone",
                self.SEND_TIMEOUT,
            )
        except (ConnectionError, http_errors.NoMoreData, StopIteration) as error:
            log.debug("a connection ended: %s", error)
        except Exception as error:  # noqa: BLE001 - the client gets JSON whatever failed
            self._answer_error(conn, error)
        return False

    def finish_request(self, conn: Connection, fs: Future[bool]) -> None:
        """Runs on the polling thread, after `handle`."""
        self._answering -= conn.holds_place
        if not fs.cancelled() and not fs.exception() and fs.result():
            self._waiting_room.wait_for_request(conn, self.cfg.keepalive, conn.rest)
        else:
            self._waiting_room.linger(conn)

    def _admit(self, connection: Connection) -> None:
        quick = connection.arrival.label.method in _QUICK
        if not quick and self._answering >= self.cfg.threads:
            self._waiting_room.refuse(connection, refusals.BUSY)
            return
        connection.holds_place = not quick
        give(connection.parser, connection.take_request())
        pool = self._quick if quick else self.tpool
        future = pool.submit(self.handle, connection)  # raises where no thread can be started
        self._answering += connection.holds_place
        future.add_done_callback(
            lambda done: self.method_queue.defer(self.finish_request, connection, done)
        )

    def _closed(self) -> None:
        self.nr_conns -= 1

    def _answer_error(self, connection: Connection, error: Exception) -> None:
        refusal = refusals.refusal_for(error)
        if refusal is refusals.INTERNAL_ERROR:
            log.error("a request failed outside of the application", exc_info=error)
        refusals.answer(connection, connection.label, refusal)
