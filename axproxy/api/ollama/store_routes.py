"""The routes with which Ollama's clients manage models; and those that need an embedding model."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn

from flask import Blueprint, Response, request

from axproxy.api.encoding import NDJSON
from axproxy.api.gojson.decode import compact
from axproxy.api.http.requests import read_body
from axproxy.api.http.responses import json_response
from axproxy.api.ollama import store as wire
from axproxy.errors import ClientError
from axproxy.models.catalog import Models

_DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}")


class OllamaStoreRoutes:
    def __init__(self, models: Models) -> None:
        self._models = models

    def add_to(self, routes: Blueprint) -> None:
        routes.post("/api/pull")(self.pull)
        routes.post("/api/push")(self._refuse(wire.refuse_push))
        routes.delete("/api/delete")(self._refuse(wire.refuse_delete))
        routes.post("/api/copy")(self._refuse(wire.refuse_copy))
        routes.post("/api/create")(self._refuse(wire.refuse_create))
        routes.post("/api/embed")(self._refuse(wire.refuse_embed))
        routes.post("/api/embeddings")(self._refuse(wire.refuse_embeddings))
        routes.route("/api/blobs/<digest>", methods=["HEAD", "POST"])(self.blob)

    def pull(self) -> Response:
        pull = wire.parse_pull(read_body(), self._models)
        if pull.stream:
            return Response(wire.pull_lines(pull), content_type=NDJSON)
        body = {"status": "success"} if pull.model else {"error": wire.NO_SUCH_MANIFEST}
        status = 200 if pull.model else 500
        return Response(compact(body), status, content_type="application/json")

    def _refuse(self, refuse: Callable[[bytes, Models], NoReturn]) -> Callable[[], NoReturn]:
        def view() -> NoReturn:
            refuse(read_body(), self._models)

        view.__name__ = refuse.__name__  # Flask tells views apart by it
        return view

    def blob(self, digest: str) -> Response:
        if not _DIGEST.fullmatch(digest):
            raise ClientError("invalid digest format")
        if request.method == "HEAD":
            return json_response({"error": f'blob "{digest}" not found'}, 404)
        raise wire.refusal("creating models")
