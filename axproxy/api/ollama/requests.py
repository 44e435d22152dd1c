"""Parses Ollama's requests: from bytes to the neutral request of all APIs.

The checks have the order of Ollama's handlers, so that the first complaint is the same: types, the
name, what the model cannot do, options, format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from axproxy.api.gojson.decode import Fields
from axproxy.api.ollama.capabilities import (
    find_for_details,
    refuse_insert,
    require_answers,
    require_media,
    require_thinking,
    require_tools,
)
from axproxy.api.ollama.options import (
    check_logprobs,
    parse_format,
    parse_keep_alive,
    parse_options,
    parse_think,
)
from axproxy.api.pictures import Media, picture_from
from axproxy.errors import ClientError, UnknownModel
from axproxy.messages import ChatRequest, Message, ToolCall, Truncation
from axproxy.models.catalog import Models
from axproxy.models.model import Model
from axproxy.models.names import NoName
from axproxy.output.json_format import AnswerFormat
from axproxy.output.tool_calls import arguments_of

_ARGUMENTS = "api.ToolCallFunctionArguments"


@dataclass(frozen=True)
class AnswerCall:
    """A request for an answer of `model`."""

    model: Model
    request: ChatRequest

    @property
    def requested_name(self) -> str:
        return self.request.requested_name


@dataclass(frozen=True)
class RenderCall:
    """A request for the prompt that the model would read."""

    model: Model
    request: ChatRequest

    @property
    def requested_name(self) -> str:
        return self.request.requested_name


@dataclass(frozen=True)
class LoadCall:
    """A request without a prompt: it loads the model and keeps it for `keep_alive` seconds.

    None keeps it as long as the service usually does.
    """

    model: Model
    requested_name: str
    keep_alive: float | None = None


@dataclass(frozen=True)
class UnloadCall:
    """A request without a prompt whose `keep_alive` is 0: it frees the card."""

    model: Model
    requested_name: str


OllamaCall = AnswerCall | RenderCall | LoadCall | UnloadCall


def parse_generate(body: bytes, models: Models) -> OllamaCall:
    """Parse `POST /api/generate`; raises `ClientError`.

    A prompt is a conversation of one user message, unless it is `raw`.
    """
    fields = Fields.read("GenerateRequest", body)
    common = _CommonFields(fields)
    prompt, system = fields.string("prompt"), fields.string("system")
    suffix, template = fields.string("suffix"), fields.string("template")
    raw, context = fields.boolean("raw"), fields.integers("context")
    images = fields.images("images")

    check_logprobs(fields)
    try:
        model = models.find(common.requested_name)
    except NoName as error:
        here = [model.name for model in models.all()]
        raise UnknownModel(f"model '{common.requested_name}' not found", here) from error
    if common.unloads and not prompt:
        return UnloadCall(model, common.requested_name)
    require_answers(model, common.requested_name, "generate")
    if raw and (template or system or context):
        raise ClientError("raw mode does not support template, system, or context")
    common.check_thinking(model)
    if suffix:
        refuse_insert(model)
    sampling, limits = parse_options(common.options)
    if not prompt:
        return LoadCall(model, common.requested_name, common.keep_alive)
    answer_format = common.format_of_text(model, images)
    before = [Message("system", system)] if system else []
    pictures = tuple(map(picture_from, images))
    request = ChatRequest(
        (*before, Message("user", prompt, pictures=pictures)),
        common.requested_name,
        sampling,
        limits,
        stream=common.stream,
        raw=raw,
        context=tuple(context),
        wants_context=not raw,
        keep_alive=common.keep_alive,
        think=common.think,
        format=answer_format,
        truncate=common.truncate,
    )
    return common.call(model, request)


def parse_chat(body: bytes, models: Models) -> OllamaCall:
    """Parse `POST /api/chat`; raises `ClientError`."""
    fields = Fields.read("ChatRequest", body)
    common = _CommonFields(fields)
    turns = fields.objects("messages", "api.Message")
    messages = tuple([_message(turn) for turn in turns])
    media = _media_of(turns)
    tools = _tools(fields)

    check_logprobs(fields)
    model = models.find(common.requested_name)
    if common.unloads and not messages:
        return UnloadCall(model, common.requested_name)
    require_answers(model, common.requested_name, "chat")
    common.check_thinking(model)
    if tools:
        require_tools(model)
    sampling, limits = parse_options(common.options)
    if not messages:
        return LoadCall(model, common.requested_name, common.keep_alive)
    answer_format = common.format_of_text(model, media.kinds)
    request = ChatRequest(
        media.with_pictures(messages),
        common.requested_name,
        sampling,
        limits,
        stream=common.stream,
        keep_alive=common.keep_alive,
        tools=tools,
        think=common.think,
        format=answer_format,
        truncate=common.truncate,
    )
    return common.call(model, request)


@dataclass(frozen=True)
class ShowCall:
    """A request for the details of a model, as it would be with these instructions and options."""

    model: Model
    requested_name: str
    system: str
    options: Mapping[str, Any]


def parse_show(body: bytes, models: Models) -> ShowCall:
    """Parse `POST /api/show`; raises `ClientError`."""
    fields = Fields.read("ShowRequest", body)
    system, options = fields.string("system"), fields.mapping("options")
    fields.string("template")
    fields.boolean("verbose")
    requested_name = name_in(fields)
    return ShowCall(find_for_details(models, requested_name), requested_name, system, options)


def name_in(fields: Fields) -> str:
    """Return the requested name: `ollama` sends an empty `model` beside the old `name`."""
    model, name = fields.string("model"), fields.string("name")
    return model or name


class _CommonFields:
    """The fields that both requests have."""

    def __init__(self, fields: Fields) -> None:
        self.requested_name = fields.string("model")
        self.stream = fields.boolean("stream", default=True)
        self.options = fields.mapping("options")
        keep_alive, think = fields.anything("keep_alive"), fields.anything("think")
        self._format: Any = fields.anything("format")
        self.render_only = fields.boolean("_debug_render_only")
        truncate = fields.boolean("truncate", default=True)
        shift = fields.boolean("shift", default=True)
        self.truncate = _truncation(truncate, shift)
        self.keep_alive, self.think = parse_keep_alive(keep_alive), parse_think(think)

    @property
    def unloads(self) -> bool:
        return self.keep_alive == 0

    def call(self, model: Model, request: ChatRequest) -> AnswerCall | RenderCall:
        return (RenderCall if self.render_only else AnswerCall)(model, request)

    def check_thinking(self, model: Model) -> None:
        if self.think:
            require_thinking(model, self.requested_name)

    def format_of_text(self, model: Model, images: list[str]) -> AnswerFormat | None:
        if images:
            require_media(model, ["images"], self.requested_name)
        return parse_format(self._format)


def _truncation(truncate: bool, shift: bool) -> Truncation:
    """Return what may go, as in Ollama: without `shift` the last message must fit as it is."""
    if not truncate:
        return "nothing"
    return "text" if shift else "turns"


def _message(turn: Fields) -> Message:
    return Message(
        role=turn.string("role").lower(),
        content=turn.string("content"),
        thinking=turn.string("thinking"),
        tool_name=turn.string("tool_name"),
        tool_call_id=turn.string("tool_call_id"),
        tool_calls=_tool_calls(turn.objects("tool_calls", "api.ToolCall")),
    )


def _media_of(turns: list[Fields]) -> Media:
    media = Media()
    for index, turn in enumerate(turns):
        for image in turn.images("images"):
            media.add_image(image)
        media.end_message(index)
    return media


def _tools(fields: Fields) -> tuple[Mapping[str, Any], ...]:
    """Return the functions on offer, as the client describes them."""
    for tool in fields.objects("tools", "api.Tool", "api.Tools"):
        tool.string("type")
        function = tool.object("function", "api.ToolFunction")
        for text in ("name", "description"):
            function.string(text)
        function.object("parameters", "api.ToolFunctionParameters")
    return tuple(tool or {} for tool in fields.anything("tools") or ())


def _tool_calls(calls: list[Fields]) -> tuple[ToolCall, ...]:
    """Return the calls that the assistant made in a turn."""
    return tuple([_tool_call(call) for call in calls])


def _tool_call(call: Fields) -> ToolCall:
    function = call.object("function", "api.ToolCallFunction")
    function.integer("index")
    name = function.string("name")
    try:
        # Ollama accepts only objects; clients written for OpenAI's API send them in a string.
        arguments = arguments_of(function.anything("arguments"))
    except ValueError as error:
        raise function.misfit("arguments", _ARGUMENTS) from error
    return ToolCall(name, arguments, call.string("id"))
