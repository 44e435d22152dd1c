"""OpenAI's requests, read as Ollama reads them: from bytes to what every API means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from axproxy.api.gojson.decode import EOF, Fields, quoted, well_formed_throughout
from axproxy.api.ollama.capabilities import (
    find_for_embedding,
    refuse_embedding,
    refuse_insert,
    require_all,
)
from axproxy.api.ollama.options import parse_options
from axproxy.api.openai.messages import read_conversation
from axproxy.api.tools import only
from axproxy.errors import ClientError
from axproxy.messages import ChatRequest, Message
from axproxy.models.catalog import Models
from axproxy.models.model import Model

_EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "ultra", "max")


@dataclass(frozen=True)
class ChatCall:
    """A request for an answer of `model`, and whether a stream ends with the usage."""

    model: Model
    request: ChatRequest
    include_usage: bool


def parse_chat(body: bytes, models: Models) -> ChatCall:
    """What `POST /v1/chat/completions` asks.  Raises `ClientError`."""
    fields = Fields.read("ChatCompletionRequest", body, "openai", EOF)
    stream, include_usage = _streaming(fields)
    options = _options(fields)
    if (newer := fields.integer("max_completion_tokens")) > 0:
        options["num_predict"] = newer  # Ollama does not read it; newer clients send nothing else
    turns = fields.objects("messages", "openai.Message")
    tools = _tools(fields)
    if not turns:
        raise ClientError("[] is too short - 'messages'")
    conversation = read_conversation(turns)
    think = _think(fields)

    requested_name = fields.string("model")
    model = models.find(requested_name)
    require_all(model, requested_name, think=think, tools=tools, media=conversation.media)
    sampling, limits = parse_options(options)
    request = ChatRequest(
        conversation.messages,
        requested_name,
        sampling,
        limits,
        stream=stream,
        tools=tools,
        think=think,
        format=_format(fields.mapping("response_format", "openai.ResponseFormat")),
    )
    return ChatCall(model, request, include_usage)


def parse_completion(body: bytes, models: Models) -> ChatCall:
    """What `POST /v1/completions` asks: a conversation of one user's turn, for the model's template
    applies here, too.  Its answer has no place for thinking.  Raises `ClientError`."""
    fields = Fields.read("CompletionRequest", body, "openai", EOF)
    stream, include_usage = _streaming(fields)
    options = _options(fields)
    prompt, suffix = fields.string("prompt"), fields.string("suffix")
    fields.integer("logprobs")

    requested_name = fields.string("model")
    model = models.find(requested_name)
    if suffix:
        refuse_insert(model)
    sampling, limits = parse_options(options)
    if not prompt:
        raise ClientError("prompt must not be empty")
    turns = (Message("user", prompt),)
    request = ChatRequest(turns, requested_name, sampling, limits, stream=stream, think=False)
    return ChatCall(model, request, include_usage)


def refuse_embeddings(body: bytes, models: Models) -> NoReturn:
    fields = Fields.read("EmbedRequest", body, "openai", EOF)
    if fields.anything("input") in (None, "", []):
        raise ClientError("invalid input")
    requested_name = fields.string("model")
    find_for_embedding(models, requested_name)
    refuse_embedding(requested_name)


def think_of(effort: str) -> bool | None:
    """Whether to think, by the effort that a client wants made; `None` where it says nothing."""
    if not effort:
        return None
    if effort == "none":
        return False
    if effort not in _EFFORTS:
        allowed = ", ".join(map(quoted, _EFFORTS))
        raise ClientError(
            f'invalid reasoning value: {quoted(effort)} (must be {allowed}, or "none")'
        )
    return True


def _streaming(fields: Fields) -> tuple[bool, bool]:
    options = fields.mapping("stream_options", "openai.StreamOptions")
    return fields.boolean("stream"), options.get("include_usage") is True


def _options(fields: Fields) -> dict[str, Any]:
    """The request's sampling as Ollama's options, with OpenAI's defaults instead of the model's."""
    options: dict[str, Any] = {
        "temperature": fields.number("temperature"),
        "top_p": fields.number("top_p"),
        "frequency_penalty": fields.number("frequency_penalty"),
        "presence_penalty": fields.number("presence_penalty"),
        "seed": fields.integer("seed") or None,
        "num_predict": fields.integer("max_tokens") or None,
        "stop": _stop(fields.anything("stop")),
    }
    for name in ("temperature", "top_p"):
        if options[name] is None:
            options[name] = 1.0
    return options


def _stop(value: Any) -> list[str]:
    texts = value if isinstance(value, list) else [value]
    return [text for text in texts if isinstance(text, str)]


def _tools(fields: Fields) -> tuple[Mapping[str, Any], ...]:
    """The tools on offer: all, none, or the one that `tool_choice` names."""
    fields.objects("tools", "api.Tool", "api.Tools")
    tools = well_formed_throughout(fields.anything("tools") or [])
    match fields.anything("tool_choice"):
        case "none":
            return ()
        case {"function": {"name": str(name)}}:
            return only(tools, name)
    return tuple(tool for tool in tools if tool)


def _think(fields: Fields) -> bool | None:
    reasoning = fields.mapping("reasoning", "openai.Reasoning")
    effort = fields.string("reasoning_effort") or reasoning.get("effort") or ""
    return think_of(effort if isinstance(effort, str) else "?")


def _format(response_format: Mapping[str, Any]) -> Literal["json"] | Mapping[str, Any] | None:
    match response_format:
        case {"type": "json_object"}:
            return "json"
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return dict(well_formed_throughout(schema))
    return None
