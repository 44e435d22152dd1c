"""Ollama's requests: from bytes to what every API means.

What is wrong is looked for in the order in which Ollama's handlers do, so that the first complaint
is theirs: types, the name, what the model cannot do, options, format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from axproxy.api.gojson.decode import Fields
from axproxy.api.ollama.capabilities import (
    refuse_insert,
    refuse_media,
    require_thinking,
    require_tools,
)
from axproxy.api.ollama.fields import check_logprobs, form, keep_alive, think
from axproxy.api.ollama.names import NoName, require, require_for_details
from axproxy.api.ollama.options import parse_options
from axproxy.api.ollama.tools import parse_tool_calls, parse_tools
from axproxy.engine.protocol import ModelCard
from axproxy.errors import ClientError, UnknownModel
from axproxy.messages import ChatRequest, Message
from axproxy.output.json_format import AnswerFormat


@dataclass(frozen=True)
class Load:
    """A request without a prompt: it only wants the model to be there, for `keep_alive` seconds
    (`None`: as ever).  `model` is the name as the client wrote it."""

    model: str
    keep_alive: float | None = None


@dataclass(frozen=True)
class Unload:
    """A request without a prompt that keeps the model for no time: it wants the card to be free."""

    model: str


Wish = ChatRequest | Load | Unload


def parse_generate(body: bytes, card: ModelCard) -> Wish:
    """What `POST /api/generate` asks of the model of `card`.

    A prompt is a conversation of one user message, unless it is `raw`.  Raises `ClientError`.
    """
    fields = Fields.read("GenerateRequest", body)
    common = _Common(fields)
    prompt, system = fields.string("prompt"), fields.string("system")
    suffix, template = fields.string("suffix"), fields.string("template")
    raw, context = fields.boolean("raw"), fields.integers("context")
    images = fields.images("images")

    check_logprobs(fields)
    try:
        require(common.model, card.name)
    except NoName as error:
        raise UnknownModel(f"model '{common.model}' not found") from error
    if common.unloads and not prompt:
        return Unload(common.model)
    if raw and (template or system or context):
        raise ClientError("raw mode does not support template, system, or context")
    common.check_thinking(card)
    if suffix:
        refuse_insert(card)
    sampling, limits = parse_options(common.options)
    if not prompt:
        return Load(common.model, common.keep_alive)
    answer_form = common.form_of_text(images)
    before = [Message("system", system)] if system else []
    return ChatRequest(
        (*before, Message("user", prompt)),
        common.model,
        sampling,
        limits,
        stream=common.stream,
        raw=raw,
        context=tuple(context),
        wants_context=not raw,
        keep_alive=common.keep_alive,
        think=common.think,
        format=answer_form,
    )


def parse_chat(body: bytes, card: ModelCard) -> Wish:
    """What `POST /api/chat` asks of the model of `card`.  Raises `ClientError`."""
    fields = Fields.read("ChatRequest", body)
    common = _Common(fields)
    turns = fields.objects("messages", "api.Message")
    messages = tuple(_message(turn) for turn in turns)
    images = [image for turn in turns for image in turn.images("images")]
    tools = parse_tools(fields)

    check_logprobs(fields)
    require(common.model, card.name)
    if common.unloads and not messages:
        return Unload(common.model)
    common.check_thinking(card)
    if tools:
        require_tools(card)
    sampling, limits = parse_options(common.options)
    if not messages:
        return Load(common.model, common.keep_alive)
    answer_form = common.form_of_text(images)
    return ChatRequest(
        messages,
        common.model,
        sampling,
        limits,
        stream=common.stream,
        keep_alive=common.keep_alive,
        tools=tools,
        think=common.think,
        format=answer_form,
    )


def parse_show(body: bytes, resident: str) -> str:
    """The name by which `POST /api/show` asks for the model `resident`.  Raises `ClientError`."""
    fields = Fields.read("ShowRequest", body)
    for ignored in ("system", "template"):
        fields.string(ignored)
    fields.boolean("verbose")
    fields.mapping("options")
    model = named(fields)
    require_for_details(model, resident)
    return model


def named(fields: Fields) -> str:
    """The model that is meant: Ollama's own command line sends an empty `model` beside the old
    `name`."""
    model, name = fields.string("model"), fields.string("name")
    return model or name


class _Common:
    """What both requests have."""

    def __init__(self, fields: Fields) -> None:
        self.model = fields.string("model")
        self.stream = fields.boolean("stream", default=True)
        self.options = fields.mapping("options")
        self.keep_alive = keep_alive(fields.anything("keep_alive"))
        self.think = think(fields.anything("think"))
        self._format: Any = fields.anything("format")
        for ignored in ("truncate", "shift", "_debug_render_only"):
            fields.boolean(ignored)

    @property
    def unloads(self) -> bool:
        return self.keep_alive == 0

    def check_thinking(self, card: ModelCard) -> None:
        if self.think:
            require_thinking(card, self.model)

    def form_of_text(self, images: list[str]) -> AnswerFormat | None:
        refuse_media(["images"] if images else [], self.model)
        return form(self._format)


def _message(turn: Fields) -> Message:
    return Message(
        role=turn.string("role").lower(),
        content=turn.string("content"),
        thinking=turn.string("thinking"),
        tool_calls=parse_tool_calls(turn),
        tool_name=turn.string("tool_name"),
        tool_call_id=turn.string("tool_call_id"),
    )
