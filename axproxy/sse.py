"""Server-sent events, as bytes."""

from __future__ import annotations

from typing import Any

from axproxy.go_json import compact
from axproxy.stencil import Stencil

SIGN_OF_LIFE = b": still working\n\n"  # a comment, which readers of such streams skip


def event(body: Any, name: str = "") -> bytes:
    """One event whose data is `body` as JSON; without a name readers call it `message`."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + compact(body) + b"\n\n"


def stencil(body: Any) -> Stencil:
    """The same for an event without a name that is sent again and again."""
    return Stencil(body, before=b"data: ", after=b"\n\n")
