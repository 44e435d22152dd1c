"""The vendor's HTTP API as methods; what goes wrong on the wire is named here and nowhere else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import requests

from axproxy.control_tokens import ESCAPE
from axproxy.errors import RuntimeGone, RuntimeMisbehaved, RuntimeStalled
from axproxy.local_http import LocalHTTP
from axproxy.messages import Sampling

# The text that stands for "context full", with the vendor's own unexpanded %d; status 200.
CONTEXT_FULL = "error: SetKVCache failed"

# The program skips penalties below 1.0001 and keeps the last request's (observed on the binary),
# so this is how to say "none".
NO_PENALTY = 1.0001

# The program computes in 32 bits: a temperature that rounds to 0 would switch temperature off, and
# a `top-p` that rounds to 1 would switch to greedy.
COLDEST, WIDEST = 0.01, 0.9999

# Beyond these nothing changes any more but that 32 bits overflow; a `top-p` that rounds to 0 counts
# as none.
HOTTEST, STRONGEST_PENALTY, NARROWEST = 100.0, 10.0, 1e-6
LARGEST_TOP_K = 2**31 - 1

# Ollama's defaults, so that an answer has the liveliness its clients expect.
DEFAULTS = Sampling(temperature=0.8, top_k=40, top_p=0.9, repeat_penalty=NO_PENALTY)


@dataclass(frozen=True)
class Poll:
    """One answer of `/api/generate_provider`: the text since the last poll, and whether nothing
    runs now.  `done` is also true before an accepted run has begun."""

    response: str
    done: bool


def sampling_keys(wish: Sampling) -> dict[str, float | int]:
    """Every sampling key, for they stick: one left out would be the previous request's.

    `top-p` and `top-k` switch each other off and `top-k` is read last, so where both are given
    `top-k` holds; for `top-p` alone `top-k` must be left out, and its absence is safe because
    `top-p` switches it off.
    """
    temperature = _number(wish.temperature, DEFAULTS.temperature)
    penalty = _number(wish.repeat_penalty, DEFAULTS.repeat_penalty)
    penalty = min(max(penalty, NO_PENALTY), STRONGEST_PENALTY)
    top_p = _number(wish.top_p, DEFAULTS.top_p)
    keys: dict[str, float | int] = {"temperature": temperature, "repetition_penalty": penalty}
    top_k = wish.top_k
    if top_k is None and wish.top_p is None:
        top_k = DEFAULTS.top_k
    if temperature <= 0 or top_k == 1 or top_p < NARROWEST:
        return {**keys, "temperature": 0, "top-k": 1}
    keys["temperature"] = min(max(temperature, COLDEST), HOTTEST)
    keys["top-p"] = min(top_p, WIDEST)
    if top_k is not None and top_k > 0:
        keys["top-k"] = min(top_k, LARGEST_TOP_K)
    return keys


def _number(value: float | None, default: float | None) -> float:
    """NaN, which no comparison catches, is no wish at all."""
    return (default or 0.0) if value is None or math.isnan(value) else float(value)


class RuntimeClient:
    """One method per endpoint; not for several threads at once.

    Raises `RuntimeGone` when the program cannot be reached, `RuntimeStalled` when it does not
    answer within `timeout` seconds, `RuntimeMisbehaved` when it answers something that its
    protocol does not know.
    """

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self._url = url
        self._timeout = timeout
        # The server has eight threads and keeps one per open connection: eight idle ones block
        # everybody (observed on the binary), so none stays open.
        self._loopback = LocalHTTP(url, {"Connection": "close"})

    def close(self) -> None:
        self._loopback.close()

    def reset(self, beginning: str = "", *, system: str = "") -> bool:
        """Empties the KV cache, and fills it; queued, not done, when this returns.  False while it
        is busy.

        `beginning` is what prompts to come begin with, as our own tokenizer takes it; `system` is
        for the vendor's script, which makes a system's turn of it, or uses one that is built in.
        """
        # What is sent goes on to the tokenizer; the MARK tells ours that this is not the system
        # prompt which the program brings along.
        words = ESCAPE + beginning if beginning else system
        return self._accepted("/api/reset", {"system_prompt": words} if words else {})

    def generate(self, prompt: str, sampling: Sampling) -> bool:
        """Queues a run on the present cache.  False while it is busy."""
        return self._accepted("/api/generate", {"prompt": prompt, **sampling_keys(sampling)})

    def poll(self) -> Poll:
        """Takes the text that has come since the last poll; there is no second chance to get it."""
        reply = self._call("GET", "/api/generate_provider")
        body = self._json(reply)
        response, done = body.get("response"), body.get("done")
        if reply.status_code != 200 or not isinstance(response, str) or not isinstance(done, bool):
            raise RuntimeMisbehaved(
                f"the runtime answered a poll with status {reply.status_code}; "
                "if it happens again, restart the service"
            )
        return Poll(response, done)

    def stop(self) -> None:
        """Asks the run under way to end.  Lost when none has begun, so repeat until idle."""
        self._call("GET", "/api/stop")

    def answers(self) -> bool:
        """The only probe without side effects: `/api/stop` would abort an answer and a poll would
        take its text."""
        try:
            return self._call("OPTIONS", "/", timeout=2.0).status_code == 200
        except (RuntimeGone, RuntimeStalled):
            return False

    def _accepted(self, path: str, body: dict[str, Any]) -> bool:
        reply = self._call("POST", path, body)
        if reply.status_code == 200:
            return True
        error = self._json(reply).get("error", "")
        if reply.status_code == 400 and error == "llm is running":
            return False
        detail = error or reply.headers.get("EXCEPTION_WHAT", "no reason given")
        raise RuntimeMisbehaved(
            f"the runtime refused {path} with status {reply.status_code}: {detail}; "
            "if it happens again, restart the service"
        )

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, timeout: float = 0.0
    ) -> requests.Response:
        try:
            return self._loopback.call(method, path, json=body, timeout=timeout or self._timeout)
        except requests.Timeout as error:
            raise RuntimeStalled(
                f"the runtime on {self._url} does not answer; if that lasts it is restarted"
            ) from error
        except requests.RequestException as error:
            raise RuntimeGone(
                f"the runtime does not answer on {self._url}; GET /health says what became of it"
            ) from error

    def _json(self, reply: requests.Response) -> dict[str, Any]:
        try:
            body = reply.json()
        except requests.exceptions.JSONDecodeError:
            return {}
        return body if isinstance(body, dict) else {}
