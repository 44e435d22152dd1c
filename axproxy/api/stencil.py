"""JSON that is said again and again with other words in it: all but those is encoded once."""

from __future__ import annotations

import secrets
from itertools import chain
from typing import Any

from axproxy.api.gojson.decode import compact

HOLE = f"hole-{secrets.token_hex(16)}"  # nothing that a client writes can be this
_HOLE = compact(HOLE)


class Stencil:
    """`value` with a `HOLE` for each value in it that varies, between `before` and `after`."""

    def __init__(self, value: Any, *, before: bytes = b"", after: bytes = b"\n") -> None:
        first, *rest = compact(value).split(_HOLE)
        self._first = before + first
        self._rest = rest
        self._rest[-1] += after

    def filled(self, *values: Any) -> bytes:
        """With these in its holes.  Raises `ValueError` when there are not as many of them."""
        pairs = zip(map(compact, values), self._rest, strict=True)
        return b"".join((self._first, *chain.from_iterable(pairs)))
