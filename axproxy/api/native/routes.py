"""The routes of our own small API."""

from __future__ import annotations

from flask import Blueprint, Response, request

from axproxy.api.http.disconnect import gone_check
from axproxy.api.http.requests import read_body
from axproxy.api.http_errors import json_response
from axproxy.api.native import requests as native_wire
from axproxy.api.native.replies import NativeReplies
from axproxy.api.streaming import respond
from axproxy.engine.protocol import Engine


class NativeRoutes:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def blueprint(self) -> Blueprint:
        routes = Blueprint("native", __name__)
        routes.post("/generate")(self.generate)
        routes.post("/load")(self.load)
        return routes

    def generate(self) -> Response:
        wish = native_wire.parse_generate(read_body(), self._engine.card().name)
        answer = self._engine.answer(wish, gone_check(request.environ))
        return respond(answer, NativeReplies(), wish.stream)

    def load(self) -> Response:
        card = self._engine.card()
        native_wire.parse_load(read_body(), card)
        self._engine.load(gone_check(request.environ))
        return json_response({"status": "ok", "model": card.name, "model_path": card.path})
