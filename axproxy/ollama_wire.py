"""Ollama's requests: from bytes to what every API means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from axproxy.durations import FOREVER, parse_duration
from axproxy.errors import ClientError, UnknownModel
from axproxy.go_json import Fields, well_formed
from axproxy.messages import ChatRequest, Message
from axproxy.model_names import full_name, require, with_tag
from axproxy.ollama_options import parse_options


class NotOffered(ClientError):
    """Something that Ollama can do and this service cannot."""

    status_hint = 501


@dataclass(frozen=True)
class Load:
    """A request without a prompt: it only wants the model to be there.  `model` is the name as
    the client wrote it."""

    model: str


def parse_generate(body: bytes, resident: str) -> ChatRequest | Load:
    """What `POST /api/generate` asks of the model named `resident`.

    A prompt is a conversation of one user message, unless it is `raw`.  Raises `ClientError`.
    """
    fields = Fields.read("GenerateRequest", body)
    model, prompt, system = (fields.string(name) for name in ("model", "prompt", "system"))
    raw, stream = fields.boolean("raw"), fields.boolean("stream", default=True)
    template, suffix = fields.string("template"), fields.string("suffix")
    context = fields.items("context", "[]int")
    images = fields.items("images", "[]api.ImageData")
    seconds = keep_alive(fields.anything("keep_alive"))
    options = fields.mapping("options")

    require(model, resident)
    _refuse_unload(seconds, prompt)
    if raw and (template or system or context):
        raise ClientError("raw mode does not support template, system, or context")
    if suffix:
        raise ClientError(f"{full_name(resident)} does not support insert")
    if images:
        raise _no_images(model)
    sampling, limits = parse_options(options)
    if not prompt:
        return Load(model)
    before = [Message("system", system)] if system else []
    messages = (*before, Message("user", prompt))
    return ChatRequest(messages, model, sampling, limits, stream=stream, raw=raw)


def parse_chat(body: bytes, resident: str) -> ChatRequest | Load:
    """What `POST /api/chat` asks of the model named `resident`.  Raises `ClientError`."""
    fields = Fields.read("ChatRequest", body)
    model, stream = fields.string("model"), fields.boolean("stream", default=True)
    turns = fields.objects("messages", "api.Message")
    images = [image for turn in turns for image in turn.items("images", "[]api.ImageData")]
    messages = tuple(Message(turn.string("role").lower(), turn.string("content")) for turn in turns)
    tools = fields.items("tools", "api.Tools")
    seconds = keep_alive(fields.anything("keep_alive"))
    options = fields.mapping("options")

    if not model:
        raise ClientError("model is required")
    require(model, resident)
    _refuse_unload(seconds, messages)
    if tools:
        raise ClientError(f"{full_name(resident)} does not support tools")
    if images:
        raise _no_images(model)
    sampling, limits = parse_options(options)
    if not messages:
        return Load(model)
    return ChatRequest(messages, model, sampling, limits, stream=stream)


def parse_show(body: bytes, resident: str) -> None:
    """Raises `ClientError` unless `POST /api/show` asks for the model named `resident`."""
    fields = Fields.read("ShowRequest", body)
    # Ollama's own command line sends an empty "model" beside the old field's "name".
    model = fields.string("model") or fields.string("name")
    if not model:
        raise ClientError("model is required")
    try:
        require(model, resident)
    except UnknownModel as error:
        raise UnknownModel(f"model '{with_tag(model)}' not found") from error


def keep_alive(value: Any) -> float | None:
    """Seconds that the model should stay loaded; `None` leaves it to the service.

    A number counts seconds, a string is a duration with a unit, negative means for ever.  Raises
    `ClientError` in Go's words.
    """
    match value:
        case None:
            return None
        case bool() | list() | dict():
            raise ClientError(f"Unsupported type: '{_GO_TYPES[type(value)]}'")
        case str():
            try:
                return parse_duration(well_formed(value))
            except ValueError as error:
                raise ClientError(str(error)) from error
        case _:
            return FOREVER if value < 0 else float(value)


_GO_TYPES = {bool: "bool", list: "[]interface {}", dict: "map[string]interface {}"}


def _refuse_unload(seconds: float | None, asked: object) -> None:
    # To answer "unload" would be a lie that `ollama ps` gives away, and to load the model would
    # be the opposite of what was asked.
    if seconds == 0 and not asked:
        raise NotOffered(
            "unloading a model is not available: it stays loaded as long as the service runs; "
            "to free the card, stop the service"
        )


def _no_images(model: str) -> ClientError:
    return ClientError(f'"{model}" does not support images')
