"""Serves Anthropic's Messages API, as far as Ollama serves it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request

from axproxy.api.anthropic.errors import error_body
from axproxy.api.anthropic.replies import MessageHeader, MessagesReplies, estimate_tokens
from axproxy.api.anthropic.requests import parse_count, parse_messages
from axproxy.api.http.disconnect import gone_check
from axproxy.api.http.requests import read_body
from axproxy.api.http.responses import json_response
from axproxy.api.ollama.defaults import begin_answer, with_defaults
from axproxy.api.streaming import respond
from axproxy.engine.protocol import Engine
from axproxy.errors import ProxyError
from axproxy.models.catalog import Models


class AnthropicDialect:
    """Anthropic's API."""

    prefixes = ("/v1/messages", "/v1/messages/count_tokens")

    def blueprint(self, engine: Engine, models: Models) -> Blueprint:
        return AnthropicRoutes(engine, models).blueprint()

    def error_body(self, error: ProxyError) -> tuple[dict[str, Any], int]:
        return error_body(error)


class AnthropicRoutes:
    """The routes of the Messages API; `digits` returns the 24 hex digits of a reply's id."""

    def __init__(
        self,
        engine: Engine,
        models: Models,
        digits: Callable[[], str] = lambda: secrets.token_hex(12),
    ) -> None:
        self._engine = engine
        self._models = models
        self._digits = digits

    def blueprint(self) -> Blueprint:
        routes = Blueprint("anthropic", __name__)
        routes.post("/v1/messages")(self.messages)
        routes.post("/v1/messages/count_tokens")(self.count_tokens)
        return routes

    def messages(self) -> Response:
        call = parse_messages(read_body(), self._models)
        header = MessageHeader(
            f"msg_{self._digits()}", call.request.requested_name, estimate_tokens(call.request)
        )
        answer = begin_answer(self._engine, call.model, call.request)
        response = respond(answer, MessagesReplies(header), call.request.stream)
        if call.request.stream:
            response.cache_control.no_cache = True
        return response

    def count_tokens(self) -> Response:
        call = parse_count(read_body(), self._models)
        gone = gone_check(request.environ)
        tokens = self._engine.count_tokens(
            call.model, with_defaults(call.model, call.request), gone
        )
        return json_response({"input_tokens": tokens})
