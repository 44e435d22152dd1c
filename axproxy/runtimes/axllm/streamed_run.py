"""One run of the program, from the request to the last piece of its stream, as text.

A whole answer ends with a piece that has a `finish_reason`; whatever else ends a stream (a bare
`[DONE]` when its time is over, a closed connection, an error) is not the end of an answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from axproxy.engine.runtime import RunResult, Timeouts
from axproxy.errors import (
    CardFailed,
    ClientGone,
    ProxyError,
    RuntimeGone,
    RuntimeMisbehaved,
    RuntimeStalled,
)
from axproxy.local_http import LocalHTTPError
from axproxy.messages import FinishReason, Limits
from axproxy.output.limits import AnswerLimits, Piece
from axproxy.runtimes.axllm.client import AxllmClient, ProgramBusy, error_of, message_of
from axproxy.runtimes.axllm.draining import Remainder
from axproxy.runtimes.axllm.event_stream import DONE, EventStream
from axproxy.runtimes.axllm.run_log import AxllmRunLog

LOOK_INTERVAL = 0.25  # seconds without news before we look whether the client is still there
LOG_LAG = 0.5  # seconds for which the end of a run may be missing in its log
BUSY_PAUSE = 0.5  # seconds before a busy program is asked again
MIN_PREFILL_SPEED = 50.0  # tokens per second; even the slowest published card reads faster


@dataclass(frozen=True)
class Reported:
    """The counts at the end of a stream; zeros in versions before April 2026."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token: float | None = None  # seconds

    @classmethod
    def of(cls, usage: Any) -> Reported:
        entries: Mapping[str, Any] = usage if isinstance(usage, dict) else {}

        def number(key: str) -> float:
            value = entries.get(key)
            good = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
            return value if good else 0  # type: ignore[return-value]  # `good` is that it is one

        first = number("ttft_ms")
        return cls(
            int(number("prompt_tokens")),
            int(number("completion_tokens")),
            first / 1000 if first else None,
        )


class StreamedRun:
    """One run: iterate `run` for text, then look at `rest`.

    The caller holds the ticket, and no other run is going on in the program.  `interrupted` returns
    why the program is stopped from outside, if it is.
    """

    def __init__(
        self,
        client: AxllmClient,
        *,
        gone: Callable[[], bool],
        count: Callable[[str], int],
        log: AxllmRunLog | None = None,
        interrupted: Callable[[], ProxyError | None] = lambda: None,
        timeouts: Timeouts | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._gone, self._count = gone, count
        self._log = log or AxllmRunLog()
        self._interrupted = interrupted
        self._timeouts = timeouts or Timeouts()
        self._clock, self._sleep = clock, sleep
        self._stream: EventStream | None = None
        self._first: float | None = None  # when the first text came
        self._last = 0.0
        self._pieces = 0
        self._most = 0
        self._done = False  # the program has said that the stream is over
        self.text = ""  # all that the program has sent
        self.begun = False  # text was passed on
        self.reported = Reported()

    def run(
        self, body: Mapping[str, Any], prompt_tokens: int, limits: Limits, window: int | None
    ) -> Generator[str, None, RunResult]:
        """Yield the answer's text as it comes, `""` after each silent `heartbeat`.

        `body` is the whole request, with its `max_tokens`.  Raises `ProxyError` and `ClientGone`.
        """
        started = yielded = self._clock()
        self._most = body["max_tokens"]
        self._log.begin()
        stream = self._stream = yield from self._accepted(body)
        answer = AnswerLimits(replace(limits, max_tokens=None), ())
        finished = False
        budget = self._timeouts.stall + prompt_tokens / MIN_PREFILL_SPEED
        news_at = self._clock()
        while answer.reason is None:
            self._check()
            try:
                events = stream.events(LOOK_INTERVAL)
            except LocalHTTPError as error:
                raise RuntimeGone(f"the runtime broke the answer off ({error})") from error
            now = self._clock()
            if events:
                news_at, budget = now, self._timeouts.stall
            elif now - news_at > budget:
                raise RuntimeStalled(
                    f"no token for {now - news_at:.0f} s; the runtime is stuck, try again in a few "
                    "minutes"
                )
            pieces = []
            for event in events:
                text, end = self._read(event, now)
                finished = finished or end
                pieces += [Piece(text)] if text else []
            sent = answer.feed(pieces)
            if answer.reason is None and (finished or stream.ended):
                if not finished:
                    raise self._broken_off()
                self._raise_trouble()
                sent += answer.run_ended()
            if sent or now - yielded >= self._timeouts.heartbeat:
                yielded = now
                self.begun = self.begun or bool(sent)
                yield sent
        return self._result(started, prompt_tokens, window, finished)

    @property
    def rest(self) -> tuple[EventStream, Remainder] | None:
        """What is left of the run in the program; `None` if it has ended or never began.

        The caller now owns the stream.
        """
        stream, self._stream = self._stream, None
        if stream is None:
            return None
        if stream.ended:
            stream.close()
            return None
        spent = self._last - self._first if self._first is not None else 0.0
        speed = (self._pieces - 1) / spent if spent > 0 and self._pieces > 8 else None
        return stream, Remainder(max(self._most - self._pieces, 0), speed)

    def _accepted(self, body: Mapping[str, Any]) -> Generator[str, None, EventStream]:
        """Return the stream, once the program accepts the request.

        A program that is busy although nothing of ours runs works for another client of its port.
        """
        deadline = self._clock() + self._timeouts.stall
        yielded = self._clock()
        while True:
            self._check()
            try:
                return self._client.chat(body)
            except ProgramBusy:
                if self._clock() > deadline:
                    raise
            if (now := self._clock()) - yielded >= self._timeouts.heartbeat:
                yielded = now
                yield ""
            self._sleep(BUSY_PAUSE)

    def _read(self, event: Any, now: float) -> tuple[str, bool]:
        """Return the text of an event, and whether the answer ends with it."""
        if event == DONE or not isinstance(event, dict):
            self._done = self._done or event == DONE
            return "", False
        if "error" in event:
            raise error_of(400, message_of(event))
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else {}
        if not isinstance(choice, dict):
            raise RuntimeMisbehaved("the runtime sent a piece of an answer that has no choice")
        if event.get("usage"):
            self.reported = Reported.of(event["usage"])
        delta = choice.get("delta")
        text = delta.get("content") if isinstance(delta, dict) else None
        if not isinstance(text, str):
            text = ""
        if text:
            self._first = self._first if self._first is not None else now
            self._last = now
            self._pieces += 1
            self.text += text
        return text, choice.get("finish_reason") is not None

    def _check(self) -> None:
        if self._gone():
            raise ClientGone
        if problem := self._interrupted():
            raise problem

    def _broken_off(self) -> ProxyError:
        """Return why a stream has no last piece: an answer without it is half an answer."""
        if problem := self._interrupted():
            return problem
        reason = f": {self._log.error}" if self._log.error else ""
        kind = RuntimeMisbehaved if self._done else RuntimeGone
        return kind(f"the runtime broke the answer off{reason}; send it again")

    def _raise_trouble(self) -> None:
        # A run that fails after its first text still ends like a whole one; only the log shows it.
        # Our reader of the log may be behind the stream.
        deadline = self._clock() + LOG_LAG
        while self._log.logs_ends and not self._log.ended and self._clock() < deadline:
            if self._log.trouble(self.text):
                break
            self._sleep(0.005)
        if trouble := self._log.trouble(self.text):
            raise CardFailed(
                f"the card failed while answering ({trouble}); the runtime is restarted, try again "
                "in a few minutes"
            )

    def _result(
        self, started: float, prompt_tokens: int, window: int | None, finished: bool
    ) -> RunResult:
        ended = self._clock()
        tokens = self.reported.completion_tokens or self._count(self.text)
        first = self._first if self._first is not None else ended
        logged = self.reported.first_token or self._log.facts().first_token
        prompt_eval = logged if logged and logged <= ended - started else first - started
        counted = self.reported.prompt_tokens or prompt_tokens
        # The program says "stop" whatever ended it.
        full = window is not None and counted + tokens >= window
        reason: FinishReason = "length" if finished and (tokens >= self._most or full) else "stop"
        return RunResult(
            reason, counted, tokens, prompt_eval, max(ended - started - prompt_eval, 0)
        )
