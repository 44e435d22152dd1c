"""Vectors of texts from an encoder in the worker."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any, TypeVar

from axproxy.control_tokens import Escaper
from axproxy.errors import INPUT_TOO_LONG, ClientError, RuntimeMisbehaved
from axproxy.messages import EmbedRequest, Vectors
from axproxy.prompts.fitting import Window
from axproxy.runtimes.axengine.attempt import WorkerAttempt
from axproxy.runtimes.axengine.client import WorkerClient
from axproxy.tokenizer.client import TokenizerClient

T = TypeVar("T")
_PADS = ("[PAD]", "<pad>")


def embed(
    request: EmbedRequest,
    client: WorkerClient,
    tokenizer: TokenizerClient,
    window: Window,
    attempt: WorkerAttempt,
) -> tuple[Vectors, int]:
    """Return one vector for each text, and the number of tokens of all of them.

    A text stands between the model's marks of a beginning and an end; no other mark is live in it.
    Raises `ClientError` for a text that must not be cut, and what the worker's reply raises.
    """
    info = tokenizer.info()
    escape = Escaper(token.text for token in info.control_tokens)
    rows = []
    for text in request.inputs:
        marked = f"{info.bos_token or ''}{escape(text)}{info.eos_token}"
        rows.append(fitted(tokenizer.tokenize(marked), window.context, truncate=request.truncate))
    pads = [token.id for token in info.control_tokens if token.text in _PADS]
    vectors = [_vector(client, attempt, ids, pads[0] if pads else 0) for ids in rows]
    return tuple(vectors), sum(map(len, rows))


def fitted(ids: tuple[int, ...], most: int, *, truncate: bool) -> tuple[int, ...]:
    """Return at most so many tokens, the last one among them.  Raises `ClientError`."""
    if len(ids) <= most:
        return ids
    if not truncate:
        raise ClientError(INPUT_TOO_LONG)
    return (*ids[: most - 1], ids[-1])


def _vector(
    client: WorkerClient, attempt: WorkerAttempt, ids: tuple[int, ...], pad: int
) -> tuple[float, ...]:
    reply, message = _exhausted(attempt.begin(partial(client.embed, [ids], pad)))
    reply.close()
    vectors = message.get("vectors")
    if not isinstance(vectors, list) or len(vectors) != 1:
        raise RuntimeMisbehaved("the worker returned no vector; if it happens again, restart it")
    return tuple(map(float, vectors[0]))


def _exhausted(steps: Generator[Any, None, T]) -> T:
    """Wait where no client could be told."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
