"""Bounds the memory of all requests that are parsed or wait, in bytes as parsed.

A body of 2 MB can become 50 MB of Python objects, and dozens of requests wait at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from werkzeug.wsgi import ClosingIterator

from axproxy.errors import Busy
from axproxy.messages import ChatRequest, PackedSchema

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MOST_TOGETHER = 128 * 1024 * 1024  # bytes, of all large requests
LARGE = 1024 * 1024  # bytes; smaller requests are always let in: the queue bounds their number

_TAKE = "axproxy.take_memory"
_LET_GO = "axproxy.let_memory_go"

# Bytes of what begins with such a character, at most, in CPython 3.11 to 3.13: an object with its
# first key, a list with its first element, a further element with its value, and half a string.
_COSTS = ((b"{", 250), (b"[", 96), (b",", 64), (b'"', 28))


def parsed_size(body: bytes | bytearray) -> int:
    """Return about how many bytes `body` takes once it is parsed as JSON, rather too many."""
    # One character beyond the first plane makes its whole text four times as large.
    width = 1 if body.isascii() and b"\\u" not in body else 4
    return len(body) * width + sum(body.count(sign) * cost for sign, cost in _COSTS)


class RequestMemory:
    """Wraps the WSGI application `app`; a request gives its memory back when it has ended."""

    def __init__(self, app: WSGIApplication, most: int = MOST_TOGETHER) -> None:
        self._app = app
        self._most = most
        self._lock = threading.Lock()
        self._taken = 0  # bytes

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        held: list[int] = []

        def take(size: int) -> None:
            if size >= LARGE:
                self._take(size)
                held.append(size)

        def let_go(size: int) -> None:
            if held:
                size = min(size, held[0])
                held[0] -= size
                self._give_back(size)

        def give_back() -> None:
            while held:  # also called twice
                self._give_back(held.pop())

        environ[_TAKE], environ[_LET_GO] = take, let_go
        try:
            parts = self._app(environ, start_response)
            closes = [give_back, getattr(parts, "close", None)]
            return ClosingIterator(parts, filter(None, closes))
        except BaseException:  # whatever it is, the memory must be free for others again
            give_back()
            raise

    @property
    def taken(self) -> int:
        """What the large requests hold now, in bytes."""
        return self._taken

    def _take(self, size: int) -> None:
        with self._lock:
            # A request that is alone may be of any size; another limit bounds its body.
            if self._taken and self._taken + size > self._most:
                raise Busy(
                    "server busy, please try again.  the large requests that wait take all the "
                    "memory there is for them"
                )
            self._taken += size

    def _give_back(self, size: int) -> None:
        with self._lock:
            self._taken -= size


def take_memory_for(body: bytes | bytearray, environ: WSGIEnvironment) -> None:
    """Hold the memory of this body until its request has ended.  Raises `Busy`."""
    take: Callable[[int], None] | None = environ.get(_TAKE)
    if take:
        take(parsed_size(body))


def let_memory_go(chat: ChatRequest, environ: WSGIEnvironment) -> None:
    """Give back what the request took while it was parsed and needs no more while it waits."""
    release: Callable[[int], None] | None = environ.get(_LET_GO)
    if release and isinstance(chat.format, PackedSchema):
        text = chat.format.text.encode(errors="replace")
        release(max(parsed_size(text) - 4 * len(text), 0))
