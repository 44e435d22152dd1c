"""The routes of our own small API."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from axproxy.api.http.disconnect import gone_check
from axproxy.api.http.requests import read_body
from axproxy.api.http.responses import json_response
from axproxy.api.native.errors import error_body
from axproxy.api.native.replies import NativeReplies
from axproxy.api.native.requests import parse_generate, parse_load
from axproxy.api.ollama.defaults import begin_answer
from axproxy.api.streaming import respond
from axproxy.engine.protocol import Engine
from axproxy.errors import ProxyError
from axproxy.models.catalog import Models


class NativeDialect:
    """Our own small API.  Its errors are also those of `/health` and of unknown paths."""

    prefixes = ("/",)

    def blueprint(self, engine: Engine, models: Models) -> Blueprint:
        return NativeRoutes(engine, models).blueprint()

    def error_body(self, error: ProxyError) -> tuple[dict[str, Any], int]:
        return error_body(error)


class NativeRoutes:
    def __init__(self, engine: Engine, models: Models) -> None:
        self._engine = engine
        self._models = models

    def blueprint(self) -> Blueprint:
        routes = Blueprint("native", __name__)
        routes.post("/generate")(self.generate)
        routes.post("/load")(self.load)
        return routes

    def generate(self) -> Response:
        call = parse_generate(read_body(), self._models)
        answer = begin_answer(self._engine, call.model, call.request)
        return respond(answer, NativeReplies(), call.request.stream)

    def load(self) -> Response:
        model = parse_load(read_body(), self._models)
        self._engine.load(model, gone_check(request.environ))
        folder = str(model.folder) if model.folder else None
        return json_response({"status": "ok", "model": model.name, "model_path": folder})
