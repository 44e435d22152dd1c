"""The route of OpenAI's newer API, as far as Ollama serves it: nothing is stored."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime

from flask import Blueprint, Response, request

from axproxy.api.http.disconnect import gone_check
from axproxy.api.http.requests import read_body
from axproxy.api.ollama.replies import Clock
from axproxy.api.openai import responses_requests as wire
from axproxy.api.openai.responses_replies import ResponseHeader, ResponsesReplies
from axproxy.api.streaming import respond
from axproxy.engine.protocol import Engine
from axproxy.models.catalog import Models


class ResponsesRoutes:
    """`now` tells the time, with a zone; `number` names a reply."""

    def __init__(
        self,
        engine: Engine,
        models: Models,
        now: Clock = datetime.now,
        number: Callable[[], int] = lambda: secrets.randbelow(999_999),
    ) -> None:
        self._engine = engine
        self._models = models
        self._now = now
        self._number = number

    def blueprint(self) -> Blueprint:
        routes = Blueprint("responses", __name__)
        routes.post("/v1/responses")(self.responses)
        return routes

    def responses(self) -> Response:
        call = wire.parse(read_body(), self._models)
        created = int(self._now().timestamp())
        head = ResponseHeader(self._number(), created, call.request.model, call.repeated)
        answer = self._engine.answer(call.model, call.request, gone_check(request.environ))
        response = respond(answer, ResponsesReplies(head, self._now), call.request.stream)
        if call.request.stream:
            response.cache_control.no_cache = True
        return response
