"""The routes for operators and monitoring: `/health`, `/ready`, `/restart`, `/metrics`.

They answer at once, whatever the engine does.
"""

from __future__ import annotations

from flask import Blueprint, Response

from axproxy.api.access import check_operator
from axproxy.api.http.requests import get_only
from axproxy.api.http.responses import json_response
from axproxy.engine.protocol import Engine
from axproxy.ops.metrics import CONTENT_TYPE, Metrics


class OpsRoutes:
    """The routes; `key` is what requests must send, None where no key is needed."""

    def __init__(self, engine: Engine, key: str | None = None) -> None:
        self._engine = engine
        self._key = key
        self._metrics = Metrics(engine.health)

    def blueprint(self) -> Blueprint:
        routes = Blueprint("ops", __name__)
        routes.get("/health")(self.health)
        routes.get("/ready")(self.ready)
        routes.post("/restart")(self.restart)
        get_only(routes, "/metrics", self.metrics)
        return routes

    def health(self) -> Response:
        """Return the state of the service; the status is 200 as long as the process lives."""
        return json_response(self._engine.health().as_json())

    def ready(self) -> Response:
        """Answer 200 only if a request would run now."""
        problem = self._engine.not_ready()
        if problem is None:
            return json_response({"ready": True})
        body = {"ready": False, "error": problem.message}
        return json_response(body, 503, problem.retry_after)

    def restart(self) -> Response:
        """Begin a restart of the runtime; `/ready` answers 200 once it is over."""
        check_operator(self._key)
        self._engine.restart()
        return json_response({"status": "restarting"}, 202)

    def metrics(self) -> Response:
        return Response(self._metrics.page(), content_type=CONTENT_TYPE)
