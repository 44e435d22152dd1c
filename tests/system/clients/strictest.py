"""What the strictest clients of Ollama reject: its Go client, OllamaKit, ollama-js."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_COUNT = re.compile(r"size|size_vram|total|completed|created|context_length|.*_(count|duration)")
_TIME = re.compile(r"created_at|modified_at|expires_at")
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_DIGEST = re.compile(r"(sha256:)?[0-9a-f]{64}")
_LISTS = {"models", "families", "capabilities", "tool_calls", "context"}


def complaints(line: str) -> list[str]:
    """Return what is wrong with a line of JSON in an answer."""
    value = json.loads(line)
    found = list(_walk(value))
    if "error" in value and not (value["error"] and isinstance(value["error"], str)):
        found.append("ollama-js takes any `error` for a failure, and Go's client wants a text")
    if "message" in value and not isinstance(value["message"].get("content"), str):
        found.append("a message has no content")
    if not isinstance(value.get("model_info", {}), dict):
        found.append("model_info is no object")
    return found


def _walk(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for inner in value:
            yield from _walk(inner)
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        if _COUNT.fullmatch(key) and type(inner) is not int:
            yield f"{key} is no integer: {inner!r}"
        if _TIME.fullmatch(key) and not _STAMP.fullmatch(str(inner)):
            yield f"{key} is no time that all can read: {inner!r}"
        if key == "digest" and not _DIGEST.fullmatch(str(inner)):
            yield f"`ollama list` would crash on the digest {inner!r}"
        if key in _LISTS and not isinstance(inner, list):
            yield f"{key} is no list: {inner!r}"
        if key == "arguments" and not isinstance(inner, dict):
            yield f"arguments are no object: {inner!r}"
        yield from _walk(inner)
