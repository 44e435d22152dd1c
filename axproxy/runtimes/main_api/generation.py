"""One run of the runtime, from reset to idle, as a generator of text.

Closing it leaves the runtime idle and its output queue empty; the next request then begins with a
reset.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import time
from collections.abc import Callable, Collection, Generator
from dataclasses import replace

from axproxy.engine.runtime import RunResult, Timeouts
from axproxy.errors import (
    ClientGone,
    ProxyError,
    RuntimeFault,
    RuntimeGone,
    RuntimeMisbehaved,
    RuntimeStalled,
    TokenizerGone,
)
from axproxy.messages import Limits, Sampling
from axproxy.output.limits import AnswerLimits, Piece
from axproxy.prompts.fitting import Prompt, Window
from axproxy.runtimes.main_api.client import Poll, RuntimeClient, TolerantPolls, Waiting
from axproxy.runtimes.main_api.kv_cache import CachedPrompt, CacheVersion, Continuation, cache_after
from axproxy.runtimes.main_api.leaving import ReadClosedPort, give_up
from axproxy.runtimes.main_api.other_programs import EndCheck
from axproxy.runtimes.main_api.run_log import RunLog
from axproxy.runtimes.main_api.run_reader import PollPace, RunReader
from axproxy.runtimes.main_api.script_faults import ScriptFaultDetector
from axproxy.tokenizer.client import TokenizerClient

STUCK = "the runtime is stuck, try again in a few minutes"
NEWS_WAIT = 0.25  # seconds without news before we poll, and check whether the client is still there
MIN_PREFILL_SPEED = 50.0  # tokens per second; even the slowest published card reads faster


class Generation:
    """One run: iterate `run` for text; always `close`.

    The caller holds the ticket: no other request may use the runtime meanwhile.  Steps raise
    `RuntimeFault` errors, `ClientGone` once `gone()`, and what `interrupted()` returns when the
    runtime was stopped from outside: its ending is then not the answer's.  `control_tokens` are ids
    that end an answer.  A failing card shows only in the runtime's `log` (observed).
    """

    def __init__(
        self,
        runtime: RuntimeClient,
        tokenizer: TokenizerClient,
        window: Window,
        *,
        control_tokens: Collection[int],
        gone: Callable[[], bool],
        log: RunLog | None = None,
        interrupted: Callable[[], ProxyError | None] = lambda: None,
        closed_port: ReadClosedPort = give_up,
        timeouts: Timeouts | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._runtime, self._tokenizer, self._window = runtime, tokenizer, window
        self._control_tokens, self._gone = control_tokens, gone
        self.log = log or RunLog()
        self._interrupted, self._closed_port = interrupted, closed_port
        self._timeouts = timeouts or Timeouts()
        self._clock, self._sleep = clock, sleep
        self._reader: RunReader | None = None  # set once the runtime may be running for us
        self._waiting = Waiting(gone, self._timeouts.stall, clock, sleep)
        self._polls, self._pace = TolerantPolls(runtime.poll), PollPace()
        self._script_faults = (
            None if tokenizer.traces else ScriptFaultDetector(self.log, self._timeouts.words)
        )
        self._continued: Continuation | None = None
        self.disturbed = False  # by another program, as was seen at its stop
        self.text = ""  # all that was yielded
        self.cached: CachedPrompt | None = None  # what the cache holds, where that is known

    def run(
        self,
        prompt: Prompt,
        sampling: Sampling,
        limits: Limits,
        continuation: Continuation | None = None,
    ) -> Generator[str, None, RunResult]:
        """Yield the answer's text as it comes, `""` after a silent `heartbeat`; return the result.

        Goes on from the cache by `continuation`, made for the same prompt, if the cache is as it
        says.
        """
        started = first = yielded = self._clock()
        for _ in self._begin(prompt, sampling, continuation):
            if (now := self._clock()) - yielded >= self._timeouts.heartbeat:
                yielded = now
                yield ""
        tokens = self._continued.tokens if self._continued else prompt.tokens
        room = self._window.room_for_answer(tokens)
        most = room if limits.max_tokens is None else min(limits.max_tokens, room)
        answer = AnswerLimits(replace(limits, max_tokens=most), self._control_tokens)
        budget = self._timeouts.stall + prompt.tokens / MIN_PREFILL_SPEED
        news_at = last = self._clock()
        while answer.reason is None:
            logged = self.log.logged
            pieces = self._listen()
            self._check(logged, pieces)
            now = self._clock()
            text = ""
            if pieces:
                first = first if answer.tokens else now
                news_at = last = now
                budget = self._timeouts.stall
                text = answer.feed(pieces)
            if text or now - yielded >= self._timeouts.heartbeat:
                yielded = now
                self.text += text
                yield text
            if self._reader and self._reader.ended and answer.reason is None:
                cached = self._continued.cached.tokens if self._continued else 0
                end_check = EndCheck(self.log, self._clock, self._sleep)
                end_check.check(self._reader.trace, self._reader.have, cached)
                if text := answer.run_ended():
                    self.text += text
                    yield text
                self.cached = self._cache_after(prompt)
            elif now - news_at > budget:
                raise RuntimeStalled(f"no token for {now - news_at:.0f} s; {STUCK}")
        if (logged := self.log.logged) and (reader := self._reader):  # more than we have read
            self._check_card(logged, self._follow_trace(reader, 0) if reader.traced else [])
        return RunResult(answer.reason, tokens, answer.tokens, first - started, last - first)

    def close(self) -> None:
        """Stop what this generation started, wait until the runtime is idle, and drain it.

        Raises `RuntimeStalled` when it does not become idle, `RuntimeGone` when it has died.
        """
        reader, self._reader = self._reader, None
        self.log.end(whole=reader is None or reader.ended)
        if reader is None or reader.ended:
            return
        deadline = self._clock() + self._timeouts.stop
        idle_since = None
        while (now := self._clock()) < deadline:
            # A stop before the run has begun is lost (observed on the binary): repeat until idle;
            # and idle counts at once only if the run is known, before we look, to have begun.
            begun = self._has_begun(reader)
            with contextlib.suppress(RuntimeStalled):  # it may be slow; the deadline decides
                self._runtime.stop()
            done = self._poll().done
            idle_since = (idle_since or now) if done else None
            if idle_since and (begun or now - idle_since > self._timeouts.settle):
                self._has_begun(reader, look=True)
                return
            self._sleep(0.02)
        raise RuntimeStalled("the runtime did not stop when asked to; try again in a few minutes")

    def abandon(self) -> None:
        """Give up on the runtime: `close` will not try to stop it any more."""
        self._reader = None
        self.log.end(whole=False)

    @property
    def begun(self) -> bool:
        """Whether any text has been yielded."""
        return self.text != ""

    @property
    def continued(self) -> bool:
        """Whether the run went on from the cache."""
        return self._continued is not None

    def _begin(
        self, prompt: Prompt, sampling: Sampling, continuation: Continuation | None
    ) -> Generator[None, None, None]:
        """Yield until the runtime has accepted the prompt.

        The vendor's script gets the system prompt by a reset, and reading it takes as long as any
        other prompt.
        """
        yield from self._waiting.until_idle(self._poll)
        try:
            before = self._tokenizer.trace()
        except TokenizerGone:
            before = None
        if continuation and before and continuation.cached.version == CacheVersion.of(before):
            self._continued = continuation
            text = continuation.rest.text
        else:
            self._continued = None
            text = prompt.text
            yield from self._waiting.until_accepted(
                lambda: self._runtime.reset(system=prompt.system)
            )
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        resets = 0 if self._continued else 1
        reader = RunReader(before, sha256, self._timeouts.settle, resets)
        self.log.begin(text)

        def ask() -> bool:
            if problem := self._interrupted():  # its stop may have come already
                raise problem
            # From the moment the request is on its way it may run, and `close` must know.
            self._reader = reader
            accepted = self._runtime.generate(text, sampling)
            if not accepted:
                self._reader = None
            return accepted

        yield from self._waiting.until_accepted(ask)

    def _cache_after(self, prompt: Prompt) -> CachedPrompt | None:
        reader = self._reader
        if reader is None or (version := reader.cache_version) is None:
            return None
        return cache_after(self._continued or prompt, reader.text, reader.have, version)

    def _listen(self) -> list[Piece]:
        """Wait for news of the run, at most `NEWS_WAIT` seconds."""
        reader = self._reader
        if reader is None:
            raise RuntimeFault("the answer was closed while it was being read")
        version = reader.version
        pieces = self._follow_trace(reader) if reader.traced else []
        if reader.traced and reader.version != version and not reader.nearly_ended:
            return pieces  # the trace has moved on, so a poll would show nothing more
        now = self._clock()
        try:
            polled = reader.feed_poll(self._poll(), now)
        except RuntimeGone as gone:
            look = functools.partial(self._follow_trace, reader, wait=0)
            return pieces + self._closed_port(reader, look, gone)
        if reader.ended and reader.traced:
            # Tokens may have come between the two looks; now there will be no more.
            pieces += self._follow_trace(reader, wait=0)
            if not reader.traced:  # lost in this very moment
                return pieces + reader.unread()
            if not reader.final_call_seen:
                self._raise_missing_end(reader)
            return pieces
        if polled:
            self._pace.text_came(now)
        if not reader.traced and not reader.ended:
            self._sleep(self._pace.delay(now))
        elif reader.nearly_ended:
            self._sleep(0.002)
        return pieces + polled

    def _check(self, logged: int, pieces: list[Piece]) -> None:
        """Raise if the answer must not go on; `pieces` have been read, and not yet passed on."""
        self._check_card(logged, pieces)
        if self._gone():
            raise ClientGone
        if problem := self._interrupted():
            raise problem
        if self._script_faults and self._reader:
            self._script_faults.check(self._reader, self._clock())

    def _check_card(self, logged: int, pieces: list[Piece]) -> None:
        # `logged` is from before the pieces were asked for.  Polls show text after it was printed,
        # the trace before; so without a trace only the end can be judged.
        if pieces:
            self.log.sampled("".join([piece.text for piece in pieces]))
        reader = self._reader
        if reader and (reader.traced or reader.ended):
            self.log.check(logged)

    def _raise_missing_end(self, reader: RunReader) -> None:
        """Raise why the run ended without its last call to the tokenizer.

        Every run ends with one call for all its tokens, except for a refused prompt, whose error
        text may come after `done`; anything else is half an answer.
        """
        self._sleep(0.1)
        reader.feed_poll(self._poll(), self._clock())
        raise RuntimeMisbehaved("the runtime broke the answer off; send it again")

    def _follow_trace(self, reader: RunReader, wait: float = NEWS_WAIT) -> list[Piece]:
        wait = 0 if reader.nearly_ended else wait
        try:
            trace = self._tokenizer.trace(reader.version, reader.run, reader.have, wait)
        except TokenizerGone:
            reader.lose_trace()
            return []
        return reader.feed_trace(trace)

    def _poll(self) -> Poll:
        # The trace has the text that a failed poll loses; without it the answer would have a hole.
        return self._polls.poll(may_fail=self._reader is None or self._reader.traced)

    def _has_begun(self, reader: RunReader, *, look: bool = False) -> bool:
        try:
            if reader.traced and (look or not reader.began):
                self._follow_trace(reader, wait=0)
        except RuntimeMisbehaved:
            self.disturbed = True
        return reader.began and not self.disturbed
