"""The routes for operators and monitoring: `/health`, `/ready`, `/restart`, `/metrics`.

They answer at once, whatever the engine does.
"""

from __future__ import annotations

from flask import Blueprint, Response

from axproxy.api.access import Access
from axproxy.api.http.requests import get_only
from axproxy.api.http.responses import json_response
from axproxy.engine.protocol import Engine
from axproxy.ops.metrics import CONTENT_TYPE, Metrics

_REASON_FOR_OPERATORS = "a request would fail now; ask with the key, or on this machine, for why"


class OpsRoutes:
    """The routes; `access` decides who may restart the runtime, and who sees details."""

    def __init__(self, engine: Engine, access: Access, metrics: Metrics) -> None:
        self._engine = engine
        self._access = access
        self._metrics = metrics

    def blueprint(self) -> Blueprint:
        routes = Blueprint("ops", __name__)
        routes.get("/health")(self.health)
        routes.get("/ready")(self.ready)
        routes.post("/restart")(self.restart)
        get_only(routes, "/metrics", self.metrics)
        return routes

    def health(self) -> Response:
        """Return the state of the service; the status is 200 as long as the process lives.

        Watchdogs need no key for it.  Paths, pids and our sentences about them are for operators.
        """
        health = self._engine.health()
        seen = health if self._access.is_operator() else health.without_details()
        return json_response(seen.as_json())

    def ready(self) -> Response:
        """Answer 200 only if a request would run now, or would load the model and then run."""
        problem = self._engine.not_ready()
        if problem is None:
            body: dict[str, object] = {"ready": True}
            if self._engine.health().runtime.simulated:
                body["simulated"] = True
            if not self._engine.loaded():
                body["loaded"] = False
                body["note"] = "the model is not on the card now; a request loads it and waits"
            return json_response(body)
        reason = problem.message if self._access.is_operator() else _REASON_FOR_OPERATORS
        return json_response({"ready": False, "error": reason}, 503, problem.retry_after)

    def restart(self) -> Response:
        """Begin a restart of the runtime; `/ready` answers 200 once it is over."""
        self._access.check_operator()
        self._engine.restart()
        return json_response({"status": "restarting"}, 202)

    def metrics(self) -> Response:
        page = self._metrics.page(to_operator=self._access.is_operator())
        return Response(page, content_type=CONTENT_TYPE)
