"""The engine of this service: the vendor's runtime, one request at a time.

Each request becomes reset, generate, poll; what it needs to know of the two processes it learns
from a `Unit`, which keeps them alive.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from axproxy.engine import Answer, Gone, Loaded, ModelCard
from axproxy.errors import (
    Busy,
    ProxyError,
    RuntimeGone,
    RuntimeMisbehaved,
    RuntimeStalled,
    Starting,
    Unloaded,
)
from axproxy.fitting import Prompt
from axproxy.generation import Generation, Patience
from axproxy.messages import ChatRequest, Event, Finished, Text, Usage
from axproxy.prompts import Prompts
from axproxy.residency import Residency
from axproxy.runtime_client import RuntimeClient
from axproxy.runtime_log import RunTimes, Window
from axproxy.settings import Settings
from axproxy.tokenizer_client import TokenizerClient
from axproxy.turnstile import Turnstile

RESTART_HOLD = 30.0  # seconds that a request waits for a program that has failed

log = logging.getLogger(__name__)


class Unit(Protocol):
    """The processes behind us, as far as a request must know.  Only `start`, `stop`, `wait_ready`
    and `why_gone` take time."""

    def start(self) -> None: ...

    def leave(self) -> None:
        """Begins nothing new."""

    def stop(self) -> None: ...

    def window(self) -> Window:
        """The one to enforce; a safe guess until the runtime has told its own."""

    def known_window(self) -> Window | None: ...

    def not_ready(self) -> ProxyError | None: ...

    def wait_ready(self, gone: Gone, hold: float = math.inf) -> None:
        """Raises `ProxyError` when they will not become ready, or are being restarted for longer
        than `hold` seconds; `ClientGone` when `gone()`."""

    def run_times(self) -> RunTimes:
        """What the runtime says of its latest run."""

    def runtime_pid(self) -> int | None: ...

    def interruption(self) -> ProxyError | None:
        """Why the running answer was, or is about to be, stopped from outside its request."""

    def report_wedged(self, pid: int | None, reason: str) -> bool:
        """True when that process will be recycled, so that nobody need stop it any more."""

    def why_gone(self, pid: int | None) -> str:
        """What became of that process, in words; waits a moment until it is known."""

    def revive(self) -> None:
        """Starts again what was given up or unloaded."""

    def unload(self) -> None:
        """Stops the runtime, so that the card is free, until `revive`."""

    def health(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class _Job:
    request: ChatRequest
    prompt: Prompt | None  # made later where the model, and so its window, is not there yet
    gone: Gone
    asked: float  # on the engine's clock


class VendorEngine:
    """`connect` makes a client for one answer; `tokenizer` serves all.  `patience` is by default
    what `settings` ask for."""

    def __init__(
        self,
        settings: Settings,
        unit: Unit,
        card: ModelCard,
        *,
        tokenizer: TokenizerClient,
        connect: Callable[[], RuntimeClient],
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._unit = unit
        self._card = card
        self._tokenizer = tokenizer
        self._connect = connect
        self._clock = clock
        self._turnstile = Turnstile(settings.max_queue)
        self._patience = patience or Patience(stall=settings.stall_timeout)
        self._residency = Residency(settings.keep_alive, clock)
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._prompts: Prompts | None = None

    def start(self) -> None:
        self._unit.start()
        self._keeper.start()

    def leave(self, grace: float) -> None:
        """Refuses what is new, lets the running answer go on for `grace` seconds, then stops."""
        self._unit.leave()
        deadline = self._clock() + grace
        while self._turnstile.busy and self._clock() < deadline:
            time.sleep(0.05)
        self.stop()

    def stop(self) -> None:
        """Returns when the processes that we started are gone."""
        self._residency.stop()
        self._unit.stop()

    def answer(self, request: ChatRequest, gone: Gone) -> Answer:
        asked = self._clock()
        problem = self._unit.not_ready()
        if problem and not isinstance(problem, Starting):
            raise problem
        prompt = None if problem else self._fitted(request)
        return self._events(_Job(request, prompt, gone, asked))

    def card(self) -> ModelCard:
        window = self._unit.known_window()
        return replace(self._card, context_length=window.context if window else None)

    def not_ready(self) -> ProxyError | None:
        problem = self._unit.not_ready()
        return None if isinstance(problem, Unloaded) else problem

    def loaded(self) -> Loaded | None:
        if self._unit.not_ready():
            return None
        left = self._residency.seconds_left
        if math.isinf(left):
            return Loaded(None)
        return Loaded(datetime.now(UTC) + timedelta(seconds=left))

    def load(self, gone: Gone, keep_alive: float | None = None) -> None:
        self._residency.begin()
        try:
            self._unit.revive()
            self._unit.wait_ready(gone)
        finally:
            self._residency.end(keep_alive)

    def unload(self) -> None:
        self._residency.expire()

    def health(self) -> dict[str, Any]:
        queue = {"waiting": self._turnstile.waiting, "answering": self._turnstile.busy}
        return {
            "model": self._card.name,
            "model_path": self._card.path,
            **self._unit.health(),
            "queue": {**queue, "places": self._settings.max_queue},
        }

    def _known_prompts(self) -> Prompts:
        # Two threads may both build one at first; either will do.
        if self._prompts is None:
            self._prompts = Prompts(self._tokenizer, self._tokenizer.info())
        return self._prompts

    def _fitted(self, request: ChatRequest) -> Prompt:
        return self._known_prompts().fitted(request, self._unit.window().prefill_limit)

    def _have_loaded(self, gone: Gone) -> None:
        """Waits for a load, and begins one if the model was unloaded; raises what else stands in
        the way."""
        problem = self._unit.not_ready()
        if isinstance(problem, Unloaded):
            self._unit.revive()
        if problem:
            self._unit.wait_ready(gone, RESTART_HOLD)

    def _keep(self) -> None:
        """The keeper's thread: unloads the model when its time is over."""
        while self._residency.wait_expired():
            try:
                ticket = self._turnstile.admit(lambda: False)
            except Busy:
                continue  # somebody came in the very moment; they will set a new time
            try:
                if self._residency.seconds_left <= 0:
                    log.info("unloading the model: nobody has asked for it in its keep_alive")
                    self._unit.unload()
                    self._residency.forget()
            finally:
                ticket.give_back()

    def _events(self, job: _Job) -> Generator[Event, None, None]:
        self._residency.begin()
        try:
            ticket = self._turnstile.admit(job.gone)
            try:
                self._have_loaded(job.gone)  # it may have changed while we waited
                prompt = job.prompt or self._fitted(job.request)
                admitted = self._clock()
                finished = yield from self._run(job, prompt, admitted)
            finally:
                ticket.give_back()
        finally:
            self._residency.end(job.request.keep_alive)
        yield finished

    def _run(self, job: _Job, prompt: Prompt, admitted: float) -> Generator[Event, None, Finished]:
        pid, earlier = self._unit.runtime_pid(), self._unit.run_times()
        runtime = self._connect()
        generation = Generation(
            runtime,
            self._tokenizer,
            self._unit.window(),
            control_tokens=self._known_prompts().end_tokens,
            gone=job.gone,
            interrupted=self._unit.interruption,
            patience=self._patience,
        )
        try:
            texts = generation.run(prompt, job.request.sampling, job.request.limits)
            yield from map(Text, texts)
        except RuntimeGone as error:
            raise self._unit.interruption() or RuntimeGone(self._unit.why_gone(pid)) from error
        except RuntimeStalled as error:
            if self._unit.report_wedged(pid, error.message):
                generation.abandon()  # it would not hear a stop either
            raise
        finally:
            self._clean_up(generation, pid)
            runtime.close()
        times = self._unit.run_times()
        times = RunTimes() if times is earlier else times
        return self._finished(job, prompt, admitted, generation, times)

    def _clean_up(self, generation: Generation, pid: int | None) -> None:
        """Leaves the card idle and drained, or has the runtime restarted where that fails."""
        try:
            generation.close()
        except RuntimeGone:
            log.info("the runtime went away before its answer could be stopped")
        except (RuntimeStalled, RuntimeMisbehaved) as error:
            self._unit.report_wedged(pid, error.message)

    def _finished(
        self, job: _Job, prompt: Prompt, admitted: float, generation: Generation, times: RunTimes
    ) -> Finished:
        if generation.outcome is None:
            raise RuntimeMisbehaved("the answer ended without an ending; please report this")
        outcome = generation.outcome.refined(times)
        usage = Usage(
            prompt_tokens=prompt.tokens,
            completion_tokens=outcome.completion_tokens,
            total=self._clock() - job.asked,
            load=admitted - job.asked,
            prompt_eval=outcome.prompt_eval,
            eval=outcome.eval,
        )
        return Finished(outcome.reason, usage)
