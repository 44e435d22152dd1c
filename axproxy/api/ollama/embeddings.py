"""Ollama's two routes for embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flask import Blueprint, Response, request

from axproxy.api.encoding import JSON
from axproxy.api.gojson.decode import Fields, compact, well_formed
from axproxy.api.http.disconnect import gone_check
from axproxy.api.http.requests import counted_address, read_body
from axproxy.api.ollama.capabilities import find_for_embedding, require_embeddings
from axproxy.api.ollama.options import parse_keep_alive
from axproxy.engine.protocol import Engine
from axproxy.errors import ClientError, UnknownModel
from axproxy.messages import EmbedRequest
from axproxy.models.catalog import Models
from axproxy.models.model import Model
from axproxy.models.names import NoName

MOST_INPUTS = 2048  # texts in one request, as in OpenAI's API


@dataclass(frozen=True)
class EmbedCall:
    """A request for embeddings; `dimensions` is how many values to keep, None for all."""

    model: Model
    requested_name: str
    request: EmbedRequest
    dimensions: int | None = None


def parse_embed(body: bytes, models: Models) -> EmbedCall:
    """Parse `POST /api/embed`; raises `ClientError`."""
    fields = Fields.read("EmbedRequest", body)
    truncate = fields.boolean("truncate", default=True)
    fields.mapping("options")
    dimensions = fields.integer("dimensions")
    name, given = fields.string("model"), fields.anything("input")
    keep_alive = parse_keep_alive(fields.anything("keep_alive"))
    try:
        model = find_for_embedding(models, name)
    except NoName as error:
        here = [known.name for known in models.all()]
        raise UnknownModel(f"model '{name}' not found", here) from error
    inputs = texts_in(given, "invalid input type")
    require_embeddings(model, name)
    return EmbedCall(
        model, name, EmbedRequest(inputs, truncate, keep_alive), kept(dimensions, model)
    )


def parse_embeddings(body: bytes, models: Models) -> EmbedCall:
    """Parse `POST /api/embeddings`, the older route; raises `ClientError`."""
    fields = Fields.read("EmbeddingRequest", body)
    prompt = fields.string("prompt")
    fields.mapping("options")
    name = fields.string("model")
    keep_alive = parse_keep_alive(fields.anything("keep_alive"))
    model = find_for_embedding(models, name)
    require_embeddings(model, name)
    inputs = (prompt,) if prompt else ()
    return EmbedCall(model, name, EmbedRequest(inputs, keep_alive=keep_alive))


def texts_in(given: Any, complaint: str) -> tuple[str, ...]:
    """Return the texts of an `input`: one or several.  Raises `ClientError`."""
    texts: list[Any] = given if isinstance(given, list) else [] if given is None else [given]
    if not all(isinstance(text, str) for text in texts):
        raise ClientError(complaint)
    if len(texts) > MOST_INPUTS:
        raise ClientError(f"there are more than {MOST_INPUTS} inputs; send fewer at a time")
    return tuple(well_formed(text) for text in texts)


def kept(dimensions: int, model: Model) -> int | None:
    """Return how many values to keep.  Raises `ClientError` for more than there are."""
    most = model.embedding_length
    if dimensions < 0 or (most and dimensions > most):
        limit = f" and at most {most}" if most else ""
        raise ClientError(f"dimensions must be at least 0{limit}")
    return dimensions or None


def normalised(vector: Sequence[float], dimensions: int | None = None) -> list[float]:
    """Return the first `dimensions` values at length 1, as Ollama does; zeros stay."""
    first = vector[:dimensions]
    length = math.sqrt(math.fsum(value * value for value in first))
    return [value / length for value in first] if length else [0.0] * len(first)


class OllamaEmbeddingRoutes:
    """The routes that turn texts into vectors."""

    def __init__(self, engine: Engine, models: Models) -> None:
        self._engine = engine
        self._models = models

    def add_to(self, routes: Blueprint) -> None:
        routes.post("/api/embed")(self.embed)
        routes.post("/api/embeddings")(self.embeddings)

    def embed(self) -> Response:
        call = parse_embed(read_body(), self._models)
        found = self._engine.embed(
            call.model, with_address(call.request), gone_check(request.environ)
        )
        body = {
            "model": call.requested_name,
            "embeddings": [normalised(vector, call.dimensions) for vector in found.vectors],
            "total_duration": round(found.total * 1e9),
            "load_duration": round(found.load * 1e9),
            "prompt_eval_count": found.prompt_tokens,
        }
        return Response(compact(body), content_type=JSON)

    def embeddings(self) -> Response:
        call = parse_embeddings(read_body(), self._models)
        found = self._engine.embed(
            call.model, with_address(call.request), gone_check(request.environ)
        )
        vector = list(found.vectors[0]) if found.vectors else []
        return Response(compact({"embedding": vector}), content_type=JSON)


def with_address(embed: EmbedRequest) -> EmbedRequest:
    """Return the request as one of the client that sends the present request."""
    return replace(embed, address=counted_address())
