"""The vendor's program as a runtime: one prompt after another on one KV cache."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from axproxy.engine.protocol import Gone
from axproxy.engine.runtime import RESTART_HOLD, RunResult, Supervisor, Timeouts
from axproxy.errors import (
    CardFailed,
    ClientError,
    ClientGone,
    PromptTooLong,
    Restarting,
    RuntimeGone,
    RuntimeMisbehaved,
    RuntimeStalled,
    SessionLost,
    TokenizerGone,
    TokenizerRefused,
)
from axproxy.health import CacheHealth
from axproxy.messages import ChatRequest, EmbedRequest, Vectors
from axproxy.prompts.fitting import Prompt, Window
from axproxy.prompts.renderer import PromptRenderer
from axproxy.runtimes.main_api.client import RuntimeClient, Waiting
from axproxy.runtimes.main_api.generation import MIN_PREFILL_SPEED, Generation
from axproxy.runtimes.main_api.kv_cache import CachedPrompt, CacheVersion, Continuation, Segment
from axproxy.runtimes.main_api.leaving import ClosedPort
from axproxy.runtimes.main_api.other_programs import disturbed
from axproxy.runtimes.main_api.prepared import PreparedPrompt
from axproxy.runtimes.main_api.run_log import RunLog, with_logged_times
from axproxy.tokenizer.client import TokenizerClient

TOKENIZER_TRUSTED = 0.1  # seconds for which a tokenizer that has just answered counts as alive

log = logging.getLogger(__name__)


class ProgramFacts(Protocol):
    """What the program has logged, as far as a request needs it; safe to use from any thread."""

    def window(self) -> Window:
        """Return the window to enforce; a safe guess until the program has logged its own."""

    def known_window(self) -> Window | None:
        """Return the window that the program has logged."""

    def run_log(self) -> RunLog:
        """Return what the process that runs now logs about its answers."""


class MainApiRuntime:
    """Turns each request into reset, generate and poll, or goes on from the KV cache.

    `connect` makes a client for one run.  `make_renderer` makes what renders prompts, once the
    tokenizer can be asked about its model; it may raise `TokenizerGone`.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        program: ProgramFacts,
        tokenizer: TokenizerClient,
        connect: Callable[[], RuntimeClient],
        make_renderer: Callable[[], PromptRenderer],
        *,
        timeouts: Timeouts | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._supervisor = supervisor
        self._program = program
        self._tokenizer = tokenizer
        self._connect = connect
        self._make_renderer = make_renderer
        self._known_renderer: PromptRenderer | None = None
        self._timeouts = timeouts or Timeouts()
        self._clock, self._sleep = clock, sleep
        self._cached: CachedPrompt | None = None  # what the cache holds, where that is known
        self._counts = CacheHealth()

    def preload(self) -> None:
        self._renderer()

    def until_ready(self, gone: Gone) -> Generator[None, None, None]:
        """Yield while the tokenizer is away.

        The runtime crashes when its tokenizer does not answer, and the tokenizer's supervisor may
        not have noticed yet that it is away.
        """
        deadline = self._clock() + RESTART_HOLD
        while True:
            try:
                self._tokenizer.count("")
                return
            except TokenizerGone as error:
                if self._clock() > deadline or isinstance(error, TokenizerRefused):
                    raise
            if gone():
                raise ClientGone
            yield
            self._sleep(0.05)
            yield from self._supervisor.until_ready(gone, RESTART_HOLD)

    def prepare(self, request: ChatRequest, gone: Gone, *, wait: bool) -> PreparedPrompt:
        if wait:
            _exhaust(self.until_ready(gone))
        prompt = self._renderer().render(request, self._program.window(), gone)
        return PreparedPrompt(request, prompt, self._clock())

    def run(self, prepared: PreparedPrompt, gone: Gone) -> Generator[str, None, RunResult]:
        """Yield the answer's text; see `axproxy.engine.runtime.Runtime.run`.

        What fails before the first text is tried once more, because the client cannot tell the
        difference; half an answer is never begun again.
        """
        if self._clock() - prepared.prepared_at > TOKENIZER_TRUSTED:
            yield from ("" for _ in self.until_ready(gone))
        request, prompt = prepared.request, prepared.prompt
        for last_try in (False, True):
            try:
                with self._generation(gone) as generation:
                    continuation = self._continuation(prepared)
                    result = yield from generation.run(
                        prompt, request.sampling, request.limits, continuation
                    )
            except (RuntimeGone, RuntimeMisbehaved, Restarting, PromptTooLong) as error:
                if last_try or generation.begun:
                    raise
                log.warning("the answer had not begun and is tried again: %s", error.message)
            else:
                if generation.disturbed:
                    raise disturbed()
                break
            yield from ("" for _ in self._supervisor.until_ready(gone, RESTART_HOLD))
        return self._completed(prepared, generation, result)

    def embed(self, _request: EmbedRequest, _gone: Gone) -> tuple[Vectors, int]:
        raise ClientError("the vendor's main_api has no embeddings; use a model for axllm that has")

    def beginning(self, request: ChatRequest) -> Prompt | None:
        beginning = self._renderer().beginning(request)
        window = self._program.window()
        fits = beginning and beginning.tokens <= window.prefill_limit - 2 * window.prefill_chunk
        return beginning if fits else None

    def cached(self) -> str:
        cached = self._cached
        return cached.text if cached else ""

    def saved_tokens(self, prepared: PreparedPrompt) -> int:
        cached, renderer = self._cached, self._known_renderer
        if cached is None or renderer is None:
            return 0
        ends, client = renderer.turn_ends, prepared.request.client
        rest = cached.rest_of(prepared.prompt.text, ends, client)
        return 0 if rest is None else cached.tokens

    def warm(self, beginning: Prompt) -> None:
        """Empty the cache and read a `beginning` of prompts into it."""
        self._cached = None
        runtime = self._connect()
        timeout = self._timeouts.stall + beginning.tokens / MIN_PREFILL_SPEED
        waiting = Waiting(lambda: False, timeout, self._clock, self._sleep)
        try:
            _exhaust(waiting.until_idle(runtime.poll))
            before = self._tokenizer.trace()
            _exhaust(waiting.until_accepted(lambda: runtime.reset(beginning.text)))
            after = self._tokenizer.trace(before.version, wait=self._timeouts.settle)
            _exhaust(waiting.until_idle(runtime.poll))
        finally:
            runtime.close()
        version = CacheVersion.of(after)
        ours = version == replace(CacheVersion.of(before), resets=before.resets + 1)
        if ours and after.reset_tokens == beginning.tokens:
            self._cached = CachedPrompt((Segment(beginning.text),), beginning.tokens, version)

    def cache_health(self) -> CacheHealth:
        return self._counts

    def context_length(self) -> int | None:
        window = self._program.known_window()
        return window.context if window else None

    def _renderer(self) -> PromptRenderer:
        # Two threads may both make one at first; either will do.
        if self._known_renderer is None:
            self._known_renderer = self._make_renderer()
        return self._known_renderer

    @contextmanager
    def _generation(self, gone: Gone) -> Iterator[Generation]:
        """Give a generation, turn its failures into ours, and leave the runtime idle after it."""
        pid, end_tokens = self._supervisor.pid(), self._renderer().end_tokens
        runtime, closed = self._connect(), ClosedPort(self._supervisor, pid)
        generation = Generation(
            runtime,
            self._tokenizer,
            self._program.window(),
            control_tokens=end_tokens,
            gone=gone,
            log=self._program.run_log(),
            interrupted=self._supervisor.interruption,
            closed_port=closed.read,
            timeouts=self._timeouts,
            clock=self._clock,
            sleep=self._sleep,
        )
        try:
            yield generation
        except RuntimeGone as error:
            raise closed.error() from error
        except CardFailed as error:
            self._supervisor.restart(error.message, pid)
            raise
        except (RuntimeStalled, SessionLost) as error:
            if self._supervisor.restart(error.message, pid):
                generation.abandon()  # it would not react to a stop either
            raise
        finally:
            self._cached = None  # until a complete answer is in it
            self._stop(generation, pid)
            runtime.close()

    def _stop(self, generation: Generation, pid: int | None) -> None:
        """Leave the runtime idle and drained, or have it restarted where that fails."""
        try:
            generation.close()
        except RuntimeGone:
            log.info("the runtime went away before its answer could be stopped")
        except (RuntimeStalled, RuntimeMisbehaved) as error:
            self._supervisor.restart(error.message, pid)

    def _continuation(self, prepared: PreparedPrompt) -> Continuation | None:
        """Return how to go on from the cache.

        `None` where the prompt does not begin with what the cache holds, or where there is no room
        for what comes after it.
        """
        cached = self._cached
        ends, request = self._renderer().turn_ends, prepared.request
        rest = cached.rest_of(prepared.prompt.text, ends, request.client) if cached else None
        if cached is None or rest is None:
            return None
        window = self._program.window()
        found = Continuation(cached, Prompt(rest, self._tokenizer.count(rest)))
        roomy = found.leaves_room(window, prepared.prompt, request.limits.max_tokens)
        return found if roomy and found.fits(window) else None

    def _completed(
        self, prepared: PreparedPrompt, generation: Generation, result: RunResult
    ) -> RunResult:
        client, counts, hit = prepared.request.client, self._counts, generation.continued
        self._cached = generation.cached and replace(generation.cached, client=client)
        self._counts = CacheHealth(counts.hits + hit, counts.misses + (not hit))
        result = with_logged_times(result, generation.log.times())
        if prepared.request.wants_context:
            result = replace(result, context=self._context(prepared.prompt.text + generation.text))
        return result

    def _context(self, text: str) -> tuple[int, ...]:
        try:
            return self._tokenizer.tokenize(text)
        except TokenizerGone:
            return ()  # the answer is whole, and worth more than its context


def _exhaust(steps: Generator[None, None, None]) -> None:
    """Wait where no client could be told."""
    for _ in steps:
        pass
