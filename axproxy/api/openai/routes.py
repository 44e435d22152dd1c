"""The routes of OpenAI's API, as far as Ollama serves them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime

from flask import Blueprint, Response, request

from axproxy.api.http.disconnect import gone_check
from axproxy.api.http.requests import get_only, read_body
from axproxy.api.http_errors import json_response
from axproxy.api.ollama.capabilities import find_for_details
from axproxy.api.ollama.replies import Clock
from axproxy.api.openai import requests as wire
from axproxy.api.openai.replies import ChatReplies, ChatReplyHeader, CompletionReplies, model_object
from axproxy.api.streaming import Encoder, respond
from axproxy.engine.protocol import Engine
from axproxy.models.catalog import Models


class OpenAIRoutes:
    """`now` tells the time, with a zone; `number` names a reply."""

    def __init__(
        self,
        engine: Engine,
        models: Models,
        now: Clock = datetime.now,
        number: Callable[[], int] = lambda: secrets.randbelow(999),
    ) -> None:
        self._engine = engine
        self._models = models
        self._now = now
        self._number = number

    def blueprint(self) -> Blueprint:
        routes = Blueprint("openai", __name__)
        routes.post("/v1/chat/completions")(self.chat)
        routes.post("/v1/completions")(self.completion)
        routes.post("/v1/embeddings")(self.embeddings)
        get_only(routes, "/v1/models", self.models)
        routes.get("/v1/models/<name>")(self.model)
        return routes

    def chat(self) -> Response:
        call = wire.parse_chat(read_body(), self._models)
        return self._answer(call, "chatcmpl", ChatReplies)

    def completion(self) -> Response:
        call = wire.parse_completion(read_body(), self._models)
        return self._answer(call, "cmpl", CompletionReplies)

    def embeddings(self) -> Response:
        wire.refuse_embeddings(read_body(), self._models)

    def models(self) -> Response:
        models = [model_object(model) for model in self._models.all()]
        return json_response({"object": "list", "data": models})

    def model(self, name: str) -> Response:
        return json_response(
            model_object(find_for_details(self._models, name), requested_name=name)
        )

    def _answer(
        self, call: wire.ChatCall, prefix: str, replies: Callable[[ChatReplyHeader], Encoder]
    ) -> Response:
        head = ChatReplyHeader(
            f"{prefix}-{self._number()}",
            int(self._now().timestamp()),
            call.request.model,
            call.include_usage,
        )
        answer = self._engine.answer(call.model, call.request, gone_check(request.environ))
        return respond(answer, replies(head), call.request.stream)
