"""The engine of this service: one request at a time on one runtime, whichever program that is.

A request waits for its turn and for the model, runs, and is parsed into events; the model leaves
the card when its keep-alive is over.  What computes is a `Runtime`, and what keeps its processes
alive a `Supervisor`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Generic

from axproxy.engine.answer import AnswerJob, ParsedRun, checked_answer, signs_of_life
from axproxy.engine.keep_alive import KeepAlive
from axproxy.engine.protocol import Answer, EngineOptions, Gone, Loaded
from axproxy.engine.queue import DISCONNECT_CHECK_INTERVAL, FewAtOnce, RequestQueue
from axproxy.engine.request_limits import check_size
from axproxy.engine.runtime import (
    RESTART_HOLD,
    PreparedT,
    RunResult,
    Runtime,
    Supervisor,
)
from axproxy.engine.warming import CacheWarmer
from axproxy.errors import (
    Busy,
    ClientError,
    GaveUp,
    OnChange,
    ProxyError,
    Starting,
    TokenizerGone,
    Unloaded,
)
from axproxy.health import Health
from axproxy.messages import ChatRequest, Embeddings, EmbedRequest, Event, Finished
from axproxy.models.model import Model
from axproxy.output.reader import AnswerParser

PROMPTS_AT_ONCE = 2

log = logging.getLogger(__name__)


class SerialEngine(Generic[PreparedT]):
    """Serves one request at a time; turns go round by client."""

    def __init__(
        self,
        runtime: Runtime[PreparedT],
        supervisor: Supervisor,
        model: Model | Callable[[], Model],
        options: EngineOptions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtime = runtime
        self._supervisor = supervisor
        self._model = model if callable(model) else lambda: model
        self._options = options
        self._clock = clock
        self._queue = RequestQueue(options.max_queue, clock)
        self._prompts = FewAtOnce(PROMPTS_AT_ONCE)
        self._keep_alive = KeepAlive(options.keep_alive, clock)
        self._keep_alive_thread = threading.Thread(
            target=self._unload_when_expired, name="keep-alive", daemon=True
        )
        self._warmer = CacheWarmer(runtime, self._queue, supervisor)

    def start(self, on_change: OnChange = lambda _problem: None) -> None:
        """Start the programs; `on_change` is the supervisor's."""
        self._supervisor.start(on_change)
        self._keep_alive_thread.start()
        threading.Thread(target=self._preload, name="preload", daemon=True).start()
        if self._options.warm_prompt:
            self._warmer.start()

    def leave(self, grace: float) -> None:
        """Refuse what is new, let the running answer go on for `grace` seconds, then stop."""
        self._supervisor.leave()
        deadline = self._clock() + grace
        if self._queue.busy:
            log.info("leaving; the running answer may go on for %g s", grace)
        while self._queue.busy and self._clock() < deadline:
            time.sleep(0.05)
        self.stop()

    def stop(self) -> None:
        """Return when the processes that we started are gone."""
        self._keep_alive.stop()
        self._warmer.stop()
        self._supervisor.stop()

    def answer(self, model: Model, request: ChatRequest, gone: Gone) -> Answer:
        asked = self._clock()
        request = self._checked(model, request)
        problem = self._supervisor.not_ready()
        if problem and not isinstance(problem, Starting):
            raise problem
        try:
            with self._prompts.place(gone):
                prepared = None if problem else self._runtime.prepare(request, gone, wait=False)
        except TokenizerGone:  # it is back before long; the request waits for that in its turn
            prepared = None
        return self._events(AnswerJob(model, request, prepared, gone, asked))

    def embed(self, model: Model, request: EmbedRequest, gone: Gone) -> Embeddings:
        asked = self._clock()
        problem = self._supervisor.not_ready()
        if problem and not isinstance(problem, Starting):
            raise problem
        self._keep_alive.begin(model)
        try:
            ticket = self._queue.admit(gone, request.address)
            try:
                for _ in self._until_loaded(gone):
                    pass
                self._keep_alive.use(request.keep_alive)
                admitted = self._clock()
                vectors, tokens = self._runtime.embed(request, gone) if request.inputs else ((), 0)
            finally:
                ticket.give_back()
        finally:
            self._keep_alive.end()
        return Embeddings(vectors, tokens, self._clock() - asked, admitted - asked)

    def count_tokens(self, model: Model, request: ChatRequest, gone: Gone) -> int:
        return self._prepared(model, request, gone).prompt_tokens

    def render(self, model: Model, request: ChatRequest, gone: Gone) -> str:
        return self._prepared(model, request, gone).prompt_text

    def _prepared(self, model: Model, request: ChatRequest, gone: Gone) -> PreparedT:
        request = self._checked(model, request)
        problem = self._supervisor.not_ready()
        if problem and self.context_length() is None:  # a prompt would be cut to a guess
            raise problem
        with self._prompts.place(gone):
            return self._runtime.prepare(request, gone, wait=False)

    def context_length(self) -> int | None:
        """Return the model's window in tokens, `None` until the runtime has reported it."""
        return self._runtime.context_length()

    @property
    def unloaded(self) -> bool:
        """Whether the model has left the card, and the next request loads it."""
        return isinstance(self._supervisor.not_ready(), Unloaded)

    def not_ready(self) -> ProxyError | None:
        problem = self._supervisor.not_ready()
        return None if isinstance(problem, Unloaded) else problem

    def loaded(self) -> Sequence[Loaded]:
        if self._supervisor.not_ready():
            return ()
        left = self._keep_alive.announced
        expires = None if math.isinf(left) else datetime.now(UTC) + timedelta(seconds=left)
        model = self._keep_alive.used_as or self._model()
        return (Loaded(replace(model, context_length=self.context_length()), expires),)

    def load(self, model: Model, gone: Gone, keep_alive: float | None = None) -> None:
        self._keep_alive.begin(model)
        try:
            for _ in self._until_loaded(gone, 0.0):  # the first failure ends it
                pass
            self._keep_alive.use(keep_alive)
        finally:
            self._keep_alive.end()

    def unload(self, _model: Model) -> None:
        self._keep_alive.expire()

    def restart(self) -> None:
        if not self._supervisor.owns_processes:
            raise ClientError(
                "the runtime is attached and not ours to restart; do so where it was started",
                status=409,
            )
        problem = self._supervisor.not_ready()
        if problem and not isinstance(problem, Starting | GaveUp):
            raise problem
        log.warning("an operator has the runtime %s", "started" if problem else "restarted")
        self._supervisor.order_restart()

    def health(self) -> Health:
        model = self._model()
        return Health(
            model=model.name,
            model_path=str(model.folder) if model.folder else None,
            runtime=self._supervisor.health(),
            queue=self._queue.health(),
            kv_cache=self._runtime.cache_health(),
        )

    def _checked(self, model: Model, request: ChatRequest) -> ChatRequest:
        """Return the request with what it leaves to the service.  Raises `ClientError`."""
        check_size(request)
        if request.think is not None:
            return request
        return replace(request, think=self._options.think and "thinking" in model.capabilities)

    def _preload(self) -> None:
        """Prepare for the first request; ends when that is done or when it cannot be."""
        with suppress(ProxyError):
            self._supervisor.wait_ready(lambda: False)
            self._runtime.preload()

    def _until_loaded(self, gone: Gone, hold: float = RESTART_HOLD) -> Generator[None, None, None]:
        """Yield during a load, and begin one if the model was unloaded; raise what blocks it."""
        problem = self._supervisor.not_ready()
        if isinstance(problem, Unloaded):
            self._supervisor.load()
        if problem:
            yield from self._supervisor.until_ready(gone, hold)

    def _unload_when_expired(self) -> None:
        """Unload the model each time its keep-alive is over; runs on a thread of its own."""
        while self._keep_alive.wait_expired():
            try:
                ticket = self._queue.admit(lambda: False)
            except Busy:  # the queue is full: a request came just now, or the cache is warmed
                time.sleep(DISCONNECT_CHECK_INTERVAL)
                continue
            try:
                if self._keep_alive.seconds_left <= 0:
                    log.info("unloading the model: no request came within its keep_alive")
                    self._supervisor.unload()
                    self._keep_alive.forget()
            finally:
                ticket.give_back()

    def _events(self, job: AnswerJob[PreparedT]) -> Generator[Event, None, None]:
        self._keep_alive.begin(job.model)
        try:
            turn = self._queue.until_admitted(
                job.gone, job.request.address, lambda: self._saved_tokens(job)
            )
            ticket = yield from signs_of_life(turn)
            try:
                # The model may have left the card while the request waited.
                yield from signs_of_life(self._until_loaded(job.gone))
                self._keep_alive.use(job.request.keep_alive)
                if job.prepared is None:
                    yield from signs_of_life(self._runtime.until_ready(job.gone))
                admitted = self._clock()

                def run(request: ChatRequest) -> ParsedRun:
                    return self._run(job, request, admitted)

                finished = yield from checked_answer(job.request, run)
                ticket.give_back(self._saved_by_results(finished))
            finally:
                ticket.give_back()
            self._warmer.answered(job.request)
        finally:
            self._keep_alive.end()
        yield finished  # sent while the next request runs already

    def _saved_tokens(self, job: AnswerJob[PreparedT]) -> int:
        return 0 if job.prepared is None else self._runtime.saved_tokens(job.prepared)

    def _saved_by_results(self, finished: Finished) -> int:
        """Return how many tokens need not be read again if the results of calls come next."""
        known = finished.calls_tools and self._runtime.cached()
        return finished.usage.prompt_tokens if known else 0

    def _run(self, job: AnswerJob[PreparedT], request: ChatRequest, admitted: float) -> ParsedRun:
        """Begin a run for `request`: the job's own, or the second try."""
        prepared = job.prepared if request is job.request else None
        if prepared is None:
            prepared = self._runtime.prepare(request, job.gone, wait=True)

        def ending(result: RunResult) -> Finished:
            usage = job.usage(admitted, self._clock(), result)
            return Finished(result.reason, usage, result.context, parser.calls_tools)

        parser = AnswerParser(
            inside=prepared.inside_thinking,
            think=bool(request.think),
            tools=bool(request.tools),
            thinks="thinking" in job.model.capabilities
            and not (request.raw or prepared.thinking_closed),
        )
        return ParsedRun(self._runtime.run(prepared, job.gone), parser, ending)
