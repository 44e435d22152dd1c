"""Reads chat requests as the program does, with its errors and its silences."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axmock.axllm.config import Config

INVALID = "invalid_request_error"
_KINDS = {
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}
_MEDIA = ("image", "video", "audio")


class Refused(Exception):
    """The request gets this error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class TypeMismatch(Exception):
    """A field of another type: an exception of the JSON library, so a 500 without a body."""

    def __init__(self, wanted: str, value: Any) -> None:
        super().__init__(
            f"[json.exception.type_error.302] type must be {wanted}, but is {_KINDS[type(value)]}"
        )


@dataclass(frozen=True)
class Chat:
    """A request for a run; `limit` is its `max_tokens`, at most 0 for the whole window."""

    turns: tuple[tuple[str, str], ...]
    stream: bool
    limit: int
    thinking: str
    images: int


def parse_object(body: bytes, *, embedding: bool = False) -> Mapping[str, Any]:
    """Return the object in `body`.  Raises `Refused`."""
    try:
        value = json.loads(body)
    except ValueError as error:
        text = "" if embedding else f": [json.exception.parse_error.101] {error}"
        raise Refused(400, INVALID, f"Invalid JSON{text}") from error
    return value if isinstance(value, dict) else {}


def check_model(body: Mapping[str, Any], config: Config) -> None:
    """Raise `Refused` unless the request names the one model."""
    name = _field(body, "model", str, "string", "")
    if not name:
        raise Refused(400, INVALID, "Missing 'model' field")
    if name != config.model_name:
        raise Refused(
            400,
            INVALID,
            f"Model '{name}' is not available. Available models: {config.model_name}",
        )


def parse_chat(body: bytes, config: Config, opened: Callable[[str], None]) -> Chat:
    """Parse a chat request.

    `opened` is called with each local path that the program opens because a client named it.
    Raises `Refused` and `TypeMismatch`.
    """
    fields = parse_object(body)
    check_model(fields, config)
    stream = _field(fields, "stream", bool, "boolean", False)
    default = config.default_output or config.max_output or 2048
    limit = _field(fields, "max_tokens", int, "number", default)
    if config.max_output:
        limit = min(limit, config.max_output) if limit > 0 else config.max_output
    for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty"):
        _field(fields, name, (int, float), "number", 0.0)
    messages = fields.get("messages")
    if not isinstance(messages, list):
        raise Refused(400, INVALID, "Failed to parse chat messages.")
    turns, images = [], 0
    for message in messages:
        role, text, pictures = _turn(message, config, opened)
        turns.append((role, text))
        images += pictures
    return Chat(tuple(turns), stream, limit, _thinking(fields, config), images)


def _field(body: Mapping[str, Any], name: str, kind: Any, wanted: str, default: Any) -> Any:
    if name not in body:
        return default
    value = body[name]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeMismatch(wanted, value)
    return value


def _thinking(fields: Mapping[str, Any], config: Config) -> str:
    template = fields.get("chat_template_kwargs")
    for place in (fields, template if isinstance(template, dict) else {}):
        if isinstance(place.get("enable_thinking"), bool):
            return "think" if place["enable_thinking"] else "no_think"
        mode = place.get("thinking_mode")
        if mode in ("think", "no_think"):
            return str(mode)
    return config.thinking_mode


def _turn(message: Any, config: Config, opened: Callable[[str], None]) -> tuple[str, str, int]:
    unreadable = Refused(400, INVALID, "Failed to parse chat messages.")
    if not isinstance(message, dict) or message.get("role") not in ("system", "user", "assistant"):
        raise unreadable
    content = message.get("content")
    if isinstance(content, str):
        return message["role"], content, 0
    if not isinstance(content, list):
        raise unreadable
    texts, media = [], []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            texts.append(str(part.get("text", "")))
        elif kind in _MEDIA or (isinstance(kind, str) and kind.removesuffix("_url") in _MEDIA):
            media.append((kind.removesuffix("_url"), part.get(f"{kind.removesuffix('_url')}_url")))
    if media and not config.sees:
        raise Refused(400, INVALID, f"Model '{config.model_name}' does not support image inputs")
    if len({kind for kind, _ in media}) > 1:
        raise unreadable
    for _, source in media:
        _open(source.get("url") if isinstance(source, dict) else source, opened, unreadable)
    return message["role"], "".join(texts), len(media)


def _open(url: Any, opened: Callable[[str], None], unreadable: Refused) -> None:
    """Open a picture: a data URI is decoded, and everything else is a path on this machine."""
    if not isinstance(url, str):
        raise unreadable
    if url.startswith("data:"):
        head, comma, payload = url.partition(",")
        if not comma or not head.endswith(";base64"):
            raise unreadable
        try:
            base64.b64decode(payload, validate=True)
        except ValueError as error:
            raise unreadable from error
        return
    path = Path(url.removeprefix("image:").removeprefix("video:").removeprefix("audio:"))
    opened(str(path))
    if not os.path.exists(path):
        raise unreadable
