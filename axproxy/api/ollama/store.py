"""The routes with which Ollama's clients make, copy and delete models."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from typing import NoReturn

from flask import Blueprint, Response, request

from axproxy.api.encoding import NDJSON
from axproxy.api.gojson.decode import Fields, compact, quoted
from axproxy.api.http.disconnect import gone_check
from axproxy.api.http.requests import read_body
from axproxy.api.http.responses import empty_response, json_response
from axproxy.api.ollama.models import template_of
from axproxy.api.ollama.options import parse_options
from axproxy.api.ollama.pull import NO_SUCH_MANIFEST
from axproxy.api.ollama.requests import name_in
from axproxy.engine.protocol import Engine
from axproxy.errors import ClientError, ClientGone, UnknownModel
from axproxy.messages import Message
from axproxy.models.catalog import Models
from axproxy.models.model import Model, ModelDefaults
from axproxy.models.names import (
    CloudModel,
    InvalidName,
    ModelName,
    NoName,
    same_model,
    short_name,
)

_DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}")


class NotAvailable(ClientError):
    """Ollama would do this, and this service does not."""

    status_hint = 403


LONGEST_UNLOAD = 60.0  # seconds in which a model must leave the card to be deleted
_NO_FILES = "only models for these cards can be used, so none is made of files; use FROM and a name"


class OllamaStoreRoutes:
    def __init__(self, engine: Engine, models: Models) -> None:
        self._engine = engine
        self._models = models

    def add_to(self, routes: Blueprint) -> None:
        routes.post("/api/push")(self.push)
        routes.delete("/api/delete")(self.delete)
        routes.post("/api/copy")(self.copy)
        routes.post("/api/create")(self.create)
        routes.route("/api/blobs/<digest>", methods=["HEAD", "POST"])(self.blob)

    def push(self) -> NoReturn:
        fields = _read("PushRequest", read_body(), switches=("insecure", "stream"))
        if not name_in(fields):
            raise NoName("model is required")
        raise NotAvailable("models cannot be pushed from here; copy their folders instead")

    def blob(self, digest: str) -> Response:
        if not _DIGEST.fullmatch(digest):
            raise ClientError("invalid digest format")
        if request.method == "HEAD":
            return json_response({"error": f'blob "{digest}" not found'}, 404)
        raise NotAvailable(_NO_FILES)

    def copy(self) -> Response:
        source, name = parse_copy(read_body(), self._models)
        self._models.create(name, source, source.defaults, copy=True)
        return empty_response()

    def create(self) -> Response:
        call = parse_create(read_body(), self._models)
        if call.base is None:
            lines = [{"status": "pulling manifest"}, {"error": call.problem}]
        else:
            made = self._models.create(call.name, call.base, call.defaults, copy=False)
            lines = [{"status": status} for status in create_statuses(call, made)]
        if call.stream:
            body = b"".join(compact(line) + b"\n" for line in lines)
            return Response(body, content_type=NDJSON)
        status = 200 if call.base else 500
        return Response(compact(lines[-1]), status, content_type="application/json")

    def delete(self) -> Response:
        model = parse_delete(read_body(), self._models)
        self._models.delete(model, lambda: self._free(model))
        return empty_response()

    def _free(self, model: Model) -> None:
        """Have a model with files leave the card before they are deleted."""
        gone = gone_check(request.environ)
        deadline = time.monotonic() + LONGEST_UNLOAD
        while any(loaded.model.folder == model.folder for loaded in self._engine.loaded()):
            self._engine.unload(model)
            if time.monotonic() > deadline:
                raise ClientError(f"'{model.name}' is answering; stop it first", status=409)
            if gone():
                raise ClientGone
            time.sleep(0.1)


@dataclass(frozen=True)
class CreateCall:
    """A model to be made from `base`, which is None where there is none; `problem` says so."""

    name: str
    base: Model | None
    defaults: ModelDefaults
    stream: bool
    problem: str = ""


def parse_create(body: bytes, models: Models) -> CreateCall:
    """Parse `POST /api/create`; raises `ClientError`."""
    fields = _read("CreateRequest", body, texts=("quantize",))
    stream = fields.boolean("stream", default=True)
    name = name_in(fields)
    ModelName.parse(name)
    source, template = fields.string("from"), fields.string("template")
    files = fields.mapping("files", "map[string]string")
    if not (source or files):
        raise ClientError("neither 'from' or 'files' was specified")
    if files or fields.mapping("adapters", "map[string]string"):
        raise NotAvailable(_NO_FILES)
    try:
        base = models.find(source)
    except ClientError as error:
        problem = f"{NO_SUCH_MANIFEST}; {error.message}"
        return CreateCall(name, None, ModelDefaults(), stream, problem)
    if template and template.strip() != template_of(base).strip():
        raise ClientError(
            "the model's own template makes the prompts here; leave TEMPLATE out of the Modelfile"
        )
    parameters = {**base.defaults.parameters, **fields.mapping("parameters")}
    parse_options(parameters)
    turns = fields.objects("messages", "api.Message")
    messages = tuple(Message(turn.string("role").lower(), turn.string("content")) for turn in turns)
    defaults = ModelDefaults(
        system=fields.string("system") or base.defaults.system,
        parameters=parameters,
        messages=messages or base.defaults.messages,
        license=_license(fields) or base.defaults.license,
    )
    return CreateCall(short_name(name), base, defaults, stream)


def create_statuses(call: CreateCall, made: Model) -> list[str]:
    """Return what Ollama reports while it makes a model."""
    layers = [
        *([call.defaults.system] if call.defaults.system else []),
        *([str(dict(call.defaults.parameters))] if call.defaults.parameters else []),
        *([str(call.defaults.messages)] if call.defaults.messages else []),
        *call.defaults.license,
    ]
    digests = [hashlib.sha256(layer.encode(errors="replace")).hexdigest() for layer in layers]
    return [
        *([f"using existing layer sha256:{call.base.digest}"] if call.base else []),
        *(f"creating new layer sha256:{digest}" for digest in digests),
        f"creating new layer sha256:{made.digest}",
        "writing manifest",
        "success",
    ]


def parse_copy(body: bytes, models: Models) -> tuple[Model, str]:
    """Parse `POST /api/copy`; return the model and its new name.  Raises `ClientError`."""
    fields = _read("CopyRequest", body)
    source, destination = fields.string("source"), fields.string("destination")
    for name, text in (("source", source), ("destination", destination)):
        try:
            ModelName.parse(text)
        except InvalidName as error:
            raise InvalidName(f"{name} {quoted(text)} is invalid") from error
    found = next((model for model in models.all() if same_model(source, model.name)), None)
    if found is None:
        raise UnknownModel(f"model {quoted(source)} not found")
    return found, short_name(destination)


def parse_delete(body: bytes, models: Models) -> Model:
    """Parse `DELETE /api/delete`; raises `ClientError`."""
    name = name_in(_read("DeleteRequest", body))
    try:
        model = models.find(name)
    except InvalidName as error:
        raise InvalidName(f"name {quoted(name)} is invalid") from error
    except CloudModel as error:
        raise UnknownModel(f"model '{name}' not found") from error
    if not same_model(name, model.name):  # an alias must not delete what it stands for
        raise UnknownModel(f"model '{name}' not found")
    return model


def _license(fields: Fields) -> tuple[str, ...]:
    """Return the licence, which may be one text or several."""
    match fields.anything("license"):
        case str() as text if text:
            return (text,)
        case list() as texts:
            return tuple(text for text in texts if isinstance(text, str))
    return ()


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
