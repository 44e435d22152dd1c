"""One generation at a time; the other requests wait, and turns go round by client."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial

from axproxy.engine.turns import HOLD, TurnOrder
from axproxy.engine.waits import REMEMBERED, expected_wait
from axproxy.errors import Busy, ClientGone
from axproxy.health import QueueHealth
from axproxy.messages import QueuePlace

DISCONNECT_CHECK_INTERVAL = 0.25  # seconds between two looks at whether a waiting client is there
_FULL = "server busy, please try again.  maximum pending requests exceeded"


class Ticket:
    """The right to use the runtime.  `give_back` may be called more than once.

    `saves` is how many tokens of the client's next request the KV cache holds, if it comes at once.
    """

    def __init__(self, queue: RequestQueue, client: str = "") -> None:
        self._queue: RequestQueue | None = queue
        self._client = client

    def give_back(self, saves: int = 0) -> None:
        queue, self._queue = self._queue, None
        if queue:
            queue.release(self._client, saves)


class _Place:
    """The place of one waiting request; its event wakes only this one.

    `saved` returns how many tokens of its prompt the KV cache holds now; it does no I/O.
    """

    def __init__(self, client: str, saved: Callable[[], int]) -> None:
        self.client = client
        self.saved = saved
        self.called = threading.Event()
        self.lost = False  # to a client that holds fewer


class RequestQueue:
    """A bounded queue of threads; `TurnOrder` decides who is next.

    One client may hold all places, but keeps only half of them once others come and find the queue
    full: then the newest of its requests are refused instead of theirs.
    """

    def __init__(self, places: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = 0.0  # the running turn
        self._runs: deque[float] = deque(maxlen=REMEMBERED)  # seconds of clients' turns
        self._places = places  # for waiting requests, beside the running one
        self._waiting: TurnOrder[_Place] = TurnOrder(lambda place: place.saved())
        self._held = ("", 0, 0.0)  # the client for whom the card is kept, `saves`, until when
        self._called: _Place | None = None  # waits still, but has the next turn
        self._busy = False
        self._lock = threading.Lock()  # guards all of these

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def busy(self) -> bool:
        return self._busy

    def health(self) -> QueueHealth:
        """Return the state, and what a request of a client that has none waiting would get."""
        with self._lock:
            ahead = len(self._waiting.held())
            wait = self._expected(ahead)
            next_position = ahead + 1 if self._busy or ahead else 0
            return QueueHealth(
                len(self._waiting),
                self._busy,
                self._places,
                next_position,
                None if wait is None else round(wait, 1),
            )

    def admit(self, gone: Callable[[], bool], client: str = "") -> Ticket:
        """Block until it is the caller's turn; raises as `until_admitted` does."""
        steps = self.until_admitted(gone, client)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                ticket: Ticket = end.value
                return ticket

    def until_admitted(
        self,
        gone: Callable[[], bool],
        client: str = "",
        saved: Callable[[], int] = lambda: 0,
    ) -> Generator[Callable[[], QueuePlace], None, Ticket]:
        """Yield what looks up the place, four times a second, until the turn comes.

        Returns the ticket.  Looking up takes time with the number of those who wait, so each need
        not do it every time.

        The first step takes the place in the queue, and closing the generator gives it up.  Raises
        `Busy` at the first step when the queue is full, or later when `client` has lost the place
        to another; and `ClientGone` once `gone()`.
        """
        if ticket := self.admit_at_once(client):
            return ticket
        place = _Place(client, saved)
        with self._lock:
            if len(self._waiting) >= self._places and not self._make_room_for(client):
                raise Busy(_FULL)
            self._waiting.join(client, place, self._clock())
            self._call_first()  # the running request may have ended since
        try:
            yield from self._wait(place, gone)
        except BaseException:  # whatever ends the wait, the place must not stay taken
            with self._lock:
                if not place.lost:
                    self._waiting.leave(client, place)
                if self._called is place:
                    self._called = None
                self._call_first()
            raise
        return Ticket(self, client)

    def admit_at_once(self, client: str = "") -> Ticket | None:
        """Return a ticket, or `None` when a request runs or waits."""
        with self._lock:
            if self._busy or len(self._waiting):
                return None
            self._begin()
            return Ticket(self, client)

    def release(self, client: str, saves: int) -> None:
        """End the running turn; called by its ticket.  Those without a client are not measured."""
        now = self._clock()
        with self._lock:
            if client:
                self._runs.append(now - self._began)
            self._held = (client, saves, now + HOLD)
            self._busy = False
            self._call_first()

    def _wait(
        self, place: _Place, gone: Callable[[], bool]
    ) -> Generator[Callable[[], QueuePlace], None, None]:
        while True:
            if gone():  # looks at a socket, so not under the lock
                raise ClientGone
            if place.called.wait(DISCONNECT_CHECK_INTERVAL):
                with self._lock:
                    if place.lost:
                        raise Busy(_FULL)
                    # The oldest of its client, so ours.
                    self._waiting.begin(place.client, self._clock())
                    self._called = None
                    self._begin()
                    return
            with self._lock:
                self._call_first()  # the card may be kept no longer
            yield partial(self._place_of, place)

    def _begin(self) -> None:
        self._busy = True
        self._began = self._clock()

    def _expected(self, ahead: int) -> float | None:
        running_for = self._clock() - self._began if self._busy else None
        return expected_wait(self._runs, running_for, ahead)

    def _place_of(self, place: _Place) -> QueuePlace:
        with self._lock:
            ahead = 0 if place.lost else list(self._waiting.in_order()).index(place)
            return QueuePlace(ahead + 1, self._expected(ahead))

    def _call_first(self) -> None:
        if self._busy or self._called:
            return
        client, saves, until = self._held
        now = self._clock()
        if now < until and self._waiting.holds_for(client, saves, now):
            return
        self._called = self._waiting.first(now)
        if self._called:
            self._called.called.set()

    def _make_room_for(self, client: str) -> bool:
        """Take the newest place of the client with the most, if it holds more than its half."""
        held = self._waiting.held()
        greediest, most = max(held.items(), key=lambda each: each[1], default=("", 0))
        # Two clients must not take places from each other for ever.
        if most <= self._places // 2 or held.get(client, 0) + 1 >= most:
            return False
        newest = self._waiting.newest(greediest)  # not the called one, for it holds two or more
        self._waiting.leave(greediest, newest)
        newest.lost = True
        newest.called.set()
        return True


class FewAtOnce:
    """Lets only a few threads do the same work at once; they compete for one interpreter."""

    def __init__(self, most: int) -> None:
        self._places = threading.BoundedSemaphore(most)

    @contextmanager
    def place(self, gone: Callable[[], bool]) -> Iterator[None]:
        """Wait for a place and hold it.  Raises `ClientGone` once `gone()`."""
        while not self._places.acquire(timeout=DISCONNECT_CHECK_INTERVAL):
            if gone():
                raise ClientGone
        try:
            yield
        finally:
            self._places.release()
