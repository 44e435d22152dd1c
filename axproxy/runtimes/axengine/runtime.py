"""The pipeline as a runtime: one prompt after another, as tokens, on the worker's KV cache."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from axproxy.control_tokens import ESCAPE
from axproxy.engine.protocol import Gone
from axproxy.engine.runtime import RESTART_HOLD, RunResult, Supervisor, Timeouts
from axproxy.errors import (
    CardFailed,
    ClientGone,
    Restarting,
    RuntimeGone,
    RuntimeStalled,
    TokenizerGone,
    TokenizerRefused,
)
from axproxy.health import CacheHealth
from axproxy.messages import ChatRequest, EmbedRequest, Sampling, Vectors
from axproxy.output.limits import AnswerLimits, Piece
from axproxy.output.reader import inside_thinking, thinking_closed
from axproxy.prompts.fitting import Prompt, Window
from axproxy.prompts.renderer import PromptRenderer
from axproxy.runtimes.axengine.attempt import WorkerAttempt
from axproxy.runtimes.axengine.client import WorkerClient, WorkerReply
from axproxy.runtimes.axengine.embedding import embed
from axproxy.runtimes.axengine.text import TokenText
from axproxy.tokenizer.client import TokenizerClient

TRIVIAL_REUSE = 16  # tokens; a prompt that shares no more shares the template only
DEFAULTS = {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "repeat_penalty": 1.0}

log = logging.getLogger(__name__)


class WorkerFacts(Protocol):
    """What the worker has reported; safe from any thread."""

    def window(self) -> Window:
        """Return the window to enforce; a safe guess before the first load."""

    def known_window(self) -> Window | None:
        """Return the window that the worker has reported."""

    def note_work(self, calls: int, inside: float, tokens: int, seconds: float) -> None:
        """Note what an answer has cost after its first token; `inside` the library, in seconds."""


@dataclass(frozen=True)
class PreparedIds:
    """A request as one text; its tokens are asked for when it runs."""

    request: ChatRequest
    prompt: Prompt

    @property
    def inside_thinking(self) -> bool:
        return inside_thinking(self.prompt.text)

    @property
    def thinking_closed(self) -> bool:
        return thinking_closed(self.prompt.text)

    @property
    def prompt_tokens(self) -> int:
        return self.prompt.tokens

    @property
    def prompt_text(self) -> str:
        return self.prompt.text.replace(ESCAPE, "")


class AxengineRuntime:
    """Renders and tokenizes here, and has the worker compute.

    `make_renderer` makes what renders prompts, once the tokenizer can be asked about its model; it
    may raise `TokenizerGone`.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        worker: WorkerFacts,
        client: WorkerClient,
        tokenizer: TokenizerClient,
        make_renderer: Callable[[], PromptRenderer],
        *,
        timeouts: Timeouts | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._supervisor = supervisor
        self._worker = worker
        self._client = client
        self._tokenizer = tokenizer
        self._make_renderer = make_renderer
        self._known_renderer: PromptRenderer | None = None
        self._timeouts = timeouts or Timeouts()
        self._clock, self._sleep = clock, sleep
        self._counts = CacheHealth()

    def preload(self) -> None:
        self._renderer()

    def until_ready(self, gone: Gone) -> Generator[None, None, None]:
        """Yield while the tokenizer is away."""
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

    def prepare(self, request: ChatRequest, gone: Gone, *, wait: bool) -> PreparedIds:
        if wait:
            for _ in self.until_ready(gone):
                pass
        return PreparedIds(request, self._renderer().render(request, self._worker.window(), gone))

    def run(self, prepared: PreparedIds, gone: Gone) -> Generator[str, None, RunResult]:
        """Yield the answer's text; see `axproxy.engine.runtime.Runtime.run`.

        What fails before the first text is tried once more.
        """
        for last_try in (False, True):
            yield from ("" for _ in self.until_ready(gone))
            pid = self._supervisor.pid()
            attempt = WorkerAttempt(self._timeouts, self._clock, gone, self._supervisor)
            try:
                ids = self._tokenizer.tokenize(prepared.prompt.text)
                result = yield from self._answer(attempt, prepared, ids)
            except (RuntimeGone, Restarting) as error:
                problem = self._supervisor.interruption() or error
                if isinstance(problem, RuntimeGone) and (why := self._supervisor.why_gone(pid)):
                    problem = RuntimeGone(why)
                if last_try or attempt.begun:
                    raise problem from error
                log.warning("the answer had not begun and is tried again: %s", problem.message)
            except (CardFailed, RuntimeStalled) as error:
                self._supervisor.restart(error.message, pid)
                raise
            else:
                return result
            yield from ("" for _ in self._supervisor.until_ready(gone, RESTART_HOLD))
        raise AssertionError("the last try returns or raises")

    def embed(self, request: EmbedRequest, gone: Gone) -> tuple[Vectors, int]:
        for _ in self.until_ready(gone):
            pass
        pid = self._supervisor.pid()
        attempt = WorkerAttempt(self._timeouts, self._clock, gone, self._supervisor)
        try:
            return embed(request, self._client, self._tokenizer, self._worker.window(), attempt)
        except RuntimeGone as error:
            raise RuntimeGone(self._supervisor.why_gone(pid) or error.message) from error
        except (CardFailed, RuntimeStalled) as error:
            self._supervisor.restart(error.message, pid)
            raise

    def beginning(self, _request: ChatRequest) -> Prompt | None:
        """Return `None`: the worker goes on from whatever a prompt shares with the last one."""
        return None

    def cached(self) -> str:
        """Return nothing: the worker compares tokens, not texts."""
        return ""

    def saved_tokens(self, _prepared: PreparedIds) -> int:
        return 0  # what the cache holds is not known here

    def warm(self, _beginning: Prompt) -> None:
        """Do nothing; there is no beginning to warm."""

    def cache_health(self) -> CacheHealth:
        return self._counts

    def context_length(self) -> int | None:
        window = self._worker.known_window()
        return window.context if window else None

    def _renderer(self) -> PromptRenderer:
        # Two threads may both make one at first; either will do.
        if self._known_renderer is None:
            self._known_renderer = self._make_renderer()
        return self._known_renderer

    def _answer(
        self, attempt: WorkerAttempt, prepared: PreparedIds, ids: tuple[int, ...]
    ) -> Generator[str, None, RunResult]:
        request, prompt = prepared.request, prepared.prompt.text
        ends = self._renderer().end_tokens
        room = self._worker.window().room_for_answer(len(ids))
        limits = request.limits
        most = room if limits.max_tokens is None else min(limits.max_tokens, room)
        answer = AnswerLimits(replace(limits, max_tokens=most), ends)
        text = TokenText(lambda row: self._tokenizer.detokenize(row).replace(ESCAPE, ""))
        started = first = last = self._clock()
        sampled: list[int] = []
        reply, begun = yield from attempt.begin(self._ask(ids, most, ends, request.sampling))
        with reply:
            self._note(int(begun.get("reused", 0)))
            ended = False  # by the worker itself, after this token
            while answer.reason is None or ended:
                message = yield from attempt.next(reply)
                if "end" in message:
                    cost = int(message["calls"]), float(message["inside"])
                    self._worker.note_work(*cost, len(sampled) - 1, float(message["eval"]))
                    break
                token = int(message["token"])
                last = self._clock()
                first = first if sampled else last
                sampled.append(token)
                piece = "" if token in ends else text.feed(token)
                if found := answer.feed([Piece(piece, token)]):
                    yield attempt.sent(found)
                ended = token in ends or len(sampled) == most
        # What is left of a character is part of an answer that the worker ended.
        half = text.finish() if ended or answer.reason is None else ""
        if answer.reason is None:  # the window is full
            answer.reason = "length"
        if rest := answer.run_ended() + half:
            yield attempt.sent(rest)
        context = self._context(prompt + attempt.text) if request.wants_context else ()
        return RunResult(
            answer.reason, len(ids), answer.tokens, first - started, last - first, context
        )

    def _ask(
        self, ids: tuple[int, ...], most: int, ends: frozenset[int], sampling: Sampling
    ) -> Callable[[], WorkerReply]:
        values = sampling_values(sampling)
        return lambda: self._client.answer(ids, most, sorted(ends), values)

    def _context(self, text: str) -> tuple[int, ...]:
        try:
            return self._tokenizer.tokenize(text)
        except TokenizerGone:
            return ()  # the answer is whole, and worth more than its context

    def _note(self, reused: int) -> None:
        hit = reused > TRIVIAL_REUSE
        self._counts = CacheHealth(self._counts.hits + hit, self._counts.misses + (not hit))


def sampling_values(sampling: Sampling) -> dict[str, Any]:
    """Return what the worker's sampler takes; what the request leaves out is Ollama's default."""
    given = {name: value for name, value in vars(sampling).items() if value is not None}
    return {**DEFAULTS, **given}
