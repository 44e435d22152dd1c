"""The request for a run, with the fields that `axllm` knows and no others.

A `null` or a value of another type is answered with an empty 500, so nothing is passed through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from axproxy.messages import ChatRequest, Sampling

DEFAULT_TEMPERATURE, DEFAULT_TOP_P = 0.8, 0.9  # Ollama's


def chat_body(
    request: ChatRequest, messages: Sequence[Mapping[str, Any]], room: int, *, thinks: bool
) -> dict[str, Any]:
    """Return the body without the model's name.

    `room` is the number of tokens that the longest answer may have.  `max_tokens` is always there,
    so that a run has an end even if its client leaves.  With `thinks` the model knows the switch.
    """
    most = request.limits.max_tokens
    body: dict[str, Any] = {
        "messages": list(messages),
        "stream": True,
        "max_tokens": room if most is None else max(min(most, room), 1),
        **sampling_fields(request.sampling),
    }
    if thinks:
        body["thinking_mode"] = "think" if request.think else "no_think"
    return body


def sampling_fields(sampling: Sampling) -> dict[str, float]:
    """Return the sampling as the program reads it.

    Without any of the two it would take the most likely token always.  `top_k` and the penalty for
    repetition can only be set at its start, in `post_config.json`.
    """
    temperature = sampling.temperature
    temperature = DEFAULT_TEMPERATURE if temperature is None else temperature
    if not temperature > 0 or sampling.top_k == 1:  # also for NaN
        return {"temperature": 0.0}
    top_p = DEFAULT_TOP_P if sampling.top_p is None else sampling.top_p
    return {"temperature": min(temperature, 100.0), "top_p": min(max(top_p, 1e-6), 1.0)}
