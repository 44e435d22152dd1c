"""Reads server-sent events as a client does."""

from __future__ import annotations

import json
from typing import Any


def read_events(stream: bytes) -> list[tuple[str, Any]]:
    """Return the name and the data of each event; comments are left out."""
    *blocks, nothing = stream.decode().split("\n\n")
    assert nothing == ""
    events = []
    for block in blocks:
        if not block.startswith(":"):
            name, data = block.split("\n")
            events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events
