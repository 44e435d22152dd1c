"""The card's one slot: one prompt after the other, each on what the cache still holds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from axproxy.engine.outcome import RunResult
from axproxy.engine.protocol import Gone
from axproxy.engine.unit import Supervisor
from axproxy.errors import (
    CardFailed,
    PromptTooLong,
    ProxyError,
    Restarting,
    RuntimeGone,
    RuntimeMisbehaved,
    RuntimeStalled,
    SessionLost,
)
from axproxy.messages import Limits, Sampling
from axproxy.prompts.fitting import Prompt
from axproxy.prompts.renderer import PromptRenderer
from axproxy.runtimes.main_api.client import RuntimeClient, Waiting
from axproxy.runtimes.main_api.generation import PREFILL_PACE, Generation, Timeouts
from axproxy.runtimes.main_api.kv_cache import CachedPrompt, CacheVersion, Continuation, Segment
from axproxy.tokenizer.client import TokenizerClient

RESTART_HOLD = 30.0  # seconds that a request waits for a program that has failed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What one turn at the slot is for."""

    prompt: Prompt
    sampling: Sampling
    limits: Limits
    gone: Gone


class MainApiRuntime:
    """Used by one thread at a time, the one that holds the turn; `hits` and `misses` may be read by
    any: how many prompts went on from what the cache held, and how many began with a reset.

    `connect` makes a client for one run.
    """

    def __init__(
        self,
        unit: Supervisor,
        tokenizer: TokenizerClient,
        connect: Callable[[], RuntimeClient],
        patience: Timeouts,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._unit = unit
        self._tokenizer = tokenizer
        self._connect = connect
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._held: CachedPrompt | None = None
        self.hits = 0
        self.misses = 0

    def run(self, task: Task, prompts: PromptRenderer) -> Generator[str | RunResult, None, None]:
        """The text of an answer as it comes, `""` being a sign of life; at last its outcome.

        What fails before the first text is tried once more, for nobody can tell the difference;
        half an answer is never begun again.  Raises `ProxyError` and `ClientGone`.
        """
        begun = False

        def watched(generation: Generation) -> Generator[str, None, None]:
            nonlocal begun
            continuation = self._continuation(task, prompts)
            for text in generation.run(task.prompt, task.sampling, task.limits, continuation):
                begun = begun or text != ""
                yield text

        for first in (True, False):
            try:
                yield from self._attempt(task, prompts, watched)
                return
            except (RuntimeGone, RuntimeMisbehaved, Restarting, PromptTooLong) as error:
                if begun or not first:
                    raise
                log.warning("the answer had not begun and is tried again: %s", error.message)
            self._unit.wait_ready(task.gone, RESTART_HOLD)

    @property
    def held(self) -> CachedPrompt | None:
        """What the cache holds, where that is known."""
        return self._held

    def warm(self, beginning: Prompt) -> None:
        """Empties the cache and reads a `beginning` of prompts into it.

        Raises `ProxyError`; then the cache is empty or not known, which the next reset mends.
        """
        self._held = None
        runtime = self._connect()
        reading = beginning.tokens / PREFILL_PACE
        patience = self._patience.stall + reading
        waiting = Waiting(lambda: False, patience, self._clock, self._sleep)
        try:
            waiting.until_idle(runtime.poll)
            before = self._tokenizer.trace()
            waiting.until_accepted(lambda: runtime.reset(beginning.text))
            after = self._tokenizer.trace(before.version, wait=self._patience.settle)
            waiting.until_idle(runtime.poll)
        finally:
            runtime.close()
        ours = CacheVersion.of(after) == replace(CacheVersion.of(before), resets=before.resets + 1)
        if ours and after.reset_tokens == beginning.tokens:
            self._held = CachedPrompt(
                (Segment(beginning.text),), beginning.tokens, CacheVersion.of(after)
            )

    def _attempt(
        self,
        task: Task,
        prompts: PromptRenderer,
        texts_of: Callable[[Generation], Generator[str, None, None]],
    ) -> Generator[str | RunResult, None, None]:
        pid, runs = self._unit.runtime_pid(), self._unit.run_log()
        runtime = self._connect()
        generation = Generation(
            runtime,
            self._tokenizer,
            self._unit.window(),
            control_tokens=prompts.end_tokens,
            gone=task.gone,
            log=runs,
            interrupted=self._unit.interruption,
            patience=self._patience,
            clock=self._clock,
            sleep=self._sleep,
        )
        try:
            yield from texts_of(generation)
        except RuntimeGone as error:
            raise self._death(pid) from error
        except CardFailed as error:
            self._unit.report_wedged(pid, error.message)
            raise
        except (RuntimeStalled, SessionLost) as error:
            if self._unit.report_wedged(pid, error.message):
                generation.abandon()  # it would not hear a stop either
            raise
        finally:
            self._held = None  # until we know better
            self._clean_up(generation, pid)
            runtime.close()
        if generation.outcome is None:
            raise RuntimeMisbehaved("the answer ended without an ending; please report this")
        self._held = generation.held
        self.hits += generation.continued
        self.misses += not generation.continued
        yield generation.outcome.refined(runs.times())

    def _continuation(self, task: Task, prompts: PromptRenderer) -> Continuation | None:
        """How to go on from what the cache holds, if that is where the prompt begins and there is
        room for what comes after it."""
        held = self._held
        rest = held.rest_of(task.prompt.text, prompts.turn_ends) if held else None
        if held is None or rest is None:
            return None
        window = self._unit.window()
        found = Continuation(held, Prompt(rest, self._tokenizer.count(rest)))
        roomy = found.leaves_room(window, task.prompt, task.limits.max_tokens)
        return found if roomy and found.fits(window) else None

    def _death(self, pid: int | None) -> ProxyError:
        return self._unit.interruption() or RuntimeGone(self._unit.why_gone(pid))

    def _clean_up(self, generation: Generation, pid: int | None) -> None:
        """Leaves the card idle and drained, or has the runtime restarted where that fails."""
        try:
            generation.close()
        except RuntimeGone:
            log.info("the runtime went away before its answer could be stopped")
        except (RuntimeStalled, RuntimeMisbehaved) as error:
            self._unit.report_wedged(pid, error.message)
