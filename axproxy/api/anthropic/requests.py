"""Anthropic's requests, read as Ollama reads them: from bytes to what every API means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from axproxy.api.anthropic.messages import Turns
from axproxy.api.gojson.decode import EOF, Fields, well_formed_throughout
from axproxy.api.ollama.capabilities import refuse_media, require_tools
from axproxy.api.ollama.options import parse_options
from axproxy.api.tools import Tool, functions, only
from axproxy.errors import ClientError
from axproxy.messages import ChatRequest
from axproxy.models.catalog import Models
from axproxy.models.model import Model

_NO_MESSAGES = "messages is required"
_EFFORTS = ("low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True)
class MessagesCall:
    """A request for an answer of `model`."""

    model: Model
    request: ChatRequest


def parse(body: bytes, models: Models) -> MessagesCall:
    """What `POST /v1/messages` asks.  Raises `ClientError`."""
    fields = Fields.read("MessagesRequest", body, "anthropic", EOF)
    stream, requested_name = fields.boolean("stream"), fields.string("model")
    most, options = fields.integer("max_tokens"), _options(fields)
    messages = fields.objects("messages", "anthropic.MessageParam")
    tools = _tools(fields)
    config = fields.object("output_config", "anthropic.OutputConfig")
    think = _think(fields, config)
    if not requested_name:
        raise ClientError("model is required")
    if most <= 0:
        raise ClientError("max_tokens is required and must be positive")
    if not messages:
        raise ClientError(_NO_MESSAGES)
    turns = Turns()
    turns.add_system(fields.anything("system"))
    for message in messages:
        turns.add(message)

    model = models.find(requested_name)
    if tools:
        require_tools(model)
    sampling, limits = parse_options({**options, "num_predict": most})
    refuse_media(turns.media, requested_name)
    if not turns.messages:  # those that are there say nothing
        raise ClientError(_NO_MESSAGES)
    request = ChatRequest(
        tuple(turns.messages),
        requested_name,
        sampling,
        limits,
        stream=stream,
        tools=tools,
        # Agents ask every model to think; those that cannot just answer.
        think=think if "thinking" in model.capabilities else None,
        format=_format(config),
    )
    return MessagesCall(model, request)


def _options(fields: Fields) -> dict[str, Any]:
    """The request's sampling as Ollama's options; the rest is the model's own."""
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


def _tools(fields: Fields) -> tuple[Tool, ...]:
    """The tools on offer: all, none, or the one that `tool_choice` names."""
    described = fields.objects("tools", "anthropic.Tool")
    tools = functions(described, types=("", "custom"), schema="input_schema")
    match fields.mapping("tool_choice", "anthropic.ToolChoice"):
        case {"type": "none"}:
            return ()
        case {"type": "tool", "name": str(name)}:
            return only(tools, name)
    return tuple(tools)


def _format(config: Fields) -> Mapping[str, Any] | None:
    match config.anything("format"):
        case {"type": "json_schema", "schema": dict(schema)}:
            return dict(well_formed_throughout(schema))
    return None
