"""Keeps the most used beginning of prompts in the KV cache while no request comes.

A client that asks the same way again and again, as Home Assistant does with its list of a house's
devices, sends a long system prompt that never changes.  Once another client's request has emptied
the cache, the prompt is read again in a quiet moment, so that the next question waits for its own
words only.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from axproxy.engine.queue import RequestQueue
from axproxy.engine.runtime import Runtime, Supervisor
from axproxy.errors import ProxyError
from axproxy.messages import ChatRequest
from axproxy.prompts.fitting import Prompt

REMEMBERED = 32  # requests
FADING = 0.8  # of a use's weight with each request after it: a prompt with a date is new every day

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WarmingTimes:
    """When warming pays.  Times in seconds, lengths in tokens."""

    least_tokens: int = 256  # two chunks; a shorter prompt is read in no time
    least_uses: int = 2
    after_others: float = 2.0  # without a request, once another client has used the cache
    after_talk: float = 300.0  # the same, when a conversation may go on where it was


class WarmingPolicy:
    """Decides which beginning to keep in the cache, and when to read it again; does no I/O."""

    def __init__(self, times: WarmingTimes | None = None) -> None:
        self._times = times or WarmingTimes()
        self._recent: deque[Prompt | None] = deque(maxlen=REMEMBERED)

    def used(self, beginning: Prompt | None) -> None:
        """Note that a request began so; `None` for one whose beginning cannot be kept."""
        self._recent.append(beginning)

    def candidate(self) -> Prompt | None:
        """Return the beginning that was used most of late, if it is worth the effort."""
        uses: Counter[Prompt] = Counter()
        weights: dict[Prompt, float] = {}
        for age, beginning in enumerate(reversed(self._recent)):
            if beginning and beginning.tokens >= self._times.least_tokens:
                uses[beginning] += 1
                weights[beginning] = weights.get(beginning, 0.0) + FADING**age
        habits = [beginning for beginning in uses if uses[beginning] >= self._times.least_uses]
        return max(habits, key=weights.__getitem__, default=None)

    def due(self, cached: str, quiet_since: float, talking: bool = False) -> float:
        """Return when to warm a cache that holds the text `cached`; `math.inf` means never.

        The time is on the clock of `quiet_since`.  `talking` means that the last request was a turn
        of a conversation, which may go on.
        """
        candidate = self.candidate()
        if candidate is None or cached == candidate.text:
            return math.inf
        leave_alone = talking or cached.startswith(candidate.text)
        pause = self._times.after_talk if leave_alone else self._times.after_others
        return quiet_since + pause


class CacheWarmer:
    """One thread, which looks at each request once it is answered.

    A request that arrives while the warmer reads must wait for the rest of that: the vendor's
    program cannot cancel a reset.
    """

    def __init__(
        self,
        runtime: Runtime[Any],
        queue: RequestQueue,
        supervisor: Supervisor,
        *,
        times: WarmingTimes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtime = runtime
        self._queue = queue
        self._supervisor = supervisor
        self._policy = WarmingPolicy(times)
        self._clock = clock
        self._changed = threading.Condition()  # guards all below
        self._answered: deque[ChatRequest] = deque(maxlen=8)
        self._quiet_since = math.inf
        self._talking = False
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="warmer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def answered(self, request: ChatRequest) -> None:
        """Note that the cache was used for `request`; called by the request's thread."""
        if not self._thread.is_alive():  # no thread would look, and prompts are not ours to keep
            return
        with self._changed:
            self._answered.append(request)
            self._quiet_since = self._clock()
            # People take longer to answer than we are quiet, and each turn would begin anew.
            answers = (turn.role == "assistant" for turn in request.messages)
            self._talking = any(answers) or bool(request.context)
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopped:
                    return
                requests, talking = list(self._answered), self._talking
                quiet_since = self._quiet_since
                self._answered.clear()
            try:
                for request in requests:
                    self._policy.used(self._runtime.beginning(request))
                due = self._policy.due(self._runtime.cached(), quiet_since, talking)
                if due <= self._clock():
                    self._warm_up()
                    due = math.inf  # until the next request
            except ProxyError as error:  # no request waits for this
                log.info("no beginning was kept warm: %s", error.message)
                due = math.inf
            except Exception:  # without this thread nothing would be kept warm ever again
                log.exception("keeping a beginning warm failed")
                due = math.inf
            with self._changed:
                if not (self._answered or self._stopped):
                    left = due - self._clock()
                    self._changed.wait(left if math.isfinite(left) else None)

    def _warm_up(self) -> None:
        candidate = self._policy.candidate()
        ticket = self._queue.admit_at_once()
        if ticket is None:
            return
        try:
            if candidate and self._supervisor.not_ready() is None:
                log.info("reading the most used beginning, %d tokens", candidate.tokens)
                self._runtime.warm(candidate)
        finally:
            ticket.give_back()
