"""Tools on offer, in the form that a model's template expects."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from axproxy.api.gojson.decode import Fields, well_formed_throughout

Tool = Mapping[str, Any]


@dataclass(frozen=True)
class Offer:
    """The tools on offer to the model, and whether its answer must call one of them."""

    tools: tuple[Tool, ...] = ()
    must_call: bool = False

    @classmethod
    def of(cls, tools: Iterable[Tool], *, must_call: bool = False) -> Offer:
        """Return the offer of these tools; without any, no call can be asked for."""
        offered = tuple(tools)
        return cls(offered, must_call and bool(offered))


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


def only(tools: Iterable[Any], *names: Any) -> tuple[Tool, ...]:
    """Return the tools with these names; `tools` are as the client described them."""
    return tuple(tool for tool in tools if (name := name_of(tool)) is not None and name in names)


def name_of(tool: Any) -> Any:
    """Return the name of a function as a client described it, `None` where it has none."""
    match tool:
        case {"function": {"name": name}}:
            return name
    return None
