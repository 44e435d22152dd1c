"""The routes of Ollama's API that need the engine, or describe a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, request

from axproxy.api.encoding import JSON
from axproxy.api.http.disconnect import gone_check
from axproxy.api.http.requests import get_only, read_body
from axproxy.api.http.responses import json_response
from axproxy.api.ollama.cloud import OllamaCloudRoutes
from axproxy.api.ollama.defaults import begin_answer, with_defaults
from axproxy.api.ollama.embeddings import OllamaEmbeddingRoutes
from axproxy.api.ollama.errors import error_body
from axproxy.api.ollama.models import ps_entry, show_body, tags_entry
from axproxy.api.ollama.pull import OllamaPullRoute
from axproxy.api.ollama.replies import (
    Clock,
    OllamaReplies,
    chat_replies,
    generate_replies,
    utc_now,
)
from axproxy.api.ollama.requests import (
    AnswerCall,
    LoadCall,
    OllamaCall,
    RenderCall,
    UnloadCall,
    parse_chat,
    parse_generate,
    parse_show,
)
from axproxy.api.ollama.store import OllamaStoreRoutes
from axproxy.api.streaming import respond
from axproxy.engine.protocol import Engine, Loaded
from axproxy.errors import ProxyError, RuntimeFault
from axproxy.models.catalog import Models

# Clients compare it as dotted integers; from 0.13 on they may expect tool calls to have ids.
VERSION = "0.33.0"


class OllamaDialect:
    """Ollama's API.  `now` gives the time for `created_at`, with a zone."""

    prefixes = ("/api/",)

    def __init__(self, now: Clock = utc_now) -> None:
        self._now = now

    def blueprint(self, engine: Engine, models: Models) -> Blueprint:
        routes = Blueprint("ollama", __name__)
        OllamaRoutes(engine, models, self._now).add_to(routes)
        OllamaStoreRoutes(engine, models).add_to(routes)
        OllamaPullRoute(models).add_to(routes)
        OllamaEmbeddingRoutes(engine, models).add_to(routes)
        OllamaCloudRoutes(models).add_to(routes)
        return routes

    def error_body(self, error: ProxyError) -> tuple[dict[str, Any], int]:
        return error_body(error)


class OllamaRoutes:
    """The routes that need the engine, or describe a model."""

    def __init__(self, engine: Engine, models: Models, now: Clock) -> None:
        self._engine = engine
        self._models = models
        self._now = now

    def add_to(self, routes: Blueprint) -> None:
        routes.get("/")(self.running)
        routes.get("/api/version")(self.version)
        routes.get("/api/tags")(self.tags)
        get_only(routes, "/api/ps", self.ps)
        routes.post("/api/show")(self.show)
        routes.post("/api/generate")(self.generate)
        routes.post("/api/chat")(self.chat)

    def running(self) -> Response:
        return Response("Ollama is running", content_type="text/plain; charset=utf-8")

    def version(self) -> Response:
        return json_response({"version": VERSION})

    def tags(self) -> Response:
        models = [tags_entry(model) for model in self._models.all()]
        return json_response({"models": models})

    def ps(self) -> Response:
        now = self._now()
        running = [ps_entry(self._still_known(loaded), now) for loaded in self._engine.loaded()]
        return json_response({"models": running})

    def _still_known(self, loaded: Loaded) -> Loaded:
        """Return what is loaded under its base's name if the model it was used as is deleted."""
        used = loaded.model
        if not used.base:
            return loaded
        known = {model.name: model for model in self._models.all()}
        if used.name in known or used.base not in known:
            return loaded
        base = replace(known[used.base], context_length=used.context_length)
        return replace(loaded, model=base)

    def show(self) -> Response:
        call = parse_show(read_body(), self._models)
        copilot = request.headers.get("User-Agent", "").startswith("GitHubCopilotChat/")
        body = show_body(
            call.model,
            call.system,
            call.options,
            copilot_name=call.requested_name if copilot else None,
        )
        return json_response(body)

    def generate(self) -> Response:
        call = parse_generate(read_body(), self._models)
        return self._answer(call, generate_replies)

    def chat(self) -> Response:
        call = parse_chat(read_body(), self._models)
        return self._answer(call, chat_replies)

    def _answer(self, call: OllamaCall, replies: Callable[[str, Clock], OllamaReplies]) -> Response:
        encoder = replies(call.requested_name, self._now)
        gone = gone_check(request.environ)
        match call:
            case UnloadCall():
                self._engine.unload(call.model)
                return Response(encoder.unloading(), content_type=JSON)
            case LoadCall():
                default = call.model.defaults.keep_alive
                keep_alive = default if call.keep_alive is None else call.keep_alive
                self._engine.load(call.model, gone, keep_alive)
                return Response(encoder.loaded(), content_type=JSON)
            case RenderCall():
                prompt = self._engine.render(
                    call.model, with_defaults(call.model, call.request), gone
                )
                return Response(encoder.rendered(prompt), content_type=JSON)
            case AnswerCall() if call.request.stream:
                try:
                    answer = begin_answer(self._engine, call.model, call.request)
                    return respond(answer, encoder, stream=True)
                except RuntimeFault as error:
                    # Ollama sends its runner's errors at the start of a stream without a charset.
                    body, status = error_body(error)
                    response = json_response(body, status, error.retry_after)
                    response.content_type = "application/json"
                    return response
            case AnswerCall():
                answer = begin_answer(self._engine, call.model, call.request)
                return respond(answer, encoder, stream=False)
