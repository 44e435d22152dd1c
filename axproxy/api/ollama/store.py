"""The routes with which Ollama's clients manage models: here there is one, and it stays."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn

from flask import Blueprint, Response, request

from axproxy.api.gojson.decode import Fields, quoted
from axproxy.api.http.requests import read_body
from axproxy.api.http.responses import json_response
from axproxy.api.ollama.requests import name_in
from axproxy.errors import ClientError, UnknownModel
from axproxy.models.catalog import Models
from axproxy.models.names import CloudModel, InvalidName, ModelName, NoName, same_model

_DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}")


class NotAvailable(ClientError):
    """Ollama would do this, and this service does not."""

    status_hint = 403


def refusal(what: str) -> NotAvailable:
    return NotAvailable(
        f"{what} is not available here: this service runs the one model that AX650_MODEL_PATH names"
    )


class OllamaStoreRoutes:
    def __init__(self, models: Models) -> None:
        self._models = models

    def add_to(self, routes: Blueprint) -> None:
        routes.post("/api/push")(self._refuse(refuse_push))
        routes.delete("/api/delete")(self._refuse(refuse_delete))
        routes.post("/api/copy")(self._refuse(refuse_copy))
        routes.post("/api/create")(self._refuse(refuse_create))
        routes.route("/api/blobs/<digest>", methods=["HEAD", "POST"])(self.blob)

    def _refuse(self, refuse: Callable[[bytes, Models], NoReturn]) -> Callable[[], NoReturn]:
        def view() -> NoReturn:
            refuse(read_body(), self._models)

        view.__name__ = refuse.__name__  # Flask needs a name for each view
        return view

    def blob(self, digest: str) -> Response:
        if not _DIGEST.fullmatch(digest):
            raise ClientError("invalid digest format")
        if request.method == "HEAD":
            return json_response({"error": f'blob "{digest}" not found'}, 404)
        raise refusal("creating models")


def refuse_push(body: bytes, _models: Models) -> NoReturn:
    fields = _read("PushRequest", body, switches=("insecure", "stream"))
    if not name_in(fields):
        raise NoName("model is required")
    raise refusal("pushing models")


def refuse_delete(body: bytes, models: Models) -> NoReturn:
    model = name_in(_read("DeleteRequest", body))
    try:
        models.find(model)
    except InvalidName as error:
        raise InvalidName(f"name {quoted(model)} is invalid") from error
    except CloudModel as error:
        raise UnknownModel(f"model '{model}' not found") from error
    raise refusal("deleting models")


def refuse_copy(body: bytes, models: Models) -> NoReturn:
    fields = _read("CopyRequest", body)
    source, destination = fields.string("source"), fields.string("destination")
    for name, text in (("source", source), ("destination", destination)):
        try:
            ModelName.parse(text)
        except InvalidName as error:
            raise InvalidName(f"{name} {quoted(text)} is invalid") from error
    if not any(same_model(source, model.name) for model in models.all()):
        raise UnknownModel(f"model {quoted(source)} not found")
    raise refusal("copying models")


def refuse_create(body: bytes, _models: Models) -> NoReturn:
    fields = _read("CreateRequest", body, switches=("stream",), texts=("from", "quantize"))
    ModelName.parse(name_in(fields))
    if not (fields.string("from") or fields.mapping("files", "map[string]string")):
        raise ClientError("neither 'from' or 'files' was specified")
    raise refusal("creating models")


def _read(
    struct: str, body: bytes, *, switches: tuple[str, ...] = (), texts: tuple[str, ...] = ()
) -> Fields:
    """Read a request and check the types of its unused fields."""
    fields = Fields.read(struct, body)
    for name in switches:
        fields.boolean(name)
    for name in texts:
        fields.string(name)
    return fields
