"""Tools on offer, in the one form that a model's template knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from axproxy.go_json import well_formed_throughout

Tool = Mapping[str, Any]


def function(name: str, description: str, parameters: Mapping[str, Any]) -> Tool:
    """A function; what is empty is left out."""
    told = {"name": name, "description": description, "parameters": parameters}
    known = {key: value for key, value in told.items() if value}
    return {"type": "function", "function": well_formed_throughout(known)}


def only(tools: Iterable[Any], name: str) -> tuple[Tool, ...]:
    """Those of the `tools`, as a client may have described them, that have this name."""
    return tuple(tool for tool in tools if _name(tool) == name)


def _name(tool: Any) -> Any:
    match tool:
        case {"function": {"name": name}}:
            return name
    return None
