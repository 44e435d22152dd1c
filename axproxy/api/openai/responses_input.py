"""The items of a `/v1/responses` conversation: messages, calls, their results, reasoning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from axproxy.api.gojson.decode import Fields, quoted, unfit, well_formed, well_formed_throughout
from axproxy.api.openai.messages import Conversation, check_image
from axproxy.errors import ClientError
from axproxy.messages import Message, ToolCall
from axproxy.output.tool_calls import arguments_of

# OpenAI's own tools leave these; the answer tells what they found.
_OF_OTHERS = ("web_search_call",)
_ARRAY = "[]json.RawMessage"


def read_input(value: Any, instructions: str) -> Conversation:
    """What `input` says, a text or items, after the `instructions`.  Raises `ClientError`."""
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
    """Turns put together from items: what the assistant thought, said and called is one turn."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.media: list[str] = []
        self._thought = ""  # belongs to the assistant's next turn

    def add(self, item: Any) -> None:
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
                self._thought = _thought(fields)
            case "":
                raise ClientError("input item missing required 'type' field")
            case other if other not in _OF_OTHERS:
                raise ClientError(f"unknown input item type: {quoted(other)}")

    def _add_message(self, role: str, content: Any) -> None:
        role = "system" if role == "developer" else role
        thinking = self._take_thought() if role == "assistant" else ""
        self.messages.append(Message(role, self._text("content", content), thinking))

    def _add_call(self, fields: Fields) -> None:
        try:
            arguments = arguments_of(fields.string("arguments"))
        except ValueError as error:
            raise ClientError(f"failed to parse function call arguments: {error}") from error
        named = fields.string("name")
        call = ToolCall(named, well_formed_throughout(arguments), fields.string("call_id"))
        if not self.messages or self.messages[-1].role != "assistant":
            self.messages.append(Message("assistant", ""))
        turn = self.messages.pop()
        thinking = self._take_thought() or turn.thinking
        self.messages.append(replace(turn, thinking=thinking, tool_calls=(*turn.tool_calls, call)))

    def _add_result(self, fields: Fields) -> None:
        id_ = fields.string("call_id")
        text = self._text("output", fields.anything("output"))
        self.messages.append(Message("tool", text, tool_call_id=id_))

    def _take_thought(self) -> str:
        thought, self._thought = self._thought, ""
        return thought

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


def _thought(fields: Fields) -> str:
    """Our own replies say it twice; a client may have kept either."""
    summary = fields.objects("summary", "openai.ResponsesReasoningSummary")
    return fields.string("encrypted_content") or "".join(part.string("text") for part in summary)
