"""The engine of this service: the vendor's runtime, one request at a time.

Each request becomes reset, generate, poll; what it needs to know of the two processes it learns
from a `Supervisor`, which keeps them alive.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from axproxy.engine.answer import with_format
from axproxy.engine.heartbeat import PAUSE, paced
from axproxy.engine.keep_alive import KeepAlive
from axproxy.engine.outcome import RunResult
from axproxy.engine.protocol import Answer, Gone, Loaded
from axproxy.engine.queue import LOOK_UP, RequestQueue
from axproxy.engine.request_limits import check_size
from axproxy.engine.unit import OnChange, Supervisor
from axproxy.engine.warming import CacheWarmer
from axproxy.errors import (
    Busy,
    ClientError,
    ClientGone,
    GaveUp,
    ProxyError,
    Starting,
    TokenizerGone,
    Unloaded,
)
from axproxy.health import CacheHealth, Health, QueueHealth
from axproxy.messages import ChatRequest, Event, Finished, Text, Usage
from axproxy.models.model import Model
from axproxy.output.reader import AnswerParser
from axproxy.prompts.fitting import Prompt
from axproxy.prompts.renderer import PromptRenderer, TemplateRenderer
from axproxy.runtimes.main_api.client import RuntimeClient
from axproxy.runtimes.main_api.generation import Timeouts
from axproxy.runtimes.main_api.runtime import RESTART_HOLD, MainApiRuntime, Task
from axproxy.settings import Settings
from axproxy.tokenizer.client import TokenizerClient

FRESH = 0.1  # seconds for which a tokenizer that has just answered counts as being there

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    request: ChatRequest
    prompt: Prompt | None  # made later where the model, and so its window, is not there yet
    gone: Gone
    asked: float  # on the engine's clock


class SerialEngine:
    """`connect` makes a client for one answer; `tokenizer` serves all.  `make_renderer`
    by default asks the tokenizer about its model, `patience` what `settings` ask for."""

    def __init__(
        self,
        settings: Settings,
        unit: Supervisor,
        model: Model,
        *,
        tokenizer: TokenizerClient,
        connect: Callable[[], RuntimeClient],
        make_renderer: Callable[[], PromptRenderer] | None = None,
        patience: Timeouts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._unit = unit
        self._model = model
        self._tokenizer = tokenizer
        self._clock = clock
        self._queue = RequestQueue(settings.max_queue)
        self._patience = patience or Timeouts(stall=settings.stall_timeout)
        self._slot = MainApiRuntime(unit, tokenizer, connect, self._patience)
        self._keep_alive = KeepAlive(settings.keep_alive, clock)
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._make_renderer = make_renderer or (
            lambda: TemplateRenderer(tokenizer, tokenizer.info())
        )
        self._prompts: PromptRenderer | None = None
        self._warmer = CacheWarmer(self._slot, self._queue, unit, prompts=self._known_prompts)

    def start(self, tell: OnChange = lambda _problem: None) -> None:
        """`tell` is the unit's."""
        self._unit.start(tell)
        self._keeper.start()
        threading.Thread(target=self._prepare, name="prepare", daemon=True).start()
        if self._settings.warm_prompt == "on":
            self._warmer.start()

    def leave(self, grace: float) -> None:
        """Refuses what is new, lets the running answer go on for `grace` seconds, then stops."""
        self._unit.leave()
        deadline = self._clock() + grace
        if self._queue.busy:
            log.info("leaving; the running answer may go on for %g s", grace)
        while self._queue.busy and self._clock() < deadline:
            time.sleep(0.05)
        self.stop()

    def stop(self) -> None:
        """Returns when the processes that we started are gone."""
        self._keep_alive.stop()
        self._warmer.stop()
        self._unit.stop()

    def answer(self, model: Model, request: ChatRequest, gone: Gone) -> Answer:
        asked = self._clock()
        check_size(request)
        if request.think is None:
            request = replace(request, think="thinking" in model.capabilities)
        problem = self._unit.not_ready()
        if problem and not isinstance(problem, Starting):
            raise problem
        try:
            prompt = None if problem else self._fitted(request)
        except TokenizerGone:  # it is back before long; the request waits for that in its turn
            prompt = None
        return self._events(_Job(request, prompt, gone, asked))

    def context_length(self) -> int | None:
        """Return the length in tokens, None until the runtime has reported it."""
        window = self._unit.known_window()
        return window.context if window else None

    def not_ready(self) -> ProxyError | None:
        problem = self._unit.not_ready()
        return None if isinstance(problem, Unloaded) else problem

    def loaded(self) -> Sequence[Loaded]:
        if self._unit.not_ready():
            return ()
        left = self._keep_alive.seconds_left
        expires = None if math.isinf(left) else datetime.now(UTC) + timedelta(seconds=left)
        return (Loaded(replace(self._model, context_length=self.context_length()), expires),)

    def load(self, _model: Model, gone: Gone, keep_alive: float | None = None) -> None:
        self._keep_alive.begin()
        try:
            self._have_loaded(gone, math.inf)
        finally:
            self._keep_alive.end(keep_alive)

    def unload(self, _model: Model) -> None:
        self._keep_alive.expire()

    def restart(self) -> None:
        if self._settings.runtime_kind == "attach":
            raise ClientError(
                "the runtime is attached and not ours to restart; do so where it was started",
                status=409,
            )
        problem = self._unit.not_ready()
        if problem is None:
            log.warning("an operator has the runtime restarted")
            self._unit.report_wedged(self._unit.runtime_pid(), "an operator asked for a restart")
        elif isinstance(problem, GaveUp | Unloaded):
            log.warning("an operator has the runtime started")
            self._unit.revive()
        elif not isinstance(problem, Starting):
            raise problem

    def health(self) -> Health:
        return Health(
            model=self._model.name,
            model_path=str(self._model.folder) if self._model.folder else None,
            runtime=self._unit.health(),
            queue=QueueHealth(self._queue.waiting, self._queue.busy, self._settings.max_queue),
            kv_cache=CacheHealth(self._slot.hits, self._slot.misses),
        )

    def _known_prompts(self) -> PromptRenderer:
        # Two threads may both build one at first; either will do.
        if self._prompts is None:
            self._prompts = self._make_renderer()
        return self._prompts

    def _prepare(self) -> None:
        """Reads the model's template before the first request needs it; ends when that is done, or
        when the unit will not become ready."""
        with suppress(ProxyError):
            self._unit.wait_ready(lambda: False)
            self._known_prompts()

    def _fitted(self, request: ChatRequest) -> Prompt:
        return self._known_prompts().render(request, self._unit.window())

    def _have_loaded(self, gone: Gone, hold: float = RESTART_HOLD) -> None:
        """Waits for a load, and begins one if the model was unloaded; raises what else stands in
        the way."""
        problem = self._unit.not_ready()
        if isinstance(problem, Unloaded):
            self._unit.revive()
        if problem:
            self._unit.wait_ready(gone, hold)

    def _await_tokenizer(self, gone: Gone) -> None:
        # The runtime dies of a question that its tokenizer does not answer, and whoever looks after
        # the tokenizer may not have noticed yet.
        deadline = self._clock() + RESTART_HOLD
        while True:
            try:
                self._tokenizer.count("")
                return
            except TokenizerGone:
                if self._clock() > deadline:
                    raise
            if gone():
                raise ClientGone
            time.sleep(0.05)
            self._unit.wait_ready(gone, RESTART_HOLD)

    def _keep(self) -> None:
        """The keeper's thread: unloads the model when its time is over."""
        while self._keep_alive.wait_expired():
            try:
                ticket = self._queue.admit(lambda: False)
            except Busy:  # no place in the line: a request came just now, or a prompt is warmed
                time.sleep(LOOK_UP)
                continue
            try:
                if self._keep_alive.seconds_left <= 0:
                    log.info("unloading the model: nobody has asked for it in its keep_alive")
                    self._unit.unload()
                    self._keep_alive.forget()
            finally:
                ticket.give_back()

    def _events(self, job: _Job) -> Generator[Event, None, None]:
        self._keep_alive.begin()
        try:
            ticket = self._queue.admit(job.gone)
            try:
                self._have_loaded(job.gone)  # it may have changed while we waited
                if job.prompt is None or self._clock() - job.asked > FRESH:
                    self._await_tokenizer(job.gone)
                admitted = self._clock()
                with closing(self._answered(job, admitted)) as events:
                    for event in events:
                        if isinstance(event, Finished):
                            finished = event  # told once others have the turn
                        else:
                            yield event
            finally:
                ticket.give_back()
            self._warmer.answered(job.request)
        finally:
            self._keep_alive.end(job.request.keep_alive)
        yield finished

    def _answered(self, job: _Job, admitted: float) -> Generator[Event, None, None]:
        def run(request: ChatRequest) -> Generator[Event, None, None]:
            prompt = job.prompt if request is job.request else None
            return self._run(job, request, prompt or self._fitted(request), admitted)

        pause = min(PAUSE, self._patience.heartbeat)
        return paced(with_format(job.request, run), self._clock, pause)

    def _run(
        self, job: _Job, request: ChatRequest, prompt: Prompt, admitted: float
    ) -> Generator[Event, None, None]:
        reader = AnswerParser(prompt.text, think=bool(request.think), tools=bool(request.tools))
        task = Task(prompt, request.sampling, request.limits, job.gone)
        transcript = [prompt.text]
        with closing(self._slot.run(task, self._known_prompts())) as steps:
            for step in steps:
                if isinstance(step, RunResult):
                    yield from reader.finish()
                    context = self._context(transcript) if request.wants_context else ()
                    yield Finished(step.reason, self._usage(job, admitted, step), context)
                else:
                    transcript.append(step)
                    yield from reader.feed(step) or [Text("")]

    def _context(self, transcript: Sequence[str]) -> tuple[int, ...]:
        try:
            return self._tokenizer.tokenize("".join(transcript))
        except TokenizerGone:
            return ()  # the answer is whole, and was worth more

    def _usage(self, job: _Job, admitted: float, outcome: RunResult) -> Usage:
        return Usage(
            prompt_tokens=outcome.prompt_tokens,
            completion_tokens=outcome.completion_tokens,
            total=self._clock() - job.asked,
            load=admitted - job.asked,
            prompt_eval=outcome.prompt_eval,
            eval=outcome.eval,
        )
