"""The route for whoever watches many services at once."""

from __future__ import annotations

from flask import Blueprint, Response

from axproxy.api.http.requests import get_only
from axproxy.engine.protocol import Engine
from axproxy.ops.metrics import CONTENT_TYPE, Metrics


class MetricsRoutes:
    def __init__(self, engine: Engine) -> None:
        self._metrics = Metrics(engine.health)

    def blueprint(self) -> Blueprint:
        routes = Blueprint("metrics", __name__)
        get_only(routes, "/metrics", self.metrics)
        return routes

    def metrics(self) -> Response:
        return Response(self._metrics.page(), content_type=CONTENT_TYPE)
