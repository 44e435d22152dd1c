"""Parses requests to OpenAI's `/v1/responses` as Ollama parses them; nothing is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from axproxy.api.gojson.decode import (
    EOF,
    Fields,
    quoted,
    unfit,
    well_formed,
    well_formed_throughout,
)
from axproxy.api.ollama.capabilities import require_all
from axproxy.api.ollama.options import parse_options
from axproxy.api.openai.requests import Conversation, check_image, parse_effort
from axproxy.api.tools import Tool, functions, only
from axproxy.errors import ClientError
from axproxy.messages import ChatRequest, Message, ToolCall
from axproxy.models.catalog import Models
from axproxy.models.model import Model
from axproxy.output.tool_calls import arguments_of

_STORED = ("previous_response_id", "conversation")
# Items of tools that OpenAI runs; the text of the answer has what they found.
_SERVER_TOOLS = ("web_search_call",)
_ARRAY = "[]json.RawMessage"


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
    conversation = _parse_input(fields.anything("input"), fields.string("instructions"))
    options = {
        "temperature": _or_one(fields.number("temperature")),
        "top_p": fields.number("top_p"),
        "num_predict": fields.integer("max_output_tokens") or None,
    }
    tools = _tools(fields)
    think = parse_effort(_reasoning(fields)["effort"] or "")
    form = fields.object("text", "openai.ResponsesText").object(
        "format", "openai.ResponsesTextFormat"
    )
    if not conversation.messages:
        raise ClientError("input must not be empty")

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


def _tools(fields: Fields) -> tuple[Tool, ...]:
    """Return the functions on offer: all, none, or the function that `tool_choice` names."""
    described = fields.objects("tools", "openai.ResponsesTool")
    tools = functions(described, types=("function",), schema="parameters")
    match fields.anything("tool_choice"):
        case "none":
            return ()
        case {"type": "function", "name": str(name)}:
            return only(tools, name)
    return tuple(tools)


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


def _parse_input(value: Any, instructions: str) -> Conversation:
    """Parse the `input`, text or items, after the `instructions`.  Raises `ClientError`."""
    turns = _Turns()
    if instructions:
        turns.messages.append(Message("system", instructions))
    match value:
        case None | "":
            pass
        case str():
            turns.messages.append(Message("user", well_formed(value)))
        case list():
            for at, item in enumerate(value):
                try:
                    turns.add(item)
                except ClientError as error:
                    raise ClientError(f"input[{at}]: {error.message}") from error
        case _:
            raise ClientError(f"input must be a string or array: {unfit(value, _ARRAY)}")
    return Conversation(tuple(turns.messages), tuple(turns.media))


class _Turns:
    """Builds turns from items: reasoning, text and calls of the assistant are one turn."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.media: list[str] = []
        self._thinking = ""  # belongs to the assistant's next turn

    def add(self, item: Any) -> None:
        """Add an item of the `input`.  Raises `ClientError` with Ollama's message."""
        if not isinstance(item, dict):
            raise ClientError(unfit(item, "openai.ResponsesInputItem"))
        fields = Fields("ResponsesInputItem", item)
        type_, role = fields.string("type"), fields.string("role").lower()
        match type_ or ("message" if role else ""):
            case "message":
                self._add_message(role, fields.anything("content"))
            case "function_call":
                self._add_call(fields)
            case "function_call_output":
                self._add_result(fields)
            case "reasoning":
                self._thinking = _summary(fields)
            case "":
                raise ClientError("input item missing required 'type' field")
            case other if other not in _SERVER_TOOLS:
                raise ClientError(f"unknown input item type: {quoted(other)}")

    def _add_message(self, role: str, content: Any) -> None:
        role = "system" if role == "developer" else role
        thinking = self._take_thinking() if role == "assistant" else ""
        self.messages.append(Message(role, self._text("content", content), thinking))

    def _add_call(self, fields: Fields) -> None:
        try:
            arguments = arguments_of(fields.string("arguments"))
        except ValueError as error:
            raise ClientError(f"failed to parse function call arguments: {error}") from error
        name = fields.string("name")
        call = ToolCall(name, well_formed_throughout(arguments), fields.string("call_id"))
        if not self.messages or self.messages[-1].role != "assistant":
            self.messages.append(Message("assistant", ""))
        turn = self.messages.pop()
        thinking = self._take_thinking() or turn.thinking
        self.messages.append(replace(turn, thinking=thinking, tool_calls=(*turn.tool_calls, call)))

    def _add_result(self, fields: Fields) -> None:
        id_ = fields.string("call_id")
        text = self._text("output", fields.anything("output"))
        self.messages.append(Message("tool", text, tool_call_id=id_))

    def _take_thinking(self) -> str:
        thinking, self._thinking = self._thinking, ""
        return thinking

    def _text(self, name: str, value: Any) -> str:
        match value:
            case None:
                return ""
            case str():
                return well_formed(value)
            case list():
                return "".join(self._part(f"{name}[{at}]", part) for at, part in enumerate(value))
        raise ClientError(f"{name} must be a string or array: {unfit(value, _ARRAY)}")

    def _part(self, place: str, part: Any) -> str:
        if not isinstance(part, dict):
            raise ClientError(f"{place}: {unfit(part, 'openai.ResponsesContent')}")
        fields = Fields("ResponsesContent", part)
        match fields.string("type"):
            case "input_text" | "output_text":
                return fields.string("text")
            case "input_image":
                if url := fields.string("image_url"):
                    check_image(url)
                self.media.append("images")
                return ""
            case "input_file":
                raise ClientError("file inputs are not currently supported")
            case other:
                raise ClientError(f"{place}: unknown content type: {other}")


def _summary(fields: Fields) -> str:
    """Return the reasoning of an item: our replies have it twice, and clients may keep either."""
    summary = fields.objects("summary", "openai.ResponsesReasoningSummary")
    return fields.string("encrypted_content") or "".join(part.string("text") for part in summary)
