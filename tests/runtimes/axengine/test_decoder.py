"""The pipeline computes what the model means, however a prompt is cut into steps.

The model is a small transformer with real arithmetic; the reference reads all tokens at once,
without a cache, for each token of the answer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from axproxy.models.axengine_folder import AxengineFolder
from axproxy.runtimes.axengine.worker.decoder import BadPrompt, Decoder, EndReason, Run
from axproxy.runtimes.axengine.worker.embedding_table import EmbeddingTable
from axproxy.runtimes.axengine.worker.network import open_network
from axproxy.runtimes.axengine.worker.sampling import Sampler, SamplingValues
from axproxy.runtimes.axengine.worker.shapes import UnfitFile
from tests.support.axengine_models import (
    FAKE,
    VOCABULARY,
    attention_group,
    layered_model,
    stacked_model,
    write_part,
)

GREEDY = SamplingValues(temperature=0)
WINDOW = 32
LAYOUTS = ("uniform", "uneven", "raw", "split", "single")


@pytest.fixture(autouse=True)
def fake_axengine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(FAKE))
    yield
    sys.modules.pop("axengine", None)


def folder_of(layout: str, folder: Path) -> Path:
    match layout:
        case "uneven":  # as newer models have it: the chunk's columns stand behind the capacity
            return layered_model(folder, capacities=(0, 7, 10, 21))
        case "raw":
            return layered_model(folder, raw=True)
        case "split" | "single":
            return stacked_model(folder, split=layout == "split")
    return layered_model(folder)


def open_decoder(folder: Path) -> Decoder:
    from axengine import InferenceSession

    found = AxengineFolder.read(folder)
    network = open_network(found, lambda path: InferenceSession(str(path)))
    assert found.table
    return Decoder(network, EmbeddingTable(found.table, network.decode.hidden))


def finished(decoder: Decoder, run: Run, **how: Any) -> tuple[list[int], EndReason]:
    answer, tokens = decoder.answer(run, **how), []
    while True:
        try:
            tokens.append(next(answer))
        except StopIteration as end:
            return tokens, end.value


def greedy(decoder: Decoder, ids: Sequence[int], most: int) -> list[int]:
    return finished(decoder, Run(ids, Sampler(GREEDY), most=most))[0]


def uncached(folder: Path, ids: Sequence[int], most: int) -> list[int]:
    """The answer of a network that has one group for the whole text, and no cache."""
    found = list(ids)
    while len(found) - len(ids) < most and len(found) <= WINDOW:
        found.append(greedy(_whole(folder, len(found)), found, 1)[0])
    return found[len(ids) :]


def _whole(folder: Path, length: int) -> Decoder:
    plain = folder.parent / f"{folder.name}-{length}"
    if not plain.exists():
        layers = 0 if any(folder.glob("*_l0_*")) else 2
        plain.mkdir()
        groups = [
            attention_group(1, WINDOW - 1, layers=layers),
            attention_group(length, 0, layers=layers),
        ]
        if layers:
            write_part(plain / "model.axmodel", "stacked", groups, layers=2)
        else:
            for layer in range(2):
                path = plain / f"tiny_p1_l{layer}_together.axmodel"
                write_part(path, "layer", groups, layer=layer, seed=layer)
            (plain / "tiny_post.axmodel").write_bytes((folder / "tiny_post.axmodel").read_bytes())
        table = next(folder.glob("model.embed*"))
        (plain / table.name).write_bytes(table.read_bytes())
    return open_decoder(plain)


PROMPTS = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=WINDOW)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_answer_is_that_of_a_plain_forward_pass(layout: str, tmp_path: Path) -> None:
    folder = folder_of(layout, tmp_path / "model")
    decoder = open_decoder(folder)

    @settings(max_examples=40, suppress_health_check=list(HealthCheck))
    @given(PROMPTS, st.integers(1, 3))
    def holds(ids: list[int], most: int) -> None:
        # The decoder still has the prompt before this one in its cache.
        assert greedy(decoder, ids, most) == uncached(folder, ids, most)

    holds()


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 8, 9, 12, 16, 20, 21, 31, 32])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_borders_of_chunks_and_of_the_window_change_nothing(
    layout: str, length: int, tmp_path: Path
) -> None:
    folder = folder_of(layout, tmp_path / "model")
    ids = [(7 * at + 3) % VOCABULARY for at in range(length)]

    assert greedy(open_decoder(folder), ids, 2) == uncached(folder, ids, 2)


def test_a_conversation_goes_on_from_the_cache_and_is_read_once(tmp_path: Path) -> None:
    folder = layered_model(tmp_path / "model")
    decoder = open_decoder(folder)
    first = [1, 2, 3, 4, 5, 6]
    answer = greedy(decoder, first, 3)
    second = [*first, *answer, 7, 8]

    assert decoder.reusable(second) == len(first) + len(answer) - 1  # the last is never read
    assert greedy(decoder, second, 3) == uncached(folder, second, 3)
    assert decoder.reusable([9, *second[1:]]) == 0


def test_the_window_ends_an_answer_at_its_last_place(tmp_path: Path) -> None:
    decoder = open_decoder(layered_model(tmp_path / "model"))

    tokens, reason = finished(decoder, Run([1] * WINDOW, Sampler(GREEDY)))
    assert (len(tokens), reason) == (1, "length")
    tokens, reason = finished(decoder, Run([1] * 30, Sampler(GREEDY)))
    assert (len(tokens), reason) == (3, "length")
    with pytest.raises(BadPrompt, match="33 tokens"):
        finished(decoder, Run([1] * 33, Sampler(GREEDY)))


def test_a_prompt_without_tokens_or_with_unknown_ones_is_refused(tmp_path: Path) -> None:
    decoder = open_decoder(layered_model(tmp_path / "model"))
    for ids in ([], [VOCABULARY], [-1]):
        with pytest.raises(BadPrompt):
            finished(decoder, Run(ids, Sampler(GREEDY)))


def test_a_stop_token_ends_the_answer_and_is_part_of_it(tmp_path: Path) -> None:
    decoder = open_decoder(layered_model(tmp_path / "model"))
    free = greedy(decoder, [1, 2, 3], 5)
    stop = free[2]

    tokens, reason = finished(decoder, Run([1, 2, 3], Sampler(GREEDY), frozenset({stop})))
    assert reason == "stop"
    assert tokens == free[: free.index(stop) + 1]


def test_a_cancelled_answer_ends_between_two_steps_and_spoils_nothing(tmp_path: Path) -> None:
    folder = layered_model(tmp_path / "model")
    decoder = open_decoder(folder)
    for steps in range(6):
        left = iter([False] * steps)
        run = Run([5, 6, 7, 8, 9, 10], Sampler(GREEDY))
        _, reason = finished(decoder, run, cancelled=lambda left=left: next(left, True))
        assert reason == "cancelled"
        other = [5, 6, 7, 11, 12]
        assert greedy(decoder, other, 2) == uncached(folder, other, 2)


def test_a_prompt_of_whole_chunks_costs_no_extra_step(tmp_path: Path) -> None:
    from axengine import InferenceSession

    decoder = open_decoder(layered_model(tmp_path / "model"))
    before = InferenceSession.runs
    greedy(decoder, [1, 2, 3, 4, 5, 6, 7, 8], 1)

    assert InferenceSession.runs - before == 2 * 2 + 1  # two chunks of two layers, and the post


def test_the_seed_decides_what_is_drawn(tmp_path: Path) -> None:
    decoder = open_decoder(layered_model(tmp_path / "model"))

    def drawn(seed: int) -> list[int]:
        values = SamplingValues(temperature=2.0, top_k=0, top_p=1.0, seed=seed)
        return finished(decoder, Run([1, 2, 3], Sampler(values), most=8))[0]

    assert drawn(1) == drawn(1) != drawn(2)
    assert np.unique([drawn(seed)[0] for seed in range(30)]).size > 3


@pytest.mark.parametrize(
    ("kv", "rows", "words"), [(4, 4, "takes a cache of"), (8, 2, "takes 2 tokens")]
)
def test_files_that_do_not_fit_one_cache_are_refused(
    kv: int, rows: int, words: str, tmp_path: Path
) -> None:
    folder = layered_model(tmp_path / "model")
    decode = attention_group(1 if kv == 4 else rows, WINDOW - 1)
    groups = [decode, attention_group(4, 0), attention_group(4, 4, kv=kv)]
    for layer in range(2):
        write_part(folder / f"tiny_p4_l{layer}_together.axmodel", "layer", groups, layer=layer)

    with pytest.raises(UnfitFile, match=words):
        open_decoder(folder)
