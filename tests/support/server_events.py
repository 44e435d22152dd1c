"""What a reader of server-sent events hears."""

from __future__ import annotations

import json
from typing import Any


def heard(stream: bytes) -> list[tuple[str, Any]]:
    """Names and data of the events, comments left out."""
    *blocks, nothing = stream.decode().split("\n\n")
    assert nothing == ""
    events = []
    for block in blocks:
        if not block.startswith(":"):
            name, data = block.split("\n")
            events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events
