"""What the engine asks of the program that computes, and of what keeps that program alive.

A `Runtime` knows one vendor program: how a request becomes what that program reads, and how a run
of it is followed.  A `Supervisor` knows processes.  The engine above both knows neither program
nor process; queue, keep-alive, format retry and parsing of answers exist there, once.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from axproxy.engine.protocol import Gone
from axproxy.errors import OnChange, ProxyError
from axproxy.health import CacheHealth, RuntimeHealth
from axproxy.messages import ChatRequest, EmbedRequest, FinishReason, Vectors
from axproxy.prompts.fitting import Prompt

RESTART_HOLD = 30.0  # seconds in which a program that has failed must be tried again


@dataclass(frozen=True)
class Timeouts:
    """How long to wait before something counts as broken, in seconds."""

    stall: float = 60.0  # for a token; reading the prompt comes on top
    stop: float = 10.0  # for the runtime to become idle after a stop
    settle: float = 1.0  # for an accepted run to show that it has begun
    words: float = 10.0  # for text from the vendor's script, once the log shows a token
    # Without text for so long, an empty one is yielded: proxies and impatient clients hang up on a
    # stream that sends nothing.
    heartbeat: float = 10.0


@dataclass(frozen=True)
class RunResult:
    """How a run ended; counts in tokens, times in seconds.

    `prompt_eval` is the time until the first token, `eval` the time from the first to the last.
    `context` are the tokens of prompt and answer, where the request wanted them.
    """

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    prompt_eval: float
    eval: float
    context: tuple[int, ...] = ()


class Prepared(Protocol):
    """A request in the form that its runtime reads: text, messages or token ids.

    Only the runtime that made it looks inside.
    """

    @property
    def inside_thinking(self) -> bool:
        """Whether the model goes on inside a thinking block that the prompt has opened."""

    @property
    def thinking_closed(self) -> bool:
        """Whether the prompt has closed a thinking block, to ask the model not to think."""

    @property
    def prompt_tokens(self) -> int:
        """How many tokens the prompt has; an estimate where only the program can count them."""

    @property
    def prompt_text(self) -> str:
        """What the model reads, for people to look at."""


PreparedT = TypeVar("PreparedT", bound=Prepared)


class Runtime(Protocol[PreparedT]):
    """One program that computes.

    `run` and `warm` are called by the thread that holds the ticket of the queue, so never at the
    same time; every other method may be called by any thread at any time.
    """

    def preload(self) -> None:
        """Read what the first request would have to wait for, such as the model's template.

        Called once, on a thread of its own, when the programs are ready.  Raises `ProxyError`.
        """

    def until_ready(self, gone: Gone) -> Generator[None, None, None]:
        """Yield at least once a second while a helper program that `prepare` needs is away.

        Called in a request's turn.  Raises `ProxyError` when it does not come back, `ClientGone`.
        """

    def prepare(self, request: ChatRequest, gone: Gone, *, wait: bool) -> PreparedT:
        """Return the request as the program reads it, short enough for the model's window.

        Called before the queue without `wait`.  In the request's turn it is called with it, and
        waits for a helper program that is being restarted.  Raises
        `PromptTooLong` and `ClientError` for a request that can never run, `TokenizerGone` when
        the tokenizer is away, and `ClientGone`.
        """

    def run(self, prepared: PreparedT, gone: Gone) -> Generator[str, None, RunResult]:
        """Yield the text of one answer as it comes, `""` as a sign of life; return its result.

        Closing it anywhere leaves the program idle, with nothing of this answer left to be read.
        What fails before the first text may be tried again inside.  Stop strings and limits are
        kept; thinking and tool calls are still part of the text.  Raises `ProxyError`, and
        `ClientGone` once `gone()`.
        """

    def embed(self, request: EmbedRequest, gone: Gone) -> tuple[Vectors, int]:
        """Return one vector for each text, and the number of tokens of all texts.

        Called in the request's turn, and only for a model that has embeddings.  Raises
        `ProxyError`, `ClientError` for a text that must not be cut, and `ClientGone`.
        """

    def beginning(self, request: ChatRequest) -> Prompt | None:
        """Return what the prompts of requests like this one begin with, to be kept in the cache.

        `None` where that is nothing, not known, or does not help.  Raises `ProxyError`.
        """

    def cached(self) -> str:
        """Return the text in the KV cache; empty where that is not known."""

    def saved_tokens(self, prepared: PreparedT) -> int:
        """Return how many tokens of a prompt need not be read, because the KV cache holds them.

        It is an estimate for the order of the queue, which calls it with a lock held: no I/O.
        """

    def warm(self, beginning: Prompt) -> None:
        """Read a `beginning` into the KV cache.

        Only called with what `beginning` returned.  Raises `ProxyError`; the content of the cache
        is then unknown until the next run.
        """

    def cache_health(self) -> CacheHealth:
        """Return how often the KV cache was of use since the start of the service."""

    def context_length(self) -> int | None:
        """Return the model's window in tokens, `None` until the program has reported it."""


class Supervisor(Protocol):
    """The life of the processes behind a runtime.

    All methods are called by any thread.  Only `start`, `stop`, `until_ready`, `wait_ready` and
    `why_gone` take time.
    """

    @property
    def owns_processes(self) -> bool:
        """False where the processes were started by another program, which restarts them."""

    def start(self, on_change: OnChange) -> None:
        """Start the processes and keep them running.

        `on_change` gets what stands in the way of requests after every look at the processes, on
        the supervisor's own thread.
        """

    def leave(self) -> None:
        """Begin nothing new; what runs goes on until `stop`."""

    def stop(self) -> None:
        """Stop the processes, and return when they are gone."""

    def load(self) -> None:
        """Start again what was unloaded or given up; returns at once."""

    def unload(self) -> None:
        """Stop the runtime, so that the card is free, until `load`; returns at once."""

    def restart(self, reason: str, pid: int | None) -> bool:
        """Restart the runtime if it still is the process `pid`.

        Return True if the process will be restarted; the caller need not stop its run.
        """

    def order_restart(self) -> None:
        """Obey an operator: restart the runtime, or begin at once what is paused or given up.

        This counts as no failure; a load that is on goes on.  Returns at once.
        """

    def not_ready(self) -> ProxyError | None:
        """Return why a request would not run now, `None` when it would."""

    def until_ready(self, gone: Gone, hold: float = math.inf) -> Generator[None, None, None]:
        """Yield at least once a second until a request would run.

        Raises `ProxyError` when the processes will not become ready, or when one has failed and is
        tried again only later than in `hold` seconds; `ClientGone` once `gone()`.
        """

    def wait_ready(self, gone: Gone, hold: float = math.inf) -> None:
        """Return when a request would run; raises as `until_ready` does."""

    def interruption(self) -> ProxyError | None:
        """Return why the running answer is stopped from outside its request, if it is."""

    def pid(self) -> int | None:
        """Return the process id of the runtime, `None` when it does not run or is not ours."""

    def why_gone(self, pid: int | None) -> str | None:
        """Return what became of the process `pid`; waits a moment.  `None` while it runs."""

    def health(self) -> RuntimeHealth:
        """Return the part of `GET /health` about the processes, from memory."""
