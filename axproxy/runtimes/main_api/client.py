"""The client of the vendor's HTTP API: one method per endpoint, and its sampling keys.

Errors of the connection become `RuntimeFault` errors here and nowhere else.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from axproxy.control_tokens import ESCAPE
from axproxy.errors import ClientGone, RuntimeGone, RuntimeMisbehaved, RuntimeStalled
from axproxy.local_http import LocalHTTP, LocalHTTPError, LocalReply, TimedOut
from axproxy.messages import SMALLEST_VOCABULARY, Sampling

# The text that means "context full", with the vendor's own unexpanded %d; the status is 200.
CONTEXT_FULL = "error: SetKVCache failed"

PROBE_TIMEOUT = 2.0  # seconds

# While the runtime is busy, it is asked again after these seconds; the last pause repeats.
BUSY_PAUSES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064)
IDLE_POLL_INTERVAL = 0.1  # seconds
BAD_POLLS_ALLOWED = 5  # in a row

# The program ignores penalties below 1.0001 and keeps that of the request before (observed on the
# binary), so this value means "no penalty".
NO_PENALTY = 1.0001

# The program computes in 32 bits.  A temperature that rounds to 0 would switch temperature off, and
# a `top-p` that rounds to 1 would switch to greedy sampling.
MIN_TEMPERATURE, MAX_TOP_P = 0.01, 0.9999

# Beyond these values nothing changes except that 32 bits overflow.  A `top-p` that rounds to 0
# would count as none.
MAX_TEMPERATURE, MAX_PENALTY, MIN_TOP_P = 100.0, 10.0, 1e-6

# Ollama's defaults, so that answers vary as much as its clients expect.
DEFAULTS = Sampling(temperature=0.8, top_k=40, top_p=0.9, repeat_penalty=NO_PENALTY)


@dataclass(frozen=True)
class Poll:
    """A reply of `/api/generate_provider`: the text since the last poll, and whether it is idle.

    `done` is also true while an accepted run has not begun yet.
    """

    response: str
    done: bool


def sampling_keys(sampling: Sampling, vocabulary: int | None = None) -> dict[str, float | int]:
    """Return every sampling key: the program keeps the previous request's value of a missing key.

    A `top-k` above the number of words that the model knows kills the program by SIGSEGV (observed
    on the binary), so `vocabulary` bounds it; where that is not known, a number that is in every
    model's.

    `top-p` and `top-k` switch each other off, and the program reads `top-k` last.  If a request
    sets both, `top-k` therefore applies.  If it sets only `top-p`, `top-k` must be left out, which
    is safe because `top-p` switches the old one off.
    """
    temperature = _number(sampling.temperature, DEFAULTS.temperature)
    penalty = _number(sampling.repeat_penalty, DEFAULTS.repeat_penalty)
    penalty = min(max(penalty, NO_PENALTY), MAX_PENALTY)
    top_p = _number(sampling.top_p, DEFAULTS.top_p)
    keys: dict[str, float | int] = {"temperature": temperature, "repetition_penalty": penalty}
    top_k = sampling.top_k
    if top_k is None and sampling.top_p is None:
        top_k = DEFAULTS.top_k
    if temperature <= 0 or top_k == 1 or top_p < MIN_TOP_P:
        return {**keys, "temperature": 0, "top-k": 1}
    keys["temperature"] = min(max(temperature, MIN_TEMPERATURE), MAX_TEMPERATURE)
    keys["top-p"] = min(top_p, MAX_TOP_P)
    if top_k is not None and top_k > 0:
        keys["top-k"] = min(top_k, vocabulary or SMALLEST_VOCABULARY)
    return keys


def _number(value: float | None, default: float | None) -> float:
    """Return the default for NaN too, which no comparison would catch."""
    return (default or 0.0) if value is None or math.isnan(value) else float(value)


class RuntimeClient:
    """Calls the program at `url`; for one thread at a time.

    `vocabulary` returns how many words its model knows, None if that is not known.  Raises
    `RuntimeGone` if the program cannot be reached, `RuntimeStalled` if it does not reply
    within `timeout` seconds, and `RuntimeMisbehaved` if its protocol does not know the reply.
    """

    def __init__(
        self,
        url: str,
        timeout: float = 10.0,
        vocabulary: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._url = url
        self._vocabulary = vocabulary
        self._timeout = timeout
        # The server has eight threads and keeps one busy for each open connection: eight idle
        # connections block every other client (observed on the binary), so none stays open.
        self._http = LocalHTTP(url, {"Connection": "close"})

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def reset(self, beginning: str = "", *, system: str = "") -> bool:
        """Empty the KV cache and fill it anew.  Returns False while the runtime is busy.

        True means that the reset is queued, not that it is done.  `beginning` is how the next
        prompts begin, for our own tokenizer.  `system` is for the vendor's script, which makes a
        system turn of it, or of a built-in text if it is empty.
        """
        # The runtime passes this text on to the tokenizer.  ESCAPE shows our tokenizer that it is
        # not the system prompt which is built into the runtime.
        text = ESCAPE + beginning if beginning else system
        return self._accepted("/api/reset", {"system_prompt": text} if text else {})

    def generate(self, prompt: str, sampling: Sampling) -> bool:
        """Queue a run on the present cache.  Returns False while the runtime is busy."""
        keys = sampling_keys(sampling, self._vocabulary())
        return self._accepted("/api/generate", {"prompt": prompt, **keys})

    def poll(self) -> Poll:
        """Take the text since the last poll.  A reply that is lost takes its text with it."""
        reply = self._call("GET", "/api/generate_provider")
        body = reply.json_object()
        response, done = body.get("response"), body.get("done")
        if reply.status != 200 or not isinstance(response, str) or not isinstance(done, bool):
            raise RuntimeMisbehaved(
                f"the runtime answered a poll with status {reply.status}; "
                "if it happens again, restart the service"
            )
        return Poll(response, done)

    def stop(self) -> None:
        """Ask the present run to end; repeat until idle, since a stop before it begins is lost."""
        self._call("GET", "/api/stop")

    def answers(self) -> bool:
        """Return whether the runtime replies to the only request without side effects.

        `/api/stop` would abort an answer, and a poll would take its text.
        """
        try:
            return self._call("OPTIONS", "/", timeout=PROBE_TIMEOUT).status == 200
        except (RuntimeGone, RuntimeStalled):
            return False

    def _accepted(self, path: str, body: dict[str, Any]) -> bool:
        reply = self._call("POST", path, body)
        if reply.status == 200:
            return True
        error = reply.json_object().get("error", "")
        if reply.status == 400 and error == "llm is running":
            return False
        detail = error or reply.headers.get("exception_what", "no reason given")
        raise RuntimeMisbehaved(
            f"the runtime refused {path} with status {reply.status}: {detail}; "
            "if it happens again, restart the service"
        )

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, timeout: float = 0.0
    ) -> LocalReply:
        try:
            return self._http.call(method, path, json=body, timeout=timeout or self._timeout)
        except TimedOut as error:
            raise RuntimeStalled(
                f"the runtime on {self._url} does not answer; if that lasts it is restarted"
            ) from error
        except LocalHTTPError as error:
            raise RuntimeGone(
                f"the runtime does not answer on {self._url}; GET /health says what became of it"
            ) from error


class TolerantPolls:
    """Polls by `poll`, where a few failures in a row may do no harm."""

    def __init__(self, poll: Callable[[], Poll]) -> None:
        self._poll = poll
        self._failed = 0  # in a row

    def poll(self, may_fail: bool) -> Poll:
        """Poll once; where it `may_fail`, a failure counts as a poll without text."""
        try:
            poll = self._poll()
        except (RuntimeMisbehaved, RuntimeStalled):
            self._failed += 1
            if not may_fail or self._failed > BAD_POLLS_ALLOWED:
                raise
            return Poll("", done=False)
        self._failed = 0
        return poll


class Waiting:
    """Waits for the runtime, which works on one job at a time, and yields before each pause.

    Raises `RuntimeStalled` after `timeout` seconds, and `ClientGone` once `gone()` is true.
    """

    def __init__(
        self,
        gone: Callable[[], bool],
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gone = gone
        self._timeout = timeout
        self._clock = clock
        self._sleep = sleep

    def until_idle(self, poll: Callable[[], Poll]) -> Generator[None, None, None]:
        """Poll until nothing runs, which also drains the text of earlier runs.

        Our own runs have ended, so a run that is still going was started by another client of the
        runtime's port; it is not ours to stop.
        """
        deadline = self._clock() + self._timeout
        while not poll().done:
            yield
            self._pause(IDLE_POLL_INTERVAL, deadline)

    def until_accepted(self, ask: Callable[[], bool]) -> Generator[None, None, None]:
        """Ask until it is accepted: "llm is running" is normal while the runtime does a reset."""
        deadline = self._clock() + self._timeout
        pauses = iter(BUSY_PAUSES)
        while not ask():
            yield
            self._pause(next(pauses, BUSY_PAUSES[-1]), deadline)

    def _pause(self, seconds: float, deadline: float) -> None:
        if self._gone():
            raise ClientGone
        if self._clock() > deadline:
            raise RuntimeStalled(
                "the runtime has been busy for too long; try again in a few minutes"
            )
        self._sleep(seconds)
