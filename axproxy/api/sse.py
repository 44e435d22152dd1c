"""Server-sent events, as bytes."""

from __future__ import annotations

from typing import Any

from axproxy.api.gojson.decode import compact

SIGN_OF_LIFE = b": still working\n\n"  # a comment, which readers of such streams skip


def event(body: Any, name: str = "") -> bytes:
    """One event whose data is `body` as JSON; without a name readers call it `message`."""
    head = f"event: {name}\n" if name else ""
    return head.encode() + b"data: " + compact(body) + b"\n\n"
