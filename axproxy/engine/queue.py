"""One generation at a time; the others wait in the order they came."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from axproxy.errors import Busy, ClientGone

LOOK_UP = 0.25  # seconds between two looks at whether a waiting client is still there


class Ticket:
    """The right to use the card.  `give_back` may be called more than once."""

    def __init__(self, queue: RequestQueue) -> None:
        self._queue: RequestQueue | None = queue

    def give_back(self) -> None:
        queue, self._queue = self._queue, None
        if queue:
            queue.release()


class RequestQueue:
    """Each place in the line is an event of its own, so that only the one who may go wakes up."""

    def __init__(self, places: int) -> None:
        self._places = places  # for waiting, beside the one who is served
        self._line: deque[threading.Event] = deque()
        self._busy = False
        self._lock = threading.Lock()  # guards _line and _busy

    @property
    def waiting(self) -> int:
        return len(self._line)

    @property
    def busy(self) -> bool:
        return self._busy

    def admit(self, gone: Callable[[], bool]) -> Ticket:
        """Blocks until it is the caller's turn.

        Raises `Busy` at once when the line is full, and `ClientGone` when `gone` says so.
        """
        if ticket := self.admit_at_once():
            return ticket
        place = threading.Event()
        with self._lock:
            if len(self._line) >= self._places:
                raise Busy("server busy, please try again.  maximum pending requests exceeded")
            self._line.append(place)
            self._call_first()  # whoever was served may have left since
        try:
            self._wait(place, gone)
        except BaseException:  # whatever ends the wait, the place must not stay taken
            with self._lock:
                self._line.remove(place)
                self._call_first()  # it may have been called already
            raise
        return Ticket(self)

    def admit_at_once(self) -> Ticket | None:
        """`None` when somebody is served or waits."""
        with self._lock:
            if self._busy or self._line:
                return None
            self._busy = True
            return Ticket(self)

    def release(self) -> None:
        with self._lock:
            self._busy = False
            self._call_first()

    def _wait(self, place: threading.Event, gone: Callable[[], bool]) -> None:
        while True:
            if gone():  # looks at a socket, so not under the lock
                raise ClientGone
            if place.wait(LOOK_UP):
                with self._lock:
                    self._line.popleft()  # ours: only the first is called, while nobody is served
                    self._busy = True
                    return

    def _call_first(self) -> None:
        if self._line and not self._busy:
            self._line[0].set()
