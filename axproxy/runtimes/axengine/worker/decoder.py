"""Prefill and decode: which step reads which tokens, and what of the KV cache is used again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

import numpy as np

from axproxy.runtimes.axengine.worker.embedding_table import EmbeddingTable
from axproxy.runtimes.axengine.worker.masks import prefill_mask
from axproxy.runtimes.axengine.worker.network import KVCache, Network, NetworkStep
from axproxy.runtimes.axengine.worker.sampling import Logits, Sampler
from axproxy.runtimes.axengine.worker.shapes import Group

EndReason = Literal["stop", "length", "cancelled"]


class BadPrompt(Exception):
    """The prompt cannot be read; the message says why."""


@dataclass(frozen=True)
class Run:
    """One answer: `most` is its greatest length, `stop` are the tokens that end it."""

    ids: Sequence[int]
    sampler: Sampler
    stop: frozenset[int] = frozenset()
    most: int | None = None


class Decoder:
    """Answers one prompt after another on one KV cache.

    A prompt that begins with tokens that the cache has goes on behind them: positions are ours, so
    what lies behind is never looked at and is written over.
    """

    def __init__(self, network: Network, table: EmbeddingTable) -> None:
        self._network, self._table = network, table
        self.window = network.decode.width
        self._cache = KVCache.empty(network.layers, self.window - 1, network.kv_length)
        self._ids: list[int] = []  # of the tokens in the cache

    @property
    def chunk(self) -> int:
        """The tokens of a prefill step; 1 where there is none."""
        return max((group.rows for group in self._network.prefill), default=1)

    def answer(
        self, run: Run, cancelled: Callable[[], bool] = lambda: False
    ) -> Generator[int, None, EndReason]:
        """Yield the tokens of one answer; return why it ended.

        `cancelled` is asked between two steps.  The token that ends an answer is yielded, too.
        Raises `BadPrompt`, and what the library raises.
        """
        self._check(run.ids)
        before = list(run.ids)
        del self._ids[self.reusable(run.ids) :]
        tokens = 0
        while True:
            logits = self._logits_after(before, cancelled)
            if logits is None:
                return "cancelled"
            token = run.sampler.next(logits, before)
            yield token
            before.append(token)
            tokens += 1
            if token in run.stop:
                return "stop"
            if tokens == run.most or len(before) > self.window:
                return "length"

    def _logits_after(self, ids: Sequence[int], cancelled: Callable[[], bool]) -> Logits | None:
        """Read what the cache lacks of the tokens; return the logits after them.

        `None` once `cancelled`.
        """
        logits = None
        while logits is None:
            if cancelled():
                return None
            history = len(self._ids)
            group, count = plan_step(self._network, history, len(ids) - history)
            wanted = history + count == len(ids)
            logits = self._read(ids[history : history + count], group, wanted=wanted)
        return logits

    def reusable(self, ids: Sequence[int]) -> int:
        """Return how many tokens of the prompt need not be read: the cache has them.

        The last one is always read, for its logits.
        """
        pairs = zip(self._ids, ids[:-1], strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    def _check(self, ids: Sequence[int]) -> None:
        if not ids:
            raise BadPrompt("the prompt has no tokens")
        if len(ids) > self.window:
            raise BadPrompt(f"the prompt has {len(ids)} tokens, the window {self.window}")
        if not all(type(token) is int and 0 <= token < self._table.rows for token in ids):
            raise BadPrompt(f"the vocabulary has {self._table.rows} tokens; an id is outside it")

    def _read(self, ids: Sequence[int], group: Group, *, wanted: bool) -> Logits | None:
        """Read tokens behind those in the cache; return the logits after the last, if `wanted`."""
        history, count = len(self._ids), len(ids)
        positions = np.arange(history, history + group.rows)
        step = NetworkStep(
            group,
            self._table.look_up(ids, group.rows),
            np.minimum(positions, history + count - 1)[None],  # padding stays inside the window
            prefill_mask(group.rows, group.width, history),
            history,
            count,
        )
        logits = self._network.run(step, self._cache, wanted=wanted)
        self._ids += ids
        del self._ids[self._cache.places :]  # the window's last place is not kept
        return logits


def plan_step(network: Network, history: int, left: int) -> tuple[Group, int]:
    """Return the group for the next step, and how many of the tokens that are `left` it reads.

    That is the smallest prefill group that can hold the history; one token alone, and what lies
    beyond the largest group, is read as the tokens of an answer are.
    """
    able = [group for group in network.prefill if group.capacity >= history]
    if left < 2 or not able:
        return network.decode, 1
    group = min(able, key=lambda group: group.capacity)
    room = network.decode.width - history
    return group, min(group.rows, left, room)
