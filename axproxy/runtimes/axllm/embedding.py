"""Vectors of texts from an embedding model."""

from __future__ import annotations

import math
from typing import Any

from axproxy.engine.protocol import Gone
from axproxy.errors import INPUT_TOO_LONG, ClientError, ClientGone, RuntimeMisbehaved
from axproxy.messages import EmbedRequest, Vectors
from axproxy.runtimes.axllm.client import AxllmClient
from axproxy.runtimes.axllm.streamed_run import MIN_PREFILL_SPEED
from axproxy.tokenizer.in_process import InProcessTokenizer

LARGEST_VECTOR = 16_384  # values; published models have at most 4096


class Embedder:
    """Asks the program for one vector after another; each call is one text.

    The program counts no tokens of embeddings, and fails for a text that is too long, so texts are
    counted and cut here.  `limit` is the longest text in tokens, `stall` in seconds.
    """

    def __init__(
        self,
        client: AxllmClient,
        model_name: str,
        tokenizer: InProcessTokenizer,
        limit: int,
        stall: float,
    ) -> None:
        self._client = client
        self._model_name = model_name
        self._tokenizer = tokenizer
        self._limit = limit
        self._stall = stall

    def embed(self, request: EmbedRequest, gone: Gone) -> tuple[Vectors, int]:
        """Return the vectors and the number of tokens.  Raises `ProxyError`, `ClientGone`."""
        fitted = [self._fitted(text, truncate=request.truncate) for text in request.inputs]
        counts = [self._tokenizer.count(text) for text in fitted]
        vectors = []
        for text, tokens in zip(fitted, counts, strict=True):
            if gone():
                raise ClientGone
            vectors.append(self._vector(text, tokens))
        if len({len(vector) for vector in vectors}) > 1:
            raise _nonsense("vectors of different lengths")
        return tuple(vectors), sum(counts)

    def _fitted(self, text: str, *, truncate: bool) -> str:
        tokens = self._tokenizer.count(text)
        if tokens <= self._limit:
            return text
        if not truncate:
            raise ClientError(INPUT_TOO_LONG)
        return self._tokenizer.truncated(text, self._limit)

    def _vector(self, text: str, tokens: int) -> tuple[float, ...]:
        body = {"model": self._model_name, "input": text, "encoding_format": "float"}
        reply = self._client.embeddings(body, self._stall + tokens / MIN_PREFILL_SPEED)
        return vector_in(reply.get("data"))


def vector_in(data: Any) -> tuple[float, ...]:
    """Return the one vector in the `data` of a reply.  Raises `RuntimeMisbehaved`."""
    entry = data[0] if isinstance(data, list) and len(data) == 1 else None
    values = entry.get("embedding") if isinstance(entry, dict) else None
    if not isinstance(values, list) or not 0 < len(values) <= LARGEST_VECTOR:
        raise _nonsense("no vector")
    if not all(_is_number(value) for value in values):
        raise _nonsense("a vector with values that are no numbers")
    return tuple(map(float, values))


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _nonsense(what: str) -> RuntimeMisbehaved:
    return RuntimeMisbehaved(f"the runtime returned {what}; if it happens again, restart it")
