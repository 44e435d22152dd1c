"""Decides whose request is next: turns go round by client.  It has no clock and no lock.

One client's requests are served in the order in which they came.  A client that has had its turn
goes to the end of the round, and so does one that joins.  A request at the head of its client's
line therefore waits for one answer of each other client at most, however many they have waiting.

Reading a prompt takes most of the time, so a request that goes on from what the KV cache holds may
pass others.  Each client passes a waiting one once at most, and never one that has waited for
`PATIENCE`.  Such a wait is longer by the answer that ran when it began, and by nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

RequestT = TypeVar("RequestT")

PATIENCE = 30.0  # seconds for which a waiting client may be passed
LEAST_SAVED = 256  # tokens, two chunks; fewer are read in no time
# Seconds for which the card is kept for the next request of a client whose answer calls a tool: an
# agent sends the result at once, and all of its prompt would be read again after another's turn.
HOLD = 1.0


@dataclass
class _Line(Generic[RequestT]):
    """The requests of one client; which others had a turn, `passed`, since the first is next."""

    since: float
    requests: deque[RequestT] = field(default_factory=deque)
    passed: set[str] = field(default_factory=set)


class TurnOrder(Generic[RequestT]):
    """The waiting requests, each of which is in it once.

    `saved` returns how many tokens of a request's prompt the KV cache holds now.  Times are in
    seconds on a clock of the caller's.
    """

    def __init__(self, saved: Callable[[RequestT], int] = lambda _request: 0) -> None:
        self._saved = saved
        self._lines: dict[str, _Line[RequestT]] = {}  # by client; the first one has the next turn
        self._count = 0

    def __len__(self) -> int:
        return self._count  # may be read beside a change on another thread

    def join(self, client: str, request: RequestT, now: float = 0.0) -> None:
        """Let a request wait."""
        self._lines.setdefault(client, _Line(now)).requests.append(request)
        self._count += 1

    def leave(self, client: str, request: RequestT) -> None:
        """Let a request go without a turn.  Raises `ValueError` if it does not wait."""
        line = self._lines.get(client, _Line(0.0))
        line.requests.remove(request)
        self._count -= 1
        if not line.requests:
            del self._lines[client]

    def first(self, now: float = 0.0) -> RequestT | None:
        """Return the request whose turn is next, which goes on waiting; None if none waits."""
        if not self._lines:
            return None
        best, *others = (line.requests[0] for line in self._lines.values())
        most = self._saved(best)
        for client, request in zip(list(self._lines)[1:], others, strict=True):
            saved = self._saved(request)
            if saved >= most + LEAST_SAVED and self._may_pass(client, now):
                best, most = request, saved
        return best

    def holds_for(self, client: str, tokens: int, now: float) -> bool:
        """Return whether to wait for the client's next request, which would save `tokens`.

        That is so for `HOLD` seconds after its answer, if that request may pass those who wait and
        none of them goes on from the cache.
        """
        first = self.first(now)
        if first is None or tokens < LEAST_SAVED or self._saved(first) >= LEAST_SAVED:
            return False
        return self._may_pass(client, now)

    def begin(self, client: str, now: float = 0.0) -> RequestT:
        """Take the client's oldest request out, and put the client at the end of the round."""
        line = self._lines.pop(client)
        request = line.requests.popleft()
        self._count -= 1
        for other in self._lines.values():
            other.passed.add(client)
        if line.requests:
            self._lines[client] = _Line(now, line.requests)
        return request

    def held(self) -> dict[str, int]:
        """Return how many requests of each client wait."""
        return {client: len(line.requests) for client, line in self._lines.items()}

    def newest(self, client: str) -> RequestT:
        """Return the request of a waiting client that came last."""
        return self._lines[client].requests[-1]

    def in_order(self) -> Iterator[RequestT]:
        """Yield all requests in the order of their turns, if none joins, leaves or passes."""
        lines = [iter(line.requests) for line in self._lines.values()]
        while lines:
            going_on = []
            for line in lines:
                for request in line:
                    yield request
                    going_on.append(line)
                    break
            lines = going_on

    def _may_pass(self, client: str, now: float) -> bool:
        """Return whether a request of the client may have its turn before those ahead of it."""
        for other, line in self._lines.items():
            if other == client:
                break
            if client in line.passed or now - line.since >= PATIENCE:
                return False
        return True
