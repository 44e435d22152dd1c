"""Tools and their calls in Ollama's requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from axproxy.api.gojson.decode import Fields
from axproxy.messages import ToolCall
from axproxy.output.tool_calls import arguments_of

_ARGUMENTS = "api.ToolCallFunctionArguments"


def parse_tools(fields: Fields) -> tuple[Mapping[str, Any], ...]:
    """The functions on offer, as the client describes them.  Raises `ClientError`."""
    for tool in fields.objects("tools", "api.Tool", "api.Tools"):
        tool.string("type")
        function = tool.object("function", "api.ToolFunction")
        for text in ("name", "description"):
            function.string(text)
        function.object("parameters", "api.ToolFunctionParameters")
    return tuple(tool or {} for tool in fields.anything("tools") or ())


def parse_tool_calls(turn: Fields) -> tuple[ToolCall, ...]:
    """The calls that the assistant made in a turn.  Raises `ClientError`."""
    return tuple(_call(call) for call in turn.objects("tool_calls", "api.ToolCall"))


def _call(call: Fields) -> ToolCall:
    function = call.object("function", "api.ToolCallFunction")
    function.integer("index")
    name = function.string("name")
    try:
        # Ollama takes objects only; clients that come from OpenAI's API send them in a string.
        arguments = arguments_of(function.anything("arguments"))
    except ValueError as error:
        raise function.misfit("arguments", _ARGUMENTS) from error
    return ToolCall(name, arguments, call.string("id"))
