"""Serves OpenAI's APIs, as far as Ollama serves them; responses are not stored."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, request

from axproxy.api.http.disconnect import gone_check
from axproxy.api.http.requests import get_only, read_body
from axproxy.api.http.responses import json_response
from axproxy.api.ollama.capabilities import find_for_details
from axproxy.api.ollama.defaults import begin_answer, with_defaults
from axproxy.api.ollama.embeddings import with_address
from axproxy.api.ollama.replies import Clock
from axproxy.api.openai.embeddings import embeddings_object, parse_embeddings
from axproxy.api.openai.errors import error_body
from axproxy.api.openai.replies import ChatReplies, ChatReplyHeader, CompletionReplies, model_object
from axproxy.api.openai.requests import ChatCall, parse_chat, parse_completion
from axproxy.api.openai.responses_replies import ResponseHeader, ResponsesReplies
from axproxy.api.openai.responses_requests import parse_responses
from axproxy.api.streaming import Encoder, respond
from axproxy.engine.protocol import Engine
from axproxy.errors import ProxyError
from axproxy.models.catalog import Models

_CHAT_NUMBERS, _RESPONSE_NUMBERS = 999, 999_999  # how many numbers there are for ids, as in Ollama


class OpenAIDialect:
    """OpenAI's APIs."""

    prefixes = ("/v1/",)

    def blueprint(self, engine: Engine, models: Models) -> Blueprint:
        return OpenAIRoutes(engine, models).blueprint()

    def error_body(self, error: ProxyError) -> tuple[dict[str, Any], int]:
        return error_body(error)


class OpenAIRoutes:
    """The routes of OpenAI's APIs.

    `now` returns the time, with a zone; `number` returns a number below its argument, which
    becomes a part of a reply's id.
    """

    def __init__(
        self,
        engine: Engine,
        models: Models,
        now: Clock = datetime.now,
        number: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self._engine = engine
        self._models = models
        self._now = now
        self._number = number

    def blueprint(self) -> Blueprint:
        routes = Blueprint("openai", __name__)
        routes.post("/v1/chat/completions")(self.chat)
        routes.post("/v1/completions")(self.completion)
        routes.post("/v1/responses")(self.responses)
        routes.post("/v1/responses/input_tokens")(self.input_tokens)
        routes.post("/v1/embeddings")(self.embeddings)
        get_only(routes, "/v1/models", self.models)
        routes.get("/v1/models/<name>")(self.model)
        return routes

    def chat(self) -> Response:
        return self._answer(parse_chat(read_body(), self._models), "chatcmpl", ChatReplies)

    def completion(self) -> Response:
        return self._answer(parse_completion(read_body(), self._models), "cmpl", CompletionReplies)

    def responses(self) -> Response:
        call = parse_responses(read_body(), self._models)
        header = ResponseHeader(
            self._number(_RESPONSE_NUMBERS),
            self._seconds(),
            call.request.requested_name,
            call.repeated,
        )
        answer = begin_answer(self._engine, call.model, call.request)
        response = respond(answer, ResponsesReplies(header, self._now), call.request.stream)
        if call.request.stream:
            response.cache_control.no_cache = True
        return response

    def input_tokens(self) -> Response:
        call = parse_responses(read_body(), self._models)
        gone = gone_check(request.environ)
        tokens = self._engine.count_tokens(
            call.model, with_defaults(call.model, call.request), gone
        )
        return json_response({"object": "response.input_tokens", "input_tokens": tokens})

    def embeddings(self) -> Response:
        call = parse_embeddings(read_body(), self._models)
        gone = gone_check(request.environ)
        found = self._engine.embed(call.call.model, with_address(call.call.request), gone)
        return json_response(embeddings_object(call, found))

    def models(self) -> Response:
        models = [model_object(model) for model in self._models.all()]
        return json_response({"object": "list", "data": models})

    def model(self, name: str) -> Response:
        model = find_for_details(self._models, name)
        return json_response(model_object(model, requested_name=name))

    def _answer(
        self, call: ChatCall, prefix: str, replies: Callable[[ChatReplyHeader], Encoder]
    ) -> Response:
        id_ = f"{prefix}-{self._number(_CHAT_NUMBERS)}"
        header = ChatReplyHeader(
            id_, self._seconds(), call.request.requested_name, call.include_usage
        )
        answer = begin_answer(self._engine, call.model, call.request)
        return respond(answer, replies(header), call.request.stream)

    def _seconds(self) -> int:
        return int(self._now().timestamp())
