"""The routes of our own small API."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, request

from axproxy.api.gojson.decode import quoted
from axproxy.api.http.disconnect import gone_check
from axproxy.api.http.requests import CLIENT, get_only, read_body
from axproxy.api.http.responses import json_response
from axproxy.api.native.errors import error_body
from axproxy.api.native.replies import NativeReplies
from axproxy.api.native.requests import GenerateCall, parse_generate, parse_load
from axproxy.api.native.sessions import RememberedAnswer, Sessions
from axproxy.api.ollama.defaults import begin_answer
from axproxy.api.streaming import respond
from axproxy.engine.protocol import Engine
from axproxy.errors import ClientError, ProxyError
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
        self._sessions = Sessions()

    def blueprint(self) -> Blueprint:
        routes = Blueprint("native", __name__)
        routes.post("/generate")(self.generate)
        routes.post("/load")(self.load)
        routes.delete("/sessions/<name>")(self.forget)
        get_only(routes, "/config/context-window", self.context_window)
        return routes

    def generate(self) -> Response:
        call = parse_generate(read_body(), self._models)
        if call.session:
            return self._go_on(call)
        answer = begin_answer(self._engine, call.model, call.request)
        return respond(answer, NativeReplies(), call.request.stream)

    def _go_on(self, call: GenerateCall) -> Response:
        client, name, sessions = _client(), call.session, self._sessions
        *system, question = call.request.messages
        before = sessions.before(client, name, system[0].content if system else "")
        chat = replace(call.request, messages=(*before, question))
        answer = RememberedAnswer(
            begin_answer(self._engine, call.model, chat),
            lambda text: sessions.add(client, name, question.content, text),
        )
        return respond(answer, NativeReplies(), chat.stream)

    def forget(self, name: str) -> Response:
        """Forget a conversation of the client that asks."""
        if not self._sessions.forget(_client(), name):
            raise ClientError(f"there is no session {quoted(name[:64])} of yours", status=404)
        return json_response({"status": "ok"})

    def context_window(self) -> Response:
        """Return how many tokens prompt and answer may have together."""
        model = self._models.default()
        length = self._engine.health().runtime.context_length or model.context_length
        return json_response({"model": model.name, "context_length": length})

    def load(self) -> Response:
        model = parse_load(read_body(), self._models)
        self._engine.load(model, gone_check(request.environ))
        folder = str(model.folder) if model.folder else None
        return json_response({"status": "ok", "model": model.name, "model_path": folder})


def _client() -> str:
    """Return who sends the present request: by the key, else by the address."""
    client: str = request.environ.get(CLIENT, "")
    return client
