"""Tools on offer, in the form that a model's template expects."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from axproxy.api.gojson.decode import Fields, well_formed_throughout

Tool = Mapping[str, Any]


def functions(tools: Iterable[Fields], *, types: Collection[str], schema: str) -> list[Tool]:
    """Return the functions among `tools`, which are flat objects with a `type`.

    `types` are the types of functions, `schema` is the field with the parameters.  OpenAI or
    Anthropic would run tools of other types; this service cannot, so the model never sees them.
    Raises `ClientError`.
    """
    offered: list[Tool] = []
    for tool in tools:
        described = {
            "name": tool.string("name"),
            "description": tool.string("description"),
            "parameters": tool.mapping(schema),
        }
        if tool.string("type") in types:
            known = {key: value for key, value in described.items() if value}
            offered.append({"type": "function", "function": well_formed_throughout(known)})
    return offered


def only(tools: Iterable[Any], name: str) -> tuple[Tool, ...]:
    """Return the tools with this name; `tools` are as the client described them."""
    return tuple(tool for tool in tools if _name(tool) == name)


def _name(tool: Any) -> Any:
    match tool:
        case {"function": {"name": name}}:
            return name
    return None
