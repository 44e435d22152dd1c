"""The routes for whoever runs the service; they answer at once, whatever the engine does."""

from __future__ import annotations

from flask import Blueprint, Response

from axproxy.api.access import check_operator
from axproxy.api.http.responses import json_response
from axproxy.engine.protocol import Engine


class OpsRoutes:
    """`key` is the one that every request has to carry, `None` where there is none."""

    def __init__(self, engine: Engine, key: str | None = None) -> None:
        self._engine = engine
        self._key = key

    def blueprint(self) -> Blueprint:
        routes = Blueprint("ops", __name__)
        routes.get("/health")(self.health)
        routes.get("/ready")(self.ready)
        routes.post("/restart")(self.restart)
        return routes

    def health(self) -> Response:
        """What is known; 200 as long as we live."""
        return json_response(self._engine.health().as_json())

    def ready(self) -> Response:
        """200 only when a request would run now."""
        problem = self._engine.not_ready()
        if problem is None:
            return json_response({"ready": True})
        body = {"ready": False, "error": problem.message}
        return json_response(body, 503, problem.retry_after)

    def restart(self) -> Response:
        """An operator's order, accepted; /ready tells when it is carried out."""
        check_operator(self._key)
        self._engine.restart()
        return json_response({"status": "restarting"}, 202)
