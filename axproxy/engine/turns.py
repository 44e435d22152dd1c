"""Decides whose request is next: turns go round by client.  It has no clock and no lock.

One client's requests are served in the order in which they came.  A client that has had its turn
goes to the end of the round, and so does one that joins.  A request at the head of its client's
line therefore waits for one answer of each other client at most, however many they have waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

RequestT = TypeVar("RequestT")


class TurnOrder(Generic[RequestT]):
    """The waiting requests, each of which is in it once."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[RequestT]] = {}  # by client; the first one has the next turn
        self._count = 0

    def __len__(self) -> int:
        return self._count  # may be read beside a change on another thread

    def join(self, client: str, request: RequestT) -> None:
        """Let a request wait."""
        self._lines.setdefault(client, deque()).append(request)
        self._count += 1

    def leave(self, client: str, request: RequestT) -> None:
        """Let a request go without a turn.  Raises `ValueError` if it does not wait."""
        line = self._lines.get(client, deque())
        line.remove(request)
        self._count -= 1
        if not line:
            del self._lines[client]

    def first(self) -> RequestT | None:
        """Return the request whose turn is next, which goes on waiting; None if none waits."""
        return next((line[0] for line in self._lines.values()), None)

    def begin(self, client: str) -> RequestT:
        """Take the client's oldest request out, and put the client at the end of the round."""
        line = self._lines.pop(client)
        request = line.popleft()
        self._count -= 1
        if line:
            self._lines[client] = line
        return request

    def held(self) -> dict[str, int]:
        """Return how many requests of each client wait."""
        return {client: len(line) for client, line in self._lines.items()}

    def newest(self, client: str) -> RequestT:
        """Return the request of a waiting client that came last."""
        return self._lines[client][-1]

    def in_order(self) -> Iterator[RequestT]:
        """Yield all requests in the order of their turns, if none joins or leaves."""
        lines = [iter(line) for line in self._lines.values()]
        while lines:
            going_on = []
            for line in lines:
                for request in line:
                    yield request
                    going_on.append(line)
                    break
            lines = going_on

    def ahead_of(self, client: str) -> int:
        """Return how many requests would have their turn before one that `client` sends now."""
        own = len(self._lines.get(client, ()))
        before = 0
        met = False
        for other, line in self._lines.items():
            met = met or other == client
            # Clients behind ours in the round are behind its last request, too.
            before += min(len(line), own if met else own + 1)
        return before
