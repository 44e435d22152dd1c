"""How deeply a JSON value is nested, found out without recursion."""

from __future__ import annotations

from typing import Any

DEEPEST = 100  # arrays and objects inside each other; whoever handles the value may recurse


def too_deep(value: Any) -> bool:
    """Whether more than `DEEPEST` arrays and objects are inside each other."""
    level = [value]
    for _ in range(DEEPEST + 1):
        containers = [item for item in level if isinstance(item, dict | list)]
        if not containers:
            return False
        level = [
            item
            for container in containers
            for item in (container.values() if isinstance(container, dict) else container)
        ]
    return True
