"""The route of Anthropic's API, as far as Ollama serves it."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from flask import Blueprint, Response, request

from axproxy.api.anthropic import requests as wire
from axproxy.api.anthropic.replies import Head, MessagesReplies, guessed_tokens
from axproxy.api.http.disconnect import gone_check
from axproxy.api.http.requests import read_body
from axproxy.api.streaming import respond
from axproxy.engine.protocol import Engine


class AnthropicRoutes:
    """`digits` are the 24 hex digits that name a reply."""

    def __init__(
        self, engine: Engine, digits: Callable[[], str] = lambda: secrets.token_hex(12)
    ) -> None:
        self._engine = engine
        self._digits = digits

    def blueprint(self) -> Blueprint:
        routes = Blueprint("anthropic", __name__)
        routes.post("/v1/messages")(self.messages)
        return routes

    def messages(self) -> Response:
        wish = wire.parse(read_body(), self._engine.card())
        head = Head(f"msg_{self._digits()}", wish.model, guessed_tokens(wish))
        answer = self._engine.answer(wish, gone_check(request.environ))
        response = respond(answer, MessagesReplies(head), wish.stream)
        if wish.stream:
            response.cache_control.no_cache = True
        return response
