"""The HTTP layer on a real socket, without any other process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from werkzeug.serving import WSGIRequestHandler, make_server

from axproxy.settings import Settings
from backend import create_app
from tests.support.fakes import FakeEngine, FakeModels


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def served(
    engine: FakeEngine, models: FakeModels, settings: Settings | None = None
) -> Iterator[str]:
    """Serve the HTTP layer; yield its URL."""
    app = create_app(settings or Settings(), engine, models)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
