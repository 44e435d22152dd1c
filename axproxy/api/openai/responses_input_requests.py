"""Parses the `input` of a request to `/v1/responses`: items become turns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from axproxy.api.gojson.decode import Fields, quoted, unfit, well_formed, well_formed_throughout
from axproxy.api.openai.requests import Conversation, image_in
from axproxy.api.pictures import Media
from axproxy.errors import ClientError
from axproxy.messages import Message, ToolCall
from axproxy.output.tool_calls import arguments_of

# Items of tools that OpenAI runs; the text of the answer has what they found.
_SERVER_TOOLS = (
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "mcp_list_tools",
)
# Calls of tools that the client runs, and the field with what the call is about.  They reach the
# model as calls with that one argument.
_CLIENT_TOOLS = {
    "custom_tool_call": "input",
    "local_shell_call": "action",
    "shell_call": "action",
    "apply_patch_call": "operation",
}
_RESULTS = ("function_call_output", *(f"{call}_output" for call in _CLIENT_TOOLS))
_ARRAY = "[]json.RawMessage"


def parse_input(value: Any, instructions: str) -> Conversation:
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
    return Conversation(tuple(turns.messages), turns.media)


class _Turns:
    """Builds turns from items: reasoning, text and calls of the assistant are one turn."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.media = Media()
        self._thinking = ""  # belongs to the assistant's next turn

    def add(self, item: Any) -> None:
        """Add an item of the `input`.  Raises `ClientError` with Ollama's message."""
        if not isinstance(item, dict):
            raise ClientError(unfit(item, "openai.ResponsesInputItem"))
        fields = Fields("ResponsesInputItem", item)
        type_, role = fields.string("type"), fields.string("role").lower()
        match type_ or _type_of(item, role):
            case "message":
                self._add_message(role, fields.anything("content"))
            case "reasoning":
                self._thinking = _thoughts(fields)
            case "item_reference":
                _check_reference(fields.string("id"))
            case "":
                raise ClientError("input item missing required 'type' field")
            case other if other not in _SERVER_TOOLS and not self._add_tool_use(other, fields):
                raise ClientError(f"unknown input item type: {quoted(other)}")

    def _add_tool_use(self, type_: str, fields: Fields) -> bool:
        """Add a call, a result, or both; return whether the item is one of these."""
        match type_:
            case "function_call":
                self._add_call(fields.string("name"), _arguments(fields), fields)
            case "mcp_call":  # call and result in one
                self._add_call(fields.string("name"), _arguments(fields), fields)
                self._add_result(fields)
            case call if field := _CLIENT_TOOLS.get(call):
                name = fields.string("name") or call.removesuffix("_call")
                self._add_call(name, {field: fields.anything(field)}, fields)
            case result if result in _RESULTS:
                self._add_result(fields)
            case _:
                return False
        return True

    def _add_message(self, role: str, content: Any) -> None:
        role = "system" if role == "developer" else role
        thinking = self._take_thinking() if role == "assistant" else ""
        self.messages.append(Message(role, self._text("content", content), thinking))
        self.media.end_message(len(self.messages) - 1)

    def _add_call(self, name: str, arguments: Any, fields: Fields) -> None:
        id_ = fields.string("call_id") or fields.string("id")
        call = ToolCall(name, well_formed_throughout(arguments), id_)
        if not self.messages or self.messages[-1].role != "assistant":
            self.messages.append(Message("assistant", ""))
        turn = self.messages.pop()
        thinking = self._take_thinking() or turn.thinking
        self.messages.append(replace(turn, thinking=thinking, tool_calls=(*turn.tool_calls, call)))

    def _add_result(self, fields: Fields) -> None:
        id_ = fields.string("call_id") or fields.string("id")
        text = self._text("output", fields.anything("output"))
        self.messages.append(Message("tool", text, tool_call_id=id_))
        self.media.end_message(len(self.messages) - 1)

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
            case "refusal":
                return fields.string("refusal")
            case "" if "stdout" in part or "stderr" in part:  # what a shell has printed
                return fields.string("stdout") + fields.string("stderr")
            case "input_image":
                url = fields.string("image_url")
                self.media.add_image(image_in(url) if url else "")
                return ""
            case "input_file":
                raise ClientError("file inputs are not currently supported")
            case other:
                raise ClientError(f"{place}: unknown content type: {other}")


def _type_of(item: dict[str, Any], role: str) -> str:
    """Return the type of an item that names none: clients may leave out two of them."""
    if role:
        return "message"
    given = {name for name, value in item.items() if value is not None}
    return "item_reference" if given == {"id"} else ""


def _arguments(fields: Fields) -> Any:
    try:
        return arguments_of(fields.string("arguments"))
    except ValueError as error:
        raise ClientError(f"failed to parse function call arguments: {error}") from error


def _check_reference(id_: str) -> None:
    """Refuse a reference to an item whose words the model needs; we do not have them.

    Reasoning may be left out, as templates leave out the reasoning of earlier answers.
    """
    if not id_.startswith("rs_"):
        raise ClientError(
            f"item_reference {quoted(id_)} is not supported: this service stores nothing; send "
            "the item itself, which clients do with store set to false"
        )


def _thoughts(fields: Fields) -> str:
    """Return the reasoning of an item: our replies have it twice, and clients may keep either.

    Other services send it as the item's content.
    """
    if kept := fields.string("encrypted_content"):
        return kept
    parts = (
        fields.objects("summary", "openai.ResponsesReasoningSummary"),
        fields.objects("content", "openai.ResponsesReasoningSummary"),
    )
    texts = ("".join(part.string("text") for part in some) for some in parts)
    return next(filter(None, texts), "")
