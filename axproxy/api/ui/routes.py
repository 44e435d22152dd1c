"""Serves the page, and the stream of states that keeps it up to date."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, abort, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from axproxy.api.access import Access
from axproxy.api.gojson.decode import compact
from axproxy.api.http.requests import get_only
from axproxy.api.ollama.models import tags_entry
from axproxy.engine.protocol import Engine
from axproxy.errors import ProxyError, Stopping
from axproxy.models.catalog import Models

STATIC = Path(__file__).with_name("static")
FILES = {path.name for path in STATIC.iterdir()}
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
INTERVAL = 1.0  # seconds between two states
LONGEST = 600.0  # seconds of one stream; the page then asks again
# Each stream holds one of the threads that answer /health.
MOST_WATCHERS = 4

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


class UiRoutes:
    def __init__(self, engine: Engine, models: Models, access: Access) -> None:
        self._engine = engine
        self._models = models
        self._access = access
        self._watchers = threading.BoundedSemaphore(MOST_WATCHERS)

    def blueprint(self) -> Blueprint:
        routes = Blueprint("ui", __name__)
        get_only(routes, "/ui", lambda: self.file("index.html"))
        routes.get("/ui/<name>")(self.file)
        get_only(routes, "/ui/events", self.events)
        return routes

    def file(self, name: str) -> Response:
        if name not in FILES:
            abort(404)
        type_ = f"{_TYPES[Path(name).suffix]}; charset=utf-8"
        response = Response((STATIC / name).read_bytes(), content_type=type_)
        response.add_etag()
        response.cache_control.no_cache = True  # asked for again, so that an upgrade is seen
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.make_conditional(request)
        return response

    def events(self) -> Response:
        """Return a stream of states, as server-sent events."""
        if not self._watchers.acquire(blocking=False):
            raise ProxyError(
                f"{MOST_WATCHERS} pages are open; close one", retry_after=10, status=503
            )
        details = self._access.is_operator()
        response = Response(self._states(details), content_type="text/event-stream")
        response.call_on_close(_once(self._watchers.release))
        response.cache_control.no_store = True
        response.headers["X-Accel-Buffering"] = "no"
        return response

    def _states(self, details: bool) -> Iterator[bytes]:
        ends = time.monotonic() + LONGEST
        while time.monotonic() < ends and not isinstance(self._engine.not_ready(), Stopping):
            yield b"data: " + compact(self.state(details)) + b"\n\n"
            time.sleep(INTERVAL)

    def state(self, details: bool) -> dict[str, Any]:
        """Return what the page shows; `details` are for operators."""
        health = self._engine.health()
        problem = self._engine.not_ready()
        return {
            "health": (health if details else health.without_details()).as_json(),
            "problem": problem.message if problem and details else None,
            "models": [tags_entry(model) for model in self._models.all()],
            "loaded": [loaded.model.name for loaded in self._engine.loaded()],
            "operator": details,
        }


def _once(function: Callable[[], object]) -> Callable[[], object]:
    """Return a function that calls this one once: a response may be closed more than once."""
    return functools.cache(function)


def lead_browsers_to_the_page() -> AnyResponse | None:
    """Redirect a browser that asks for `/`; programs get what Ollama says there."""
    wants_page = "text/html" in request.headers.get("Accept", "")
    if request.path == "/" and request.method == "GET" and wants_page:
        return redirect("/ui", 302)
    return None
