"""One run of the runtime, from reset to idle: an iterator of text that can be closed anywhere.

Whoever closes it gets the card back clean: nothing runs, nothing of this answer is left to be
read, and the next request begins with a reset.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from axproxy.engine.outcome import RunResult
from axproxy.errors import (
    ClientGone,
    ProxyError,
    RuntimeFault,
    RuntimeMisbehaved,
    RuntimeStalled,
    TokenizerGone,
)
from axproxy.messages import Limits, Sampling
from axproxy.output.limits import AnswerLimits, Piece
from axproxy.prompts.fitting import Prompt, Window
from axproxy.runtimes.main_api.client import Poll, RuntimeClient, Waiting
from axproxy.runtimes.main_api.kv_cache import CachedPrompt, CacheVersion, Continuation, held_after
from axproxy.runtimes.main_api.run_log import RunLog
from axproxy.runtimes.main_api.run_reader import PollPace, RunReader
from axproxy.runtimes.main_api.script_faults import ScriptFaultDetector
from axproxy.tokenizer.client import TokenizerClient

LOOK_UP = 0.25  # seconds without news before we poll and see whether the client is still there
BAD_POLLS_BORNE = 5
PREFILL_PACE = 50.0  # tokens per second that even the slowest published card exceeds


@dataclass(frozen=True)
class Timeouts:
    """How long to wait, in seconds: before something counts as broken, and with a sign of life."""

    stall: float = 60.0  # for a token; reading the prompt comes on top
    stop: float = 10.0  # for the runtime to become idle after a stop
    settle: float = 1.0  # for an accepted run to show that it has begun
    words: float = 10.0  # for text from the vendor's script, once the log tells of a token
    heartbeat: float = 10.0  # proxies and impatient clients hang up on a stream that says nothing


class Generation:
    """Iterate for text, then read `outcome`; always `close`.

    The caller holds the turn: nobody else may use the runtime meanwhile.  Steps raise
    `RuntimeFault` errors, `ClientGone` once `gone()` is true, and what `interrupted()` returns when
    somebody else has stopped the runtime: then its ending is not the answer's.  `control_tokens`
    are ids that end an answer; only in `log`, the runtime's, a failing card shows (observed).
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
        patience: Timeouts | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._runtime = runtime
        self._tokenizer = tokenizer
        self._window = window
        self._control_tokens = control_tokens
        self._gone = gone
        self._log = log or RunLog()
        self._interrupted = interrupted
        self._patience = patience or Timeouts()
        self._waiting = Waiting(gone, self._patience.stall, clock, sleep)
        self._clock = clock
        self._sleep = sleep
        self._reader: RunReader | None = None  # set once the runtime may be running for us
        self._pace = PollPace()
        self._bad_polls = 0  # in a row
        self._suspicion = (
            None if tokenizer.traces else ScriptFaultDetector(self._log, self._patience.words)
        )
        self._continued: Continuation | None = None
        self.outcome: RunResult | None = None
        self.held: CachedPrompt | None = None  # what the cache holds, where that is known

    def run(
        self,
        prompt: Prompt,
        sampling: Sampling,
        limits: Limits,
        continuation: Continuation | None = None,
    ) -> Iterator[str]:
        """The answer's text as it comes, and `""` after each `heartbeat` without any;
        `outcome` is set after the last of it.

        Goes on by `continuation`, whose prompt is the same one, if the cache is as it says.
        """
        started = first = self._clock()
        self._begin(prompt, sampling, continuation)
        tokens = self._continued.tokens if self._continued else prompt.tokens
        room = self._window.room_for_answer(tokens)
        most = room if limits.max_tokens is None else min(limits.max_tokens, room)
        answer = AnswerLimits(replace(limits, max_tokens=most), self._control_tokens)
        budget = self._patience.stall + prompt.tokens / PREFILL_PACE
        heard = last = told = self._clock()
        while answer.reason is None:
            logged = self._log.logged
            pieces = self._listen()
            self._judge(logged, pieces)
            if self._gone():
                raise ClientGone
            if problem := self._interrupted():
                raise problem
            self._suspect()
            now = self._clock()
            if pieces:
                first = first if answer.tokens else now
                heard = last = now
                budget = self._patience.stall
            text = answer.feed(pieces)
            if text or now - told >= self._patience.heartbeat:
                told = now
                yield text
            if self._ended and answer.reason is None:
                if text := answer.run_ended():
                    yield text
                self.held = self._now_held(prompt)
            elif now - heard > budget:
                stuck = "the runtime is stuck, try again in a few minutes"
                raise RuntimeStalled(f"no token for {now - heard:.0f} s; {stuck}")
        if (logged := self._log.logged) and self._reader:  # there may be more than we have read
            self._judge(logged, self._follow_trace(self._reader, 0) if self._reader.traced else [])
        self.outcome = RunResult(
            answer.reason, tokens, answer.tokens, first - started, last - first
        )

    def close(self) -> None:
        """Stops what this generation started, waits until the runtime is idle and drains it.

        Raises `RuntimeStalled` when it does not become idle, `RuntimeGone` when it has died.
        """
        reader, self._reader = self._reader, None
        self._log.end(whole=reader is None or reader.ended)
        if reader is None or reader.ended:
            return
        deadline = self._clock() + self._patience.stop
        idle_since = None
        while (now := self._clock()) < deadline:
            # A stop before the run has begun is lost (observed on the binary): repeat until idle;
            # and idle counts at once only if the run is known, before we look, to have begun.
            try:
                begun = self._has_begun(reader)
            except RuntimeMisbehaved:  # a stranger's run has come after ours
                begun = False
            with contextlib.suppress(RuntimeStalled):  # it may be slow; the deadline tells
                self._runtime.stop()
            done = self._poll().done
            idle_since = (idle_since or now) if done else None
            if idle_since and (begun or now - idle_since > self._patience.settle):
                return
            self._sleep(0.02)
        raise RuntimeStalled("the runtime did not stop when told to; try again in a few minutes")

    def abandon(self) -> None:
        """Gives up on the runtime: `close` will not try to stop it any more."""
        self._reader = None
        self._log.end(whole=False)

    @property
    def _ended(self) -> bool:
        return self._reader is not None and self._reader.ended

    @property
    def continued(self) -> bool:
        """Whether it went on from what the cache held."""
        return self._continued is not None

    def _begin(self, prompt: Prompt, sampling: Sampling, continuation: Continuation | None) -> None:
        self._waiting.until_idle(self._poll)
        try:
            before = self._tokenizer.trace()
        except TokenizerGone:
            before = None
        if continuation and before and continuation.held.mark == CacheVersion.of(before):
            self._continued = continuation
            text = continuation.rest.text
        else:
            self._continued = None
            text = prompt.text
            self._waiting.until_accepted(lambda: self._runtime.reset(system=prompt.system))
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        resets = 0 if self._continued else 1
        reader = RunReader(before, sha256, self._patience.settle, resets)
        self._log.begin(text)

        def ask() -> bool:
            if problem := self._interrupted():  # its stop may have come already
                raise problem
            # From the moment the request is on its way it may run, and `close` must know.
            self._reader = reader
            accepted = self._runtime.generate(text, sampling)
            if not accepted:
                self._reader = None
            return accepted

        self._waiting.until_accepted(ask)

    def _now_held(self, prompt: Prompt) -> CachedPrompt | None:
        reader = self._reader
        if reader is None or (mark := reader.mark) is None:
            return None
        return held_after(self._continued or prompt, reader.text, reader.have, mark)

    def _listen(self) -> list[Piece]:
        """Waits for news of the run, at most `LOOK_UP` seconds."""
        reader = self._reader
        if reader is None:
            raise RuntimeFault("the answer was closed while it was being read")
        pieces = self._follow_trace(reader) if reader.traced else []
        if pieces and not reader.nearly_ended:
            return pieces
        now = self._clock()
        polled = reader.feed_poll(self._poll(), now)
        if reader.ended and reader.traced:
            # Tokens may have come between the two looks; now there will be no more.
            pieces += self._follow_trace(reader, wait=0)
            if not reader.traced:  # lost in this very moment
                return pieces + reader.untold()
            if not reader.final_call_seen:
                self._explain_missing_end(reader)
            return pieces
        if polled:
            self._pace.text_came(now)
        if not reader.traced and not reader.ended:
            self._sleep(self._pace.delay(now))
        elif reader.nearly_ended:
            self._sleep(0.002)
        return pieces + polled

    def _judge(self, logged: int, pieces: list[Piece]) -> None:
        # `logged` is from before the pieces were asked for.  Polls show text after it was printed,
        # the trace before; so without a trace only the end can be judged.
        self._log.heard("".join(piece.text for piece in pieces))
        reader = self._reader
        if reader and (reader.traced or reader.ended):
            self._log.check(logged)

    def _suspect(self) -> None:
        if self._suspicion and self._reader:
            self._suspicion.check(self._reader, self._clock())

    def _explain_missing_end(self, reader: RunReader) -> None:
        """Every run ends with one call for all its tokens, but for a refused prompt, whose error
        text may come after `done`; anything else is half an answer."""
        self._sleep(0.1)
        reader.feed_poll(self._poll(), self._clock())
        raise RuntimeMisbehaved("the runtime broke the answer off; send it again")

    def _follow_trace(self, reader: RunReader, wait: float = LOOK_UP) -> list[Piece]:
        wait = 0 if reader.nearly_ended else wait
        try:
            trace = self._tokenizer.trace(reader.version, reader.run, reader.have, wait)
        except TokenizerGone:
            reader.lose_trace()
            return []
        return reader.feed_trace(trace)

    def _poll(self) -> Poll:
        """A poll that fails takes its text with it.  That is no harm while the trace has it too, so
        a few are borne; without a trace the answer would have a hole."""
        try:
            poll = self._runtime.poll()
        except (RuntimeMisbehaved, RuntimeStalled):
            self._bad_polls += 1
            holed = self._reader is not None and not self._reader.traced
            if holed or self._bad_polls > BAD_POLLS_BORNE:
                raise
            return Poll("", done=False)
        self._bad_polls = 0
        return poll

    def _has_begun(self, reader: RunReader) -> bool:
        if reader.traced and not reader.began:
            self._follow_trace(reader, wait=0)
        return reader.began
