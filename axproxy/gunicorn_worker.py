"""gunicorn's threaded worker, with manners towards clients that keep a connection half open."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

# Without bytes from a client that is sending, or room for ours at one that is reading.
PATIENCE = 30.0  # seconds
CLOSERS = 16


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn ships no type information
    """Two additions to gunicorn 27, whose accepting thread must never wait for a client.

    Closing lingers for up to two seconds until the other side closes, too; gunicorn does that on
    the accepting thread, so ten such clients would stall everybody for twenty seconds.  And a
    client that sends half a request would hold a thread for ever.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._closers: ThreadPoolExecutor | None = None

    def init_process(self) -> None:
        self._closers = ThreadPoolExecutor(CLOSERS, "closer")  # after the fork
        super().init_process()

    def handle(self, conn: TConn) -> Any:
        conn.init = partial(self._init, conn)
        return super().handle(conn)

    def _init(self, conn: TConn) -> None:
        type(conn).init(conn)  # sets the socket to wait for ever, before each request
        conn.sock.settimeout(PATIENCE)

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        conn.close = partial(self._close, conn)
        super().finish_request(conn, fs)

    def _close(self, conn: TConn, graceful: bool = False) -> None:
        if graceful and self.alive and self._closers:
            self._closers.submit(type(conn).close, conn, graceful)
        else:
            type(conn).close(conn)
