"""Anthropic's messages: text, or blocks of text, thinking, calls of tools and their results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from axproxy.api.gojson.base64 import corrupt_at
from axproxy.api.gojson.decode import Fields, well_formed, well_formed_throughout
from axproxy.errors import ClientError
from axproxy.messages import Message, ToolCall

_BLOCKS = "[]anthropic.ContentBlock"


class Turns:
    """The turns of a conversation.  `media` are the kinds of what is not text: `images`,
    `documents`."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.media: list[str] = []

    def add_system(self, system: Any) -> None:
        """The `system` of a request: text, or blocks of it."""
        if text := self._text(system):
            self.messages.append(Message("system", text))

    def add(self, turn: Fields) -> None:
        """One of the `messages`, which may hold several turns: each result of a tool is one.

        Raises `ClientError` in Ollama's words.
        """
        role, content = turn.string("role").lower(), turn.anything("content")
        blocks = _Blocks()
        match content:
            case None:
                pass
            case str():
                blocks.texts.append(well_formed(content))
            case list():
                for block in turn.objects("content", "anthropic.ContentBlock"):
                    self._take(block, blocks)
            case _:
                raise turn.misfit("content", _BLOCKS)
        self.messages += blocks.results  # of calls in an earlier turn, so they come first
        if any((*blocks.texts, *blocks.thoughts, *blocks.calls)):
            text, thinking = "".join(blocks.texts), "".join(blocks.thoughts)
            self.messages.append(Message(role, text, thinking, tuple(blocks.calls)))

    def _take(self, block: Fields, blocks: _Blocks) -> None:
        match block.string("type"):
            case "text":
                blocks.texts.append(block.string("text"))
            case "thinking":
                blocks.thoughts.append(block.string("thinking"))
            case "tool_use":
                blocks.calls.append(self._call(block))
            case "tool_result":
                blocks.results.append(self._result(block))
            case "image":
                _check_image(block.mapping("source", "anthropic.ImageSource"))
                self.media.append("images")
            case "document":
                self.media.append("documents")
            # Other blocks are about what Anthropic's own service did; Ollama ignores them, too.

    def _call(self, block: Fields) -> ToolCall:
        id_, name = block.string("id"), block.string("name")
        for what, value in (("id", id_), ("name", name)):
            if not value:
                raise ClientError(f"tool_use block missing required '{what}' field")
        arguments = block.mapping("input", "api.ToolCallFunctionArguments")
        return ToolCall(name, well_formed_throughout(arguments), id_)

    def _result(self, block: Fields) -> Message:
        text = self._text(block.anything("content"))
        if block.boolean("is_error"):
            text = text or "error"  # silence would look like success
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
                _check_image(source if isinstance(source, dict) else {})
                self.media.append("images")
            case {"type": "document"}:
                self.media.append("documents")
        return ""


@dataclass
class _Blocks:
    """The blocks of one message, sorted."""

    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    results: list[Message] = field(default_factory=list)


def _check_image(source: dict[str, Any]) -> None:
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
