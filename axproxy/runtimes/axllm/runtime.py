"""`axllm serve` as a runtime: one conversation after another, each as messages."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from axproxy.engine.protocol import Gone
from axproxy.engine.runtime import RESTART_HOLD, RunResult, Supervisor, Timeouts
from axproxy.errors import (
    CardFailed,
    ClientGone,
    ProxyError,
    Restarting,
    RuntimeGone,
    RuntimeMisbehaved,
    RuntimeStalled,
    Unavailable,
)
from axproxy.health import CacheHealth
from axproxy.messages import ChatRequest, EmbedRequest, Vectors
from axproxy.models.axllm_folder import AxllmFolder, AxllmFolderError
from axproxy.prompts.fitting import Prompt, Window
from axproxy.prompts.program_messages import ProgramMessage, program_messages, refuse_unservable
from axproxy.runtimes.axllm.client import AxllmClient
from axproxy.runtimes.axllm.draining import Drain, is_restart_cheaper
from axproxy.runtimes.axllm.embedding import Embedder
from axproxy.runtimes.axllm.model_reader import ModelReader
from axproxy.runtimes.axllm.pictures import PICTURE_TOKENS, marked, message_json
from axproxy.runtimes.axllm.request_body import chat_body
from axproxy.runtimes.axllm.run_log import AxllmRunLog
from axproxy.runtimes.axllm.streamed_run import LOOK_INTERVAL, StreamedRun
from axproxy.tokenizer.in_process import sendable
from axproxy.tokenizer.mnn_vocabulary import VocabularyError

# A prompt that shares no more than this with the one before shares the template only.
TRIVIAL_REUSE = 16  # tokens
ENOUGH_FOR_A_SPEED = 8  # tokens

log = logging.getLogger(__name__)


class AxllmFacts(Protocol):
    """What the program is known to be, as far as a request needs it; safe from any thread."""

    def window(self) -> Window:
        """Return the window to enforce; a safe guess until the program has reported its own."""

    def known_window(self) -> Window | None:
        """Return the window that the program has reported."""

    def model_name(self) -> str:
        """Return the name that requests to the program must have."""

    def model_folder(self) -> AxllmFolder:
        """Return the folder of the model.  Raises `AxllmFolderError`."""

    def load_seconds(self) -> float | None:
        """Return how long the latest load took; `None` before the first is over."""

    def run_log(self) -> AxllmRunLog:
        """Return what the process that runs now logs about its answers."""


@dataclass(frozen=True)
class PreparedMessages:
    """A request as the program reads it."""

    request: ChatRequest
    prompt: Prompt
    body: dict[str, Any]
    sees: bool = False  # there are pictures in it
    inside_thinking: bool = False
    thinking_closed: bool = False

    @property
    def prompt_tokens(self) -> int:
        return self.prompt.tokens

    @property
    def prompt_text(self) -> str:
        return sendable(self.prompt.text)


class AxllmRuntime:
    """Runs one request at a time and waits for what is left of the one before.

    The model's folder is read when it is first needed, for its disk may come late.  `connect` makes
    a client for one run.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        program: AxllmFacts,
        connect: Callable[[], AxllmClient],
        *,
        timeouts: Timeouts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._supervisor = supervisor
        self._program = program
        self._connect = connect
        self._timeouts = timeouts or Timeouts()
        self._clock = clock
        self._reader = ModelReader(program.model_folder)
        self._drain: Drain | None = None
        self._speed: float | None = None  # of the latest answer, in tokens per second
        self._counts = CacheHealth()

    def read_folder_anew(self) -> None:
        """Read the model's folder again at the next request: its files have been replaced."""
        self._reader = ModelReader(self._program.model_folder)

    def preload(self) -> None:
        with _readable():
            _ = self._reader.renderer, self._reader.check

    def until_ready(self, _gone: Gone) -> Generator[None, None, None]:
        """Yield nothing: no helper program is needed."""
        yield from ()

    def prepare(self, request: ChatRequest, gone: Gone, *, wait: bool) -> PreparedMessages:  # noqa: ARG002 - there is nothing to wait for
        refuse_unservable(request)
        self.preload()
        reader = self._reader
        shown, pictures = marked(request)
        seen = PICTURE_TOKENS * len(pictures)
        window = reader.check.narrowed(self._program.window())
        window = replace(window, prefill_limit=max(window.prefill_limit - seen, 1))
        prompt = reader.renderer.render(shown, window, gone)
        prompt = replace(prompt, tokens=prompt.tokens + seen)
        messages = [
            message_json(ProgramMessage(turn.role, sendable(turn.content)), pictures)
            for turn in program_messages(prompt.text, reader.form)
        ]
        room = max(self._program.window().context - prompt.tokens, 1)
        return PreparedMessages(
            request,
            prompt,
            chat_body(request, messages, room, thinks=reader.form.thinks),
            sees=bool(pictures),
            thinking_closed=reader.form.thinks and not request.think,
        )

    def run(self, prepared: PreparedMessages, gone: Gone) -> Generator[str, None, RunResult]:
        """Yield the answer's text; see `axproxy.engine.runtime.Runtime.run`.

        What fails before the first text is tried once more.  A run that is closed goes on in the
        program; the next one waits until it has ended.
        """
        body = {"model": self._program.model_name(), **prepared.body}
        for last_try in (False, True):
            yield from self._until_drained(gone)
            pid, run_log = self._supervisor.pid(), self._program.run_log()
            run = StreamedRun(
                self._connect(),
                gone=gone,
                count=self._reader.tokenizer.count,
                log=run_log,
                interrupted=self._supervisor.interruption,
                timeouts=self._timeouts,
                clock=self._clock,
            )
            try:
                result = yield from run.run(
                    body, prepared.prompt.tokens, prepared.request.limits, self.context_length()
                )
            except (RuntimeGone, RuntimeMisbehaved, Restarting) as error:
                problem = self._explained(error, pid)
                if last_try or run.begun:
                    raise problem from error
                log.warning("the answer had not begun and is tried again: %s", problem.message)
            except (CardFailed, RuntimeStalled) as error:
                self._supervisor.restart(error.message, pid)
                raise
            else:
                self._learn(prepared, run, result)
                return result
            finally:
                self._leave(run)
            yield from ("" for _ in self._supervisor.until_ready(gone, RESTART_HOLD))
        raise AssertionError("the last try returns or raises")

    def embed(self, request: EmbedRequest, gone: Gone) -> tuple[Vectors, int]:
        self.preload()
        for _ in self._until_drained(gone):
            pass
        window = self._reader.check.narrowed(self._program.window())
        name, stall = self._program.model_name(), self._timeouts.stall
        limit = window.prefill_limit
        return Embedder(self._connect(), name, self._reader.tokenizer, limit, stall).embed(
            request, gone
        )

    def beginning(self, _request: ChatRequest) -> Prompt | None:
        """Return `None`: the program keeps what it has read by itself."""
        return None

    def cached(self) -> str:
        """Return nothing: the program does not report what its cache holds."""
        return ""

    def saved_tokens(self, _prepared: PreparedMessages) -> int:
        return 0  # what the cache holds is not known here

    def warm(self, _beginning: Prompt) -> None:
        """Do nothing; there is no beginning to warm."""

    def cache_health(self) -> CacheHealth:
        return self._counts

    def context_length(self) -> int | None:
        window = self._program.known_window()
        return window.context if window else None

    def _until_drained(self, gone: Gone) -> Generator[str, None, None]:
        """Yield until the program is idle; restart it where that is sooner."""
        yielded = self._clock()
        while drain := self._drain:
            if drain.wait(LOOK_INTERVAL) and not drain.stalled:
                self._drain = None
                return
            if gone():
                raise ClientGone
            if problem := self._supervisor.interruption():
                raise problem
            if reason := self._why_restart(drain):
                self._drain = None
                log.warning("the runtime is restarted: %s", reason)
                self._supervisor.restart(reason, self._supervisor.pid())
                yield from ("" for _ in self._supervisor.until_ready(gone, RESTART_HOLD))
                return
            if (now := self._clock()) - yielded >= self._timeouts.heartbeat:
                yielded = now
                yield ""

    def _why_restart(self, drain: Drain) -> str | None:
        if drain.stalled:
            return "an answer that its client had left has stopped without an end"
        rest = drain.rest
        if is_restart_cheaper(rest, self._program.load_seconds(), waiting=1):
            return (
                f"an answer that its client has left would take up to {rest.seconds:.0f} s, longer "
                "than a load"
            )
        return None

    def _leave(self, run: StreamedRun) -> None:
        """Have the rest of a run read and thrown away."""
        if rest := run.rest:
            stream, remainder = rest
            remainder = replace(remainder, speed=remainder.speed or self._speed)
            self._drain = Drain(stream, remainder, self._timeouts.stall, self._clock)

    def _explained(self, error: ProxyError, pid: int | None) -> ProxyError:
        """Return why a run broke off, from what became of the process."""
        if problem := self._supervisor.interruption():
            return problem
        if isinstance(error, RuntimeGone) and (why := self._supervisor.why_gone(pid)):
            return RuntimeGone(why)
        return error

    def _learn(self, prepared: PreparedMessages, run: StreamedRun, result: RunResult) -> None:
        if not prepared.sees:
            self._reader.check.compare(prepared.prompt.tokens, run.reported.prompt_tokens)
        if result.eval > 0 and result.completion_tokens > ENOUGH_FOR_A_SPEED:
            self._speed = result.completion_tokens / result.eval
        reused = self._program.run_log().facts().reused
        if reused is not None:
            hit = reused > TRIVIAL_REUSE
            self._counts = CacheHealth(self._counts.hits + hit, self._counts.misses + (not hit))


@contextmanager
def _readable() -> Iterator[None]:
    """Turn what is wrong with the model's files into an error for the client."""
    try:
        yield
    except (AxllmFolderError, VocabularyError, OSError) as error:
        raise Unavailable(str(error)) from error
