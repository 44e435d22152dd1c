"""Context limits: G = 896, C = 128, M = 1023, and one token per byte."""

from __future__ import annotations

import pytest

from axmock.engine import CONTEXT_FULL
from tests.mock.byte_tokenizer import Answer, ByteTokenizer
from tests.mock.conftest import Start

pytestmark = pytest.mark.integration


def test_a_full_context_is_reported_as_text_and_only_a_reset_recovers(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    runtime = start("--reply", "abcd")
    tokenizer.system_tokens = [1] * 13
    runtime.reset()

    assert runtime.answer("x" * 769) == CONTEXT_FULL
    assert tokenizer.requests("/decode") == []
    assert runtime.answer("x" * 24) == "abcd"  # the limit is 640 by now
    runtime.reset()
    assert runtime.answer("x" * 768) == "abcd"


def test_chat_leaves_a_second_copy_of_the_context_full_text(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    runtime = start()
    tokenizer.system_tokens = [1] * 800
    runtime.reset()
    messages = [{"role": "user", "content": "x"}]

    answer = runtime.json("POST", "/api/chat", {"messages": messages})

    assert answer == (200, {"done": True, "message": CONTEXT_FULL})
    assert runtime.settle() == CONTEXT_FULL


@pytest.mark.parametrize(("prompt", "streamed"), [(700, 324), (701, 321), (702, 321)])
def test_at_the_limit_only_whole_groups_of_three_are_streamed(
    start: Start, tokenizer: ByteTokenizer, prompt: int, streamed: int
) -> None:
    runtime = start("--reply", "y" * 2000, "--tokens-per-second", "0", on_terminal=True)

    text = runtime.answer("x" * prompt)

    assert len(text) == streamed
    assert len(tokenizer.decoded()[-1]) == 1023 - prompt + 1
    assert runtime.output.shows("precompute_len:1023, remaining:-127")


@pytest.mark.parametrize(("prompt", "status"), [(897, -11), (1025, -11), (1100, -6)])
def test_a_first_prompt_that_is_too_long_kills_the_process(
    start: Start, prompt: int, status: int
) -> None:
    runtime = start()
    runtime.reset()
    runtime.generate("x" * prompt)

    assert runtime.exit_status() == status


def test_after_an_earlier_turn_a_first_prompt_that_is_too_long_prefills_then_aborts(
    start: Start,
) -> None:
    runtime = start("--reply", "abcd", on_terminal=True)
    runtime.answer("x")
    runtime.reset()
    runtime.generate("x" * 900)

    assert runtime.exit_status() == -6
    assert runtime.output.text.count("input_num_token:128\x1b") == 7


@pytest.mark.parametrize(("tokens", "status"), [(1, None), (900, None), (2000, -11)])
def test_a_reset_never_checks_its_length(
    start: Start, tokenizer: ByteTokenizer, tokens: int, status: int | None
) -> None:
    runtime = start()
    tokenizer.system_tokens = [1] * tokens
    assert runtime.json("POST", "/api/reset", {})[0] == 200

    if status is not None:
        assert runtime.exit_status() == status
        return
    runtime.settle()
    assert (runtime.answer("x") == CONTEXT_FULL) == (tokens == 900)


def test_an_empty_diff_is_answered_from_a_zero_vector(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    runtime = start("--reply", "abcd", on_terminal=True)
    tokenizer.fail("/encode", Answer(body='{"token_ids": [], "diff": []}'))

    assert runtime.answer("") == "abcd"
    assert runtime.output.shows("input token num : 0, prefill_split_num : 0")


def test_each_id_beyond_the_table_is_logged(start: Start, tokenizer: ByteTokenizer) -> None:
    runtime = start("--reply", "aa", "--tokens_embed_num", "100", on_terminal=True)
    runtime.answer("\u00e9")

    for line in ("index(195) > token_num(100)", "index(169) > token_num(100)"):
        assert runtime.output.shows(line)


def test_the_first_token_never_ends_an_answer(start: Start, tokenizer: ByteTokenizer) -> None:
    assert start("--reply", "").answer("x") == ""
    assert [r["token_ids"] for r in tokenizer.requests("/decode")] == [[256], [256]]
