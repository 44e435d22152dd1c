"""Parses Anthropic's requests as Ollama parses them: bytes become a neutral request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from axproxy.api.gojson.decode import EOF, Fields, quoted, well_formed, well_formed_throughout
from axproxy.api.gojson.syntax import corrupt_at
from axproxy.api.ollama.capabilities import require_answers, require_media, require_tools
from axproxy.api.ollama.options import parse_options
from axproxy.api.ollama.thinking import other_servers_switch
from axproxy.api.pictures import Media
from axproxy.api.tools import Offer, functions, only
from axproxy.errors import ClientError
from axproxy.messages import ChatRequest, Message, ToolCall
from axproxy.models.catalog import Models
from axproxy.models.model import Model

_NO_MESSAGES = "messages is required"
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_BLOCKS = "[]anthropic.ContentBlock"
_SERVER_BLOCKS = ("redacted_thinking", "server_tool_use", "mcp_tool_use")


@dataclass(frozen=True)
class MessagesCall:
    """A request for an answer of `model`."""

    model: Model
    request: ChatRequest


def parse_messages(body: bytes, models: Models) -> MessagesCall:
    """Parse a request to `POST /v1/messages`.  Raises `ClientError`."""
    return _parse(Fields.read("MessagesRequest", body, "anthropic", EOF), models)


def parse_count(body: bytes, models: Models) -> MessagesCall:
    """Parse a request to `POST /v1/messages/count_tokens`: the same, but without an answer."""
    fields = Fields.read("MessagesRequest", body, "anthropic", EOF)
    return _parse(fields, models, to_answer=False)


def _parse(fields: Fields, models: Models, *, to_answer: bool = True) -> MessagesCall:
    stream, requested_name = fields.boolean("stream"), fields.string("model")
    max_tokens, options = fields.integer("max_tokens"), _options(fields)
    messages = fields.objects("messages", "anthropic.MessageParam")
    offer = _offer(fields)
    config = fields.object("output_config", "anthropic.OutputConfig")
    think = _think(fields, config)
    if not requested_name:
        raise ClientError("model is required")
    if to_answer and max_tokens <= 0:
        raise ClientError("max_tokens is required and must be positive")
    if not messages:
        raise ClientError(_NO_MESSAGES)
    conversation = _Conversation()
    conversation.add_system(fields.anything("system"))
    for message in messages:
        conversation.add(message)

    model = models.find(requested_name)
    require_answers(model, requested_name, "chat")
    if think is None:
        think = other_servers_switch(fields, model)
    if offer.tools:
        require_tools(model)
    sampling, limits = parse_options({**options, "num_predict": max_tokens})
    require_media(model, conversation.media.kinds, requested_name)
    if not conversation.turns:  # all messages are empty
        raise ClientError(_NO_MESSAGES)
    request = ChatRequest(
        conversation.media.with_pictures(conversation.turns),
        requested_name,
        sampling,
        limits,
        stream=stream,
        tools=offer.tools,
        must_call=offer.must_call,
        # Agents ask every model to think; a model without thinking answers without it.
        think=think if "thinking" in model.capabilities else None,
        format=_format(config),
    )
    return MessagesCall(model, request)


def _options(fields: Fields) -> dict[str, Any]:
    """Return the request's sampling as Ollama's options; absent ones are left to the model."""
    return {
        "temperature": fields.number("temperature"),
        "top_p": fields.number("top_p"),
        "top_k": fields.integer("top_k") if fields.anything("top_k") is not None else None,
        "stop": fields.strings("stop_sequences"),
    }


def _think(fields: Fields, config: Fields) -> bool | None:
    match fields.object("thinking", "anthropic.ThinkingConfig").string("type"):
        case "enabled":
            return True
        case "disabled":
            return False
    return True if config.string("effort").strip().lower() in _EFFORTS else None


def _offer(fields: Fields) -> Offer:
    """Return the tools on offer: all, none, or the tool that `tool_choice` names."""
    described = fields.objects("tools", "anthropic.Tool")
    tools = functions(described, types=("", "custom"), schema="input_schema")
    match fields.mapping("tool_choice", "anthropic.ToolChoice"):
        case {"type": "none"}:
            return Offer()
        case {"type": "any"}:
            return Offer.of(tools, must_call=True)
        case {"type": "tool", "name": str(name)}:
            return Offer.of(only(tools, name), must_call=True)
    return Offer.of(tools)


def _format(config: Fields) -> Mapping[str, Any] | None:
    match config.anything("format"):
        case {"type": "json_schema", "schema": dict(schema)}:
            return dict(well_formed_throughout(schema))
    return None


class _Conversation:
    """Collects turns from messages, which are text or blocks.

    `media` is the content that is not text.
    """

    def __init__(self) -> None:
        self.turns: list[Message] = []
        self.media = Media()

    def add_system(self, system: Any) -> None:
        """Add the `system` of a request, which is text or blocks of text."""
        if text := self._text(system):
            self.turns.append(Message("system", text))

    def add(self, message: Fields) -> None:
        """Add a message.  It may be several turns, because each result of a tool is a turn.

        Raises `ClientError` with Ollama's message.
        """
        role, content = message.string("role").lower(), message.anything("content")
        blocks = _Blocks()
        match content:
            case None:
                pass
            case str():
                blocks.texts.append(well_formed(content))
            case list():
                for block in message.objects("content", "anthropic.ContentBlock"):
                    self._sort(block, blocks)
            case _:
                raise message.misfit("content", _BLOCKS)
        self.turns += blocks.results  # they belong to calls of an earlier turn
        if any((*blocks.texts, *blocks.thoughts, *blocks.calls)) or self.media.waits:
            text, thinking = "".join(blocks.texts), "".join(blocks.thoughts)
            self.turns.append(Message(role, text, thinking, tuple(blocks.calls)))
            self.media.end_message(len(self.turns) - 1)

    def _sort(self, block: Fields, blocks: _Blocks) -> None:
        match block.string("type"):
            case "text":
                blocks.texts.append(block.string("text"))
            case "thinking":
                blocks.thoughts.append(block.string("thinking"))
            case "tool_use":
                blocks.calls.append(_call(block))
            case "tool_result":
                blocks.results.append(self._result(block))
            case "image":
                source = block.mapping("source", "anthropic.ImageSource")
                self.media.add_image(_image_in(source))
            case "document":
                self.media.add("documents")
            case "search_result":
                blocks.texts.append(_search_result(block))
            case other if not _made_by_anthropic(other):
                raise _unknown_block(other)

    def _result(self, block: Fields) -> Message:
        text = self._text(block.anything("content"))
        if block.boolean("is_error"):
            text = text or "error"  # the model would take an empty result for success
        return Message("tool", text, tool_call_id=block.string("tool_use_id"))

    def _text(self, content: Any) -> str:
        match content:
            case str():
                return well_formed(content)
            case list():
                return "".join(map(self._text_of, content))
        return ""

    def _text_of(self, block: Any) -> str:
        match block:
            case {"type": "text", "text": str(text)}:
                return well_formed(text)
            case {"type": "image"}:
                source = block.get("source")
                self.media.add_image(_image_in(source if isinstance(source, dict) else {}))
            case {"type": "document"}:
                self.media.add("documents")
            case {"type": "search_result"}:
                return _search_result(Fields("ContentBlock", block))
            case {"type": "tool_reference", "tool_name": str(name)}:
                return well_formed(name)
            case {"type": "text", "text": None} | None:
                pass
            case _:
                type_ = block.get("type") if isinstance(block, dict) else None
                raise _unknown_block(type_ if isinstance(type_, str) else "")
        return ""


@dataclass
class _Blocks:
    """The blocks of one message, sorted by type."""

    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    results: list[Message] = field(default_factory=list)


def _search_result(block: Fields) -> str:
    """Return what a search has found as text: its title, where it is from, and its words."""
    found = block.objects("content", "anthropic.ContentBlock")
    lines = (
        block.string("title"),
        block.string("source"),
        *(part.string("text") for part in found),
    )
    return "".join(f"\n{line}" for line in lines if line) + "\n"


def _made_by_anthropic(type_: str) -> bool:
    """Return whether such a block reports what Anthropic's service did; Ollama ignores it, too.

    What its tools found is in the text of the answer.
    """
    return type_ in _SERVER_BLOCKS or type_.endswith("_tool_result")


def _unknown_block(type_: str) -> ClientError:
    return ClientError(f"unknown content block type: {quoted(type_)}")


def _call(block: Fields) -> ToolCall:
    id_, name = block.string("id"), block.string("name")
    for required, value in (("id", id_), ("name", name)):
        if not value:
            raise ClientError(f"tool_use block missing required '{required}' field")
    arguments = block.mapping("input", "api.ToolCallFunctionArguments")
    return ToolCall(name, well_formed_throughout(arguments), id_)


def _image_in(source: dict[str, Any]) -> str:
    """Return the base64 of an image; raises `ClientError` for one that is elsewhere."""
    if not source:
        raise ClientError("invalid image source")
    type_, data = source.get("type"), source.get("data")
    if type_ != "base64":
        raise ClientError(
            f"invalid image source type: {type_ or ''}. Only base64 images are supported."
        )
    at = corrupt_at(data) if isinstance(data, str) else 0
    if at is not None:
        raise ClientError(f"invalid base64 image data: illegal base64 data at input byte {at}")
    return str(data)
