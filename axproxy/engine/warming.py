"""Keeps the most used beginning of prompts in the card's cache, in moments when nobody asks."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable

from axproxy.engine.queue import RequestQueue
from axproxy.engine.unit import Supervisor
from axproxy.engine.warmth import WarmingPolicy, WarmingTimes
from axproxy.errors import ProxyError
from axproxy.messages import ChatRequest
from axproxy.prompts.renderer import PromptRenderer
from axproxy.runtimes.main_api.runtime import MainApiRuntime

log = logging.getLogger(__name__)


class CacheWarmer:
    """One thread, which looks at what was asked once it is answered.  A request that comes while it
    reads must wait for the rest of that, for nothing stops a reset of the vendor's program.

    `prompts` makes prompts as the model knows them.
    """

    def __init__(
        self,
        slot: MainApiRuntime,
        queue: RequestQueue,
        unit: Supervisor,
        *,
        prompts: Callable[[], PromptRenderer],
        policy: WarmingTimes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slot = slot
        self._queue = queue
        self._unit = unit
        self._prompts = prompts
        self._warmth = WarmingPolicy(policy or WarmingTimes())
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
        """The cache has been used for it."""
        if not self._thread.is_alive():  # nobody would look, and prompts are not ours to keep
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
                    self._remember(request)
                due = self._warmth.due(self._slot.held, quiet_since, talking)
                if due <= self._clock():
                    self._warm_up()
                    due = math.inf  # until somebody asks again
            except ProxyError as error:  # nobody waits for this
                log.info("no beginning was kept warm: %s", error.message)
                due = math.inf
            except Exception:  # without this thread nothing would be kept warm ever again
                log.exception("keeping a beginning warm failed")
                due = math.inf
            with self._changed:
                if not (self._answered or self._stopped):
                    left = due - self._clock()
                    self._changed.wait(left if math.isfinite(left) else None)

    def _remember(self, request: ChatRequest) -> None:
        beginning = self._prompts().beginning(request)
        window = self._unit.window()
        fits = beginning and beginning.tokens <= window.prefill_limit - 2 * window.prefill_chunk
        self._warmth.used(beginning if fits else None)

    def _warm_up(self) -> None:
        candidate = self._warmth.candidate()
        ticket = self._queue.admit_at_once()
        if ticket is None:
            return
        try:
            if candidate and self._unit.not_ready() is None:
                log.info("reading the most used beginning, %d tokens", candidate.tokens)
                self._slot.warm(candidate)
        finally:
            ticket.give_back()
