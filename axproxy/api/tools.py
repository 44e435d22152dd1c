"""Tools on offer, in the one form that a model's template knows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from axproxy.api.gojson.decode import Fields, well_formed_throughout

Tool = Mapping[str, Any]


def functions(tools: Iterable[Fields], *, types: Collection[str], schema: str) -> list[Tool]:
    """Those of the flat `tools` that have one of the `types`; `schema` is the field with their
    parameters.  The others are run by OpenAI or Anthropic; nobody here could run them, so the model
    does not hear of them.  Raises `ClientError`."""
    offered: list[Tool] = []
    for tool in tools:
        told = {
            "name": tool.string("name"),
            "description": tool.string("description"),
            "parameters": tool.mapping(schema),
        }
        if tool.string("type") in types:
            known = {key: value for key, value in told.items() if value}
            offered.append({"type": "function", "function": well_formed_throughout(known)})
    return offered


def only(tools: Iterable[Any], name: str) -> tuple[Tool, ...]:
    """Those of the `tools`, as a client may have described them, that have this name."""
    return tuple(tool for tool in tools if _name(tool) == name)


def _name(tool: Any) -> Any:
    match tool:
        case {"function": {"name": name}}:
            return name
    return None
