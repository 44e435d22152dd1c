"""Parses requests to OpenAI's `/v1/responses` as Ollama parses them; nothing is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from axproxy.api.gojson.decode import (
    EOF,
    Fields,
    well_formed_throughout,
)
from axproxy.api.ollama.capabilities import require_all, require_answers
from axproxy.api.ollama.options import parse_options
from axproxy.api.ollama.thinking import other_servers_switch, parse_effort
from axproxy.api.openai.requests import with_openai_defaults
from axproxy.api.openai.responses_input_requests import parse_input
from axproxy.api.tools import Offer, functions, only
from axproxy.errors import ClientError
from axproxy.messages import ChatRequest
from axproxy.models.catalog import Models
from axproxy.models.model import Model

_STORED = ("previous_response_id", "conversation")


@dataclass(frozen=True)
class ResponsesCall:
    """A request for an answer of `model`, and the fields that the reply repeats."""

    model: Model
    request: ChatRequest
    repeated: Mapping[str, Any]


def parse_responses(body: bytes, models: Models) -> ResponsesCall:
    """Parse a request to `POST /v1/responses`.  Raises `ClientError`."""
    fields = Fields.read("ResponsesRequest", body, "openai", EOF)
    stream = fields.boolean("stream")
    _refuse_stored(fields)
    conversation = parse_input(fields.anything("input"), fields.string("instructions"))
    options = {
        "temperature": fields.number("temperature"),
        "top_p": fields.number("top_p"),
        "num_predict": fields.integer("max_output_tokens") or None,
    }
    offer = _offer(fields)
    think = parse_effort(_reasoning(fields)["effort"] or "")
    form = fields.object("text", "openai.ResponsesText").object(
        "format", "openai.ResponsesTextFormat"
    )
    if not conversation.messages:
        raise ClientError("input must not be empty")

    requested_name = fields.string("model")
    model = models.find(requested_name)
    require_answers(model, requested_name, "chat")
    if think is None:
        think = other_servers_switch(fields, model)
    require_all(
        model, requested_name, think=think, tools=offer.tools, media=conversation.media.kinds
    )
    sampling, limits = parse_options(with_openai_defaults(options, model, "temperature"))
    request = ChatRequest(
        conversation.media.with_pictures(conversation.messages),
        requested_name,
        sampling,
        limits,
        stream=stream,
        tools=offer.tools,
        must_call=offer.must_call,
        think=think,
        format=_format(form),
    )
    return ResponsesCall(model, request, _repeated(fields))


def _refuse_stored(fields: Fields) -> None:
    for name in _STORED:
        if fields.anything(name):
            raise ClientError(
                f"{name} is not supported: this service stores nothing; send the whole "
                "conversation as input"
            )


def _offer(fields: Fields) -> Offer:
    """Return the functions on offer: all, none, or those that `tool_choice` names."""
    described = fields.objects("tools", "openai.ResponsesTool")
    tools = functions(described, types=("function",), schema="parameters")
    match fields.anything("tool_choice"):
        case "none":
            return Offer()
        case "required":
            return Offer.of(tools, must_call=True)
        case {"type": "function", "name": str(name)}:
            return Offer.of(only(tools, name), must_call=True)
        case {"type": "allowed_tools", "tools": list(allowed), "mode": mode}:
            names = [tool.get("name") for tool in allowed if isinstance(tool, dict)]
            return Offer.of(only(tools, *names), must_call=mode == "required")
    return Offer.of(tools)


def _reasoning(fields: Fields) -> dict[str, str | None]:
    reasoning = fields.object("reasoning", "openai.ResponsesReasoning")
    return {name: reasoning.string(name) or None for name in ("effort", "summary")}


def _format(form: Fields) -> Literal["json"] | Mapping[str, Any] | None:
    match form.string("type"), form.anything("schema"):
        case "json_object", _:
            return "json"
        case "json_schema", dict(schema):
            return dict(well_formed_throughout(schema))
    return None


def _repeated(fields: Fields) -> dict[str, Any]:
    """Return the fields of the request that the reply repeats, with OpenAI's defaults."""
    reasoning = _reasoning(fields)
    text = fields.mapping("text", "openai.ResponsesText")
    return {
        "instructions": fields.string("instructions") or None,
        "tools": [_repeated_tool(tool or {}) for tool in fields.anything("tools") or ()],
        "tool_choice": well_formed_throughout(fields.anything("tool_choice") or "auto"),
        "truncation": fields.string("truncation") or "disabled",
        "text": {"format": well_formed_throughout(text.get("format") or {"type": "text"})},
        "temperature": _or_one(fields.number("temperature")),
        "top_p": _or_one(fields.number("top_p")),
        "reasoning": reasoning if any(reasoning.values()) else None,
        "max_output_tokens": fields.integer("max_output_tokens") or None,
        "background": fields.boolean("background"),
    }


def _repeated_tool(tool: Mapping[str, Any]) -> Any:
    # OpenAI's types require these fields of a function; a client may leave them out.
    required = dict.fromkeys(("description", "strict", "parameters"))
    return well_formed_throughout({**(required if tool.get("type") == "function" else {}), **tool})


def _or_one(number: float | None) -> float:
    return 1.0 if number is None else number
