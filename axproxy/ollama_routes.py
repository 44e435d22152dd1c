"""The routes of Ollama's API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from flask import Blueprint, Response, abort, request

from axproxy import ollama_models, ollama_wire
from axproxy.client_socket import gone_check
from axproxy.engine import Engine
from axproxy.errors import ProxyError
from axproxy.http_errors import json_response, proxy_error
from axproxy.http_requests import read_body
from axproxy.messages import ChatRequest
from axproxy.ollama_replies import Clock, Replies, chat_replies, generate_replies, wording
from axproxy.streaming import JSON, respond

# Clients compare it as dotted integers; from 0.13 on they may expect tool calls to have ids.
VERSION = "0.32.0"


def utc_now() -> datetime:
    return datetime.now(UTC)


class OllamaRoutes:
    """`now` tells the time for `created_at`, with a zone."""

    def __init__(self, engine: Engine, now: Clock = utc_now) -> None:
        self._engine = engine
        self._now = now

    def blueprint(self) -> Blueprint:
        routes = Blueprint("ollama", __name__)
        routes.get("/")(self.running)
        routes.get("/api/version")(self.version)
        routes.get("/api/tags")(self.tags)
        routes.get("/api/ps")(self.ps)
        routes.post("/api/show")(self.show)
        routes.post("/api/generate")(self.generate)
        routes.post("/api/chat")(self.chat)
        routes.register_error_handler(ProxyError, lambda error: proxy_error(error, wording(error)))
        return routes

    def running(self) -> Response:
        return Response("Ollama is running", content_type="text/plain; charset=utf-8")

    def version(self) -> Response:
        return json_response({"version": VERSION})

    def tags(self) -> Response:
        return json_response({"models": [ollama_models.listed(self._engine.card())]})

    def ps(self) -> Response:
        if request.method == "HEAD":  # Ollama has no HEAD here, though it has it on /api/tags
            abort(405, valid_methods=["GET"])
        models = []
        if self._engine.not_ready() is None:
            models.append(ollama_models.loaded(self._engine.card(), self._now()))
        return json_response({"models": models})

    def show(self) -> Response:
        card = self._engine.card()
        ollama_wire.parse_show(read_body(), card.name)
        return json_response(ollama_models.shown(card))

    def generate(self) -> Response:
        wish = ollama_wire.parse_generate(read_body(), self._engine.card().name)
        return self._answer(wish, generate_replies)

    def chat(self) -> Response:
        wish = ollama_wire.parse_chat(read_body(), self._engine.card().name)
        return self._answer(wish, chat_replies)

    def _answer(
        self, wish: ChatRequest | ollama_wire.Load, replies: Callable[[str, Clock], Replies]
    ) -> Response:
        encoder = replies(wish.model, self._now)
        gone = gone_check(request.environ)
        if isinstance(wish, ollama_wire.Load):
            self._engine.load(gone)
            return Response(encoder.loaded(), content_type=JSON)
        return respond(self._engine.answer(wish, gone), encoder, wish.stream)
