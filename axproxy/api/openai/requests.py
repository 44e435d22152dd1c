"""Parses OpenAI's chats and completions as Ollama parses them: bytes become a neutral request."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from axproxy.api.gojson.decode import (
    EOF,
    Fields,
    go_type,
    well_formed,
    well_formed_throughout,
)
from axproxy.api.gojson.syntax import corrupt_at
from axproxy.api.ollama.capabilities import (
    refuse_insert,
    require_all,
    require_answers,
)
from axproxy.api.ollama.options import parse_options
from axproxy.api.ollama.thinking import other_servers_switch, parse_effort
from axproxy.api.pictures import Media
from axproxy.api.tools import Offer, name_of, only
from axproxy.errors import ClientError
from axproxy.messages import ChatRequest, Message, ToolCall
from axproxy.models.catalog import Models
from axproxy.models.model import Model
from axproxy.output.model_json import too_deep

_IMAGE = re.compile(r"data:(?:image/(?:jpeg|jpg|png|webp))?;base64,(.*)", re.DOTALL)
_BETWEEN_PARTS = "\n\n"
_ROLES = {"developer": "system", "function": "tool"}  # other names of OpenAI's, newer and older


@dataclass(frozen=True)
class ChatCall:
    """A request for an answer of `model`, and whether a stream ends with the usage."""

    model: Model
    request: ChatRequest
    include_usage: bool


@dataclass(frozen=True)
class Conversation:
    """The turns of a request, and what in them is not text."""

    messages: tuple[Message, ...]
    media: Media


def parse_chat(body: bytes, models: Models) -> ChatCall:
    """Parse a request to `POST /v1/chat/completions`.  Raises `ClientError`."""
    fields = Fields.read("ChatCompletionRequest", body, "openai", EOF)
    stream, include_usage = _streaming(fields)
    options = _options(fields)
    if (max_tokens := fields.integer("max_completion_tokens")) > 0:
        # Ollama ignores this field, but newer clients send no other.
        options["num_predict"] = max_tokens
    messages = fields.objects("messages", "openai.Message")
    offer = _offer(fields)
    if not messages:
        raise ClientError("[] is too short - 'messages'")
    conversation = _parse_messages(messages)
    think = parse_effort(_effort(fields))

    requested_name = fields.string("model")
    model = models.find(requested_name)
    require_answers(model, requested_name, "chat")
    if think is None:
        think = other_servers_switch(fields, model)
    require_all(
        model, requested_name, think=think, tools=offer.tools, media=conversation.media.kinds
    )
    sampling, limits = parse_options(with_openai_defaults(options, model, "temperature", "top_p"))
    request = ChatRequest(
        conversation.media.with_pictures(conversation.messages),
        requested_name,
        sampling,
        limits,
        stream=stream,
        tools=offer.tools,
        must_call=offer.must_call,
        think=think,
        format=_format(fields.mapping("response_format", "openai.ResponseFormat")),
    )
    return ChatCall(model, request, include_usage)


def parse_completion(body: bytes, models: Models) -> ChatCall:
    """Parse a request to `POST /v1/completions`.  Raises `ClientError`.

    The prompt becomes one user turn, because the model's template applies here, too.  The reply
    has no place for thinking.
    """
    fields = Fields.read("CompletionRequest", body, "openai", EOF)
    stream, include_usage = _streaming(fields)
    options = _options(fields)
    prompt, suffix = _prompt(fields), fields.string("suffix")
    fields.integer("logprobs")

    requested_name = fields.string("model")
    model = models.find(requested_name)
    require_answers(model, requested_name, "generate")
    if suffix:
        refuse_insert(model)
    sampling, limits = parse_options(with_openai_defaults(options, model, "temperature", "top_p"))
    if not prompt:
        raise ClientError("prompt must not be empty")
    turns = (Message("user", prompt),)
    request = ChatRequest(turns, requested_name, sampling, limits, stream=stream, think=False)
    return ChatCall(model, request, include_usage)


def _prompt(fields: Fields) -> str:
    """Return the one prompt of a completion, which may be in a list.  Raises `ClientError`."""
    match fields.anything("prompt"):
        case []:
            return ""
        case [str(prompt)]:
            return well_formed(prompt)
        case list(prompts) if all(isinstance(prompt, str) for prompt in prompts):
            raise ClientError(
                f"there are {len(prompts)} prompts, and a request can have one; send each in a "
                "request of its own"
            )
        case [int() | list(), *_]:
            raise ClientError("prompt must be text, not tokens")
    return fields.string("prompt")


def _streaming(fields: Fields) -> tuple[bool, bool]:
    options = fields.mapping("stream_options", "openai.StreamOptions")
    return fields.boolean("stream"), options.get("include_usage") is True


def _options(fields: Fields) -> dict[str, Any]:
    """Return the request's sampling as Ollama's options."""
    return {
        "temperature": fields.number("temperature"),
        "top_p": fields.number("top_p"),
        "frequency_penalty": fields.number("frequency_penalty"),
        "presence_penalty": fields.number("presence_penalty"),
        "seed": fields.integer("seed") or None,
        "num_predict": fields.integer("max_tokens") or None,
        "stop": _stop(fields.anything("stop")),
    }


def with_openai_defaults(options: Mapping[str, Any], model: Model, *names: str) -> dict[str, Any]:
    """Return the options with 1.0, OpenAI's default, where neither request nor model has a value.

    Ollama would ignore the parameters of the model's Modelfile here.
    """
    unset = {name for name in names if options[name] is None} - set(model.defaults.parameters)
    return {**options, **dict.fromkeys(unset, 1.0)}


def _stop(value: Any) -> list[str]:
    texts = value if isinstance(value, list) else [value]
    return [text for text in texts if isinstance(text, str)]


def _offer(fields: Fields) -> Offer:
    """Return the tools on offer: all, none, or those that `tool_choice` names."""
    fields.objects("tools", "api.Tool", "api.Tools")
    tools = well_formed_throughout(fields.anything("tools") or [])
    match fields.anything("tool_choice"):
        case "none":
            return Offer()
        case "required":
            return Offer.of(filter(None, tools), must_call=True)
        case {"function": {"name": str(name)}}:
            return Offer.of(only(tools, name), must_call=True)
        case {"allowed_tools": {"tools": list(allowed), "mode": mode}}:
            return Offer.of(only(tools, *map(name_of, allowed)), must_call=mode == "required")
    return Offer.of(filter(None, tools))


def _effort(fields: Fields) -> str:
    reasoning = fields.mapping("reasoning", "openai.Reasoning")
    effort = fields.string("reasoning_effort") or reasoning.get("effort") or ""
    return effort if isinstance(effort, str) else "?"


def _format(response_format: Mapping[str, Any]) -> Literal["json"] | Mapping[str, Any] | None:
    match response_format:
        case {"type": "json_object"}:
            return "json"
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return dict(well_formed_throughout(schema))
    return None


def _parse_messages(messages: Sequence[Fields]) -> Conversation:
    """Parse the messages of a request.  Raises `ClientError` with Ollama's message."""
    media = Media()
    turns = []
    for index, message in enumerate(messages):
        calls = message.objects("tool_calls", "openai.ToolCall")
        role = message.string("role").lower()
        role = _ROLES.get(role, role)
        turns.append(
            Message(
                role=role,
                content=_content(message.anything("content"), media) or message.string("refusal"),
                thinking=message.string("reasoning") or message.string("reasoning_content"),
                tool_calls=(*map(_tool_call, calls), *_older_call(message)),
                tool_name=message.string("name") if role == "tool" else "",
                tool_call_id=message.string("tool_call_id"),
            )
        )
        media.end_message(index)
    return Conversation(tuple(turns), media)


def _content(value: Any, media: Media) -> str:
    match value:
        case None:  # in messages with tool calls; some clients send it in others
            return ""
        case str():
            return well_formed(value)
        case list():
            parts = [_part(part, media) for part in value]
            return _BETWEEN_PARTS.join(part for part in parts if part)
    raise ClientError(f"invalid message content type: {go_type(value)}")


def _part(part: Any, media: Media) -> str:
    match part:
        case {"type": "text", "text": str(text)} | {"type": "refusal", "refusal": str(text)}:
            return well_formed(text)
        case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
            media.add_image(image_in(url))
            return ""
        case {"type": "input_audio"}:
            media.add("audio")
            return ""
    raise ClientError("invalid message format")


def image_in(url: str) -> str:
    """Return the base64 of the image in a data URI; raises `ClientError` for any other address."""
    if url.startswith(("http://", "https://")):
        raise ClientError(
            "image URLs are not currently supported, please use base64 encoded data instead"
        )
    found = _IMAGE.fullmatch(url)
    if not found or corrupt_at(found[1]) is not None:
        raise ClientError("invalid image input")
    return found[1]


def _tool_call(call: Fields) -> ToolCall:
    custom = call.anything("custom")
    if isinstance(custom, dict):  # a tool that reads plain text; the model knows calls as objects
        name, given = custom.get("name"), custom.get("input")
        return _named_call(name, {"input": given}, call.string("id"))
    function = call.mapping("function", "struct")
    return _function_call(function, call.string("id"))


def _older_call(message: Fields) -> tuple[ToolCall, ...]:
    """Return the call in the form that OpenAI's API had before `tool_calls`, if there is one."""
    function = message.mapping("function_call", "struct")
    return (_function_call(function, ""),) if function else ()


def _function_call(function: Mapping[str, Any], id_: str) -> ToolCall:
    text = function.get("arguments")
    try:
        arguments = json.loads(text or "{}") if isinstance(text, str | None) else text
    except (ValueError, RecursionError) as error:
        raise ClientError("invalid tool call arguments") from error
    return _named_call(function.get("name"), arguments, id_)


def _named_call(name: Any, arguments: Any, id_: str) -> ToolCall:
    if not isinstance(arguments, dict) or too_deep(arguments):
        raise ClientError("invalid tool call arguments")
    name = well_formed(name) if isinstance(name, str) else ""
    return ToolCall(name, well_formed_throughout(arguments), id_)
