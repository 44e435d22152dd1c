"""OpenAI's messages: text or parts, calls of tools whose arguments are JSON in a string."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from axproxy.api.gojson.base64 import corrupt_at
from axproxy.api.gojson.decode import Fields, go_type, well_formed, well_formed_throughout
from axproxy.errors import ClientError
from axproxy.messages import Message, ToolCall
from axproxy.output.model_json import too_deep

_IMAGE = re.compile(r"data:(?:image/(?:jpeg|jpg|png|webp))?;base64,(.*)", re.DOTALL)
_BETWEEN_PARTS = "\n\n"


@dataclass(frozen=True)
class Conversation:
    """`media` are the kinds of what is not text: `images`, `audio`."""

    messages: tuple[Message, ...]
    media: tuple[str, ...]


def read_conversation(turns: Sequence[Fields]) -> Conversation:
    """Raises `ClientError` in Ollama's words."""
    media: list[str] = []
    messages = []
    for turn in turns:
        calls = turn.objects("tool_calls", "openai.ToolCall")
        role = turn.string("role").lower()
        messages.append(
            Message(
                role="system" if role == "developer" else role,
                content=_content(turn.anything("content"), media),
                thinking=turn.string("reasoning") or turn.string("reasoning_content"),
                tool_calls=tuple(_tool_call(call) for call in calls),
                tool_name=turn.string("name") if role == "tool" else "",
                tool_call_id=turn.string("tool_call_id"),
            )
        )
    return Conversation(tuple(messages), tuple(media))


def _content(value: Any, media: list[str]) -> str:
    match value:
        case None:  # beside tool calls; and from clients that mean nothing by it
            return ""
        case str():
            return well_formed(value)
        case list():
            parts = [_part(part, media) for part in value]
            return _BETWEEN_PARTS.join(part for part in parts if part)
    raise ClientError(f"invalid message content type: {go_type(value)}")


def _part(part: Any, media: list[str]) -> str:
    match part:
        case {"type": "text", "text": str(text)}:
            return well_formed(text)
        case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
            check_image(url)
            media.append("images")
            return ""
        case {"type": "input_audio"}:
            media.append("audio")
            return ""
    raise ClientError("invalid message format")


def check_image(url: str) -> None:
    if url.startswith(("http://", "https://")):
        raise ClientError(
            "image URLs are not currently supported, please use base64 encoded data instead"
        )
    found = _IMAGE.fullmatch(url)
    if not found or corrupt_at(found[1]) is not None:
        raise ClientError("invalid image input")


def _tool_call(call: Fields) -> ToolCall:
    function = call.mapping("function", "struct")
    name, text = function.get("name"), function.get("arguments")
    try:
        arguments = json.loads(text or "{}") if isinstance(text, str | None) else text
    except (ValueError, RecursionError) as error:
        raise ClientError("invalid tool call arguments") from error
    if not isinstance(arguments, dict) or too_deep(arguments):
        raise ClientError("invalid tool call arguments")
    named = well_formed(name) if isinstance(name, str) else ""
    return ToolCall(named, well_formed_throughout(arguments), call.string("id"))
