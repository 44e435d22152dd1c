"""Server-sent events, as bytes."""

from __future__ import annotations

from typing import Any

from axproxy.api.gojson.decode import compact
from axproxy.api.stencil import Stencil

SIGN_OF_LIFE = b": still working\n\n"  # a comment, which readers of such streams skip


def event(body: Any, name: str = "") -> bytes:
    """One event whose data is `body` as JSON; without a name readers call it `message`."""
    return _head(name) + compact(body) + _END


def stencil(body: Any, name: str = "") -> Stencil:
    """The same for an event that is sent again and again."""
    return Stencil(body, before=_head(name), after=_END)


_END = b"\n\n"


def _head(name: str) -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: "
