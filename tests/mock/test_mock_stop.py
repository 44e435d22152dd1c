"""Stopping an answer, and the speed of an answer."""

from __future__ import annotations

import time

import pytest

from tests.mock.byte_tokenizer import Answer, ByteTokenizer
from tests.mock.conftest import Start, eventually

pytestmark = pytest.mark.integration

ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def test_a_stop_cuts_the_text_to_whole_groups_of_three(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    runtime = start("--reply", ALPHABET * 8, "--tokens-per-second", "100")
    runtime.generate("x")
    eventually(lambda: len(tokenizer.requests("/decode")) >= 2, "some text")
    runtime.call("GET", "/api/stop")
    text = runtime.settle()

    assert len(text) % 3 == 0
    assert 6 <= len(text) < 26 * 8
    assert 0 <= len(tokenizer.decoded()[-1]) - len(text) <= 2


def test_head_on_stop_stops(start: Start, tokenizer: ByteTokenizer) -> None:
    runtime = start("--reply", "y" * 400, "--tokens-per-second", "100")
    runtime.generate("x")
    eventually(lambda: tokenizer.runs() >= 1, "the run")
    runtime.call("HEAD", "/api/stop")

    assert len(runtime.settle()) < 400


def test_a_stop_before_the_run_begins_is_lost(start: Start, tokenizer: ByteTokenizer) -> None:
    runtime = start("--reply", "abcdef")
    ids = '{"token_ids": [1], "diff": [1]}'
    tokenizer.fail("/encode", Answer(body=ids, delay=0.3))
    runtime.generate("x")
    eventually(lambda: tokenizer.requests("/encode"), "the encode")
    runtime.call("GET", "/api/stop")

    assert runtime.settle() == "abcdef"


def test_a_stop_takes_effect_after_one_layer(start: Start, tokenizer: ByteTokenizer) -> None:
    # a chunk takes 12 s here, each of its four layers 3 s
    runtime = start("--reply", "abcdef", "--prefill-tokens-per-second", "10.67")
    runtime.generate("x")
    eventually(lambda: tokenizer.runs() >= 1, "the run")
    begun_at = time.monotonic()
    runtime.call("GET", "/api/stop")
    eventually(lambda: runtime.poll()[0], "the end")

    assert time.monotonic() - begun_at < 8


def test_a_stop_in_prefill_streams_nothing_and_takes_the_length_of_an_older_run(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    flags = ["--reply", "y" * 80, "--prefill-tokens-per-second", "1600"]
    runtime = start(*flags, on_terminal=True)  # 80 ms a chunk
    runtime.answer("a" * 300)
    runtime.reset()
    runtime.generate("b" * 600)
    eventually(lambda: tokenizer.runs() >= 2, "the run")
    runtime.call("GET", "/api/stop")

    assert runtime.settle() == ""
    assert tokenizer.requests("/decode")[-1]["token_ids"] == [33]
    assert runtime.output.shows("precompute_len:380, remaining:516", 2)


def test_an_answer_comes_at_the_configured_speed(start: Start) -> None:
    runtime = start("--reply", "y" * 200, "--tokens-per-second", "200", on_terminal=True)
    runtime.answer("x")

    assert runtime.output.shows("GetKVCache")
    line = next(part for part in runtime.output.text.split("\n") if "hit eos" in part)
    speed = float(line.partition("avg ")[2].split()[0])
    assert 100 < speed < 204  # never faster; slower where the machine has no time
