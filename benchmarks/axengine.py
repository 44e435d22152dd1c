"""Measures what the PyAXEngine worker adds to the vendor's library.

python -m benchmarks.axengine    sessions of 27 ms, as a card's layer takes; half a minute

The sessions compute nothing and sleep, so what remains of a token's time is ours: embeddings,
masks, the KV cache, sampling.  The sizes are Qwen3-4B's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from axproxy.runtimes.axengine.worker.decoder import Decoder, Run
from axproxy.runtimes.axengine.worker.embedding_table import EmbeddingTable
from axproxy.runtimes.axengine.worker.network import LayeredNetwork
from axproxy.runtimes.axengine.worker.sampling import Sampler, SamplingValues
from axproxy.runtimes.axengine.worker.shapes import Array
from axproxy.runtimes.axengine.worker.work import CountedSession, Work

LAYERS, HIDDEN, KV, WINDOW, CHUNK, VOCABULARY = 36, 2560, 1024, 2048, 128, 151_936
LAYER_SECONDS = 0.027
PROMPT, ANSWER = 300, 8  # tokens
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


@dataclass
class SleepingTensor:
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


class SleepingSession:
    """A file whose runs take as long as on a card; `groups` are its inputs and outputs."""

    def __init__(self, groups: Sequence[tuple[list[SleepingTensor], list[SleepingTensor]]]) -> None:
        self._groups = groups
        self._results = [[np.ones(t.shape, t.dtype) for t in outputs] for _, outputs in groups]

    def get_inputs(self, shape_group: int = 0) -> list[SleepingTensor]:
        return self._groups[shape_group][0]

    def get_outputs(self, shape_group: int = 0) -> list[SleepingTensor]:
        return self._groups[shape_group][1]

    def run(
        self,
        _output_names: list[str] | None,
        _input_feed: dict[str, Array],
        _run_options: object | None = None,
        shape_group: int = 0,
    ) -> list[Array]:
        time.sleep(LAYER_SECONDS)
        return list(self._results[shape_group])


def layer_group(rows: int, places: int) -> tuple[list[SleepingTensor], list[SleepingTensor]]:
    def tensors(**shapes: tuple[int, ...]) -> list[SleepingTensor]:
        return [SleepingTensor(name, shape, BFLOAT16) for name, shape in shapes.items()]

    cache, out = (1, places or 1, KV), (1, rows, KV)
    inputs = tensors(
        K_cache=cache, V_cache=cache, input=(1, rows, HIDDEN), mask=(1, rows, places + rows)
    )
    inputs.append(SleepingTensor("indices", (1, rows), np.dtype(np.uint32)))
    return inputs, tensors(K_cache_out=out, V_cache_out=out, output=(1, rows, HIDDEN))


class NoTable(EmbeddingTable):
    """Embeddings that are not read from a file."""

    def __init__(self) -> None:
        self._table = np.zeros((VOCABULARY, HIDDEN), BFLOAT16)


def main() -> None:
    work = Work()
    groups = [layer_group(1, WINDOW - 1)]
    groups += [layer_group(CHUNK, places) for places in range(0, WINDOW - CHUNK + 1, CHUNK)]
    logits = SleepingTensor("output", (1, 1, VOCABULARY), np.dtype(np.float32))
    post = SleepingSession(
        [([SleepingTensor("input", (1, 1, HIDDEN), BFLOAT16)], [logits])],
    )
    layers = [CountedSession(SleepingSession(groups), work) for _ in range(LAYERS)]
    decoder = Decoder(LayeredNetwork(layers, CountedSession(post, work)), NoTable())
    answer = decoder.answer(Run(range(PROMPT), Sampler(SamplingValues()), most=ANSWER))
    began = time.perf_counter()
    next(answer)
    read = time.perf_counter() - began
    print(
        f"prompt of {PROMPT} tokens: {read:.2f} s, {1 - work.seconds / read:.1%} outside the calls"
    )
    calls, inside, began = work.calls, work.seconds, time.perf_counter()
    tokens = sum(1 for _ in answer)
    spent = time.perf_counter() - began
    outside = 1 - (work.seconds - inside) / spent
    per_token = (work.calls - calls) / tokens
    print(
        f"each token of the answer: {spent / tokens:.3f} s, {per_token:.0f} calls, {outside:.1%} "
        "outside them (budget 10 %)"
    )


if __name__ == "__main__":
    main()
