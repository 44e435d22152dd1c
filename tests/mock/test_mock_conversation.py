"""Queue, races, context limits and stops, as a client of the simulator sees them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from axmock.engine import CONTEXT_FULL
from tests.mock.conftest import Answer, ByteTokenizer, Start, eventually

pytestmark = pytest.mark.integration

ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def begun(tokenizer: ByteTokenizer, runs: int = 1) -> None:
    """Wait until the engine is inside its run: the model asks for the ids of its reply there."""
    eventually(lambda: len(tokenizer.requests("/tokenize")) >= runs, "the run")


def decoded(tokenizer: ByteTokenizer) -> list[str]:
    return [bytes(r["token_ids"]).decode() for r in tokenizer.requests("/decode")]


def test_text_is_streamed_in_threes_and_the_last_decode_carries_all(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    runtime = start("--reply", "Hello world")

    assert runtime.answer("x") == "Hello world"
    assert decoded(tokenizer) == ["Hel", "lo ", "wor", "ld", "Hello world"]


def test_a_reply_of_three_tokens_is_decoded_twice(start: Start, tokenizer: ByteTokenizer) -> None:
    assert start("--reply", "abc").answer("x") == "abc"
    assert decoded(tokenizer) == ["abc", "abc"]


def test_the_default_answer_shows_what_reached_the_model(start: Start) -> None:
    prompt = "<|im_start|>user\nIs this thing on?<|im_end|>\n<|im_start|>assistant\n"

    assert start().answer(prompt).endswith("You said: Is this thing on?")


def test_text_that_nobody_polled_leads_the_next_answer(start: Start) -> None:
    runtime = start("--reply", ALPHABET[:6])
    runtime.generate("one")
    eventually(runtime.idle, "the end")
    runtime.generate("two")

    assert runtime.settle() == ALPHABET[:6] * 2


def test_head_on_the_provider_takes_the_text_away(start: Start) -> None:
    runtime = start("--reply", ALPHABET[:6])
    runtime.generate("x")
    eventually(runtime.idle, "the end")
    runtime.call("HEAD", "/api/generate_provider")

    assert runtime.settle() == ""


def test_done_comes_only_after_the_decode_of_the_whole_answer(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    runtime = start("--reply", "abc")
    late = '{"text": "abc"}'
    tokenizer.fail("/decode", Answer(body=late), Answer(body=late, delay=0.5))
    runtime.generate("x")
    eventually(lambda: runtime.poll()[1] == "abc", "the text")
    begun_at = time.monotonic()
    eventually(lambda: runtime.poll()[0], "done")

    assert time.monotonic() - begun_at > 0.4


def test_while_something_runs_generate_reset_and_chat_are_refused(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    runtime = start("--reply", ALPHABET, "--tokens-per-second", "40")
    runtime.generate("x")
    begun(tokenizer)
    busy = (400, {"error": "llm is running"})

    assert runtime.json("POST", "/api/generate", {"prompt": "y", "temperature": 2}) == busy
    assert runtime.json("POST", "/api/reset", {}) == busy
    assert runtime.json("POST", "/api/chat", {"messages": []}) == busy
    assert runtime.settle() == ALPHABET
    assert "temperature: 2" not in runtime.output.text


def test_two_jobs_accepted_in_the_window_run_one_after_the_other(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    runtime = start("--reply", "abcdef")
    both = False
    with ThreadPoolExecutor(2) as clients:
        for _ in range(50):  # about every second time
            asked = [
                clients.submit(runtime.json, "POST", "/api/generate", {"prompt": "x"})
                for _ in range(2)
            ]
            accepted = [future.result()[0] for future in asked].count(200)
            assert runtime.settle() == "abcdef" * accepted
            runtime.reset()
            if accepted == 2:
                both = True
                break

    assert both


def test_chat_answers_the_first_usable_message_and_streams_nothing(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    runtime = start("--reply", "abcd")
    messages = [{"role": "x"}, 5, {"role": "system", "content": "one"}, {"content": "two"}]

    answer = runtime.json("POST", "/api/chat", {"messages": messages})

    assert answer == (200, {"done": True, "message": "abcd"})
    assert [r["text"] for r in tokenizer.requests("/encode")] == ["one"]
    assert decoded(tokenizer) == ["abcd"]
    assert runtime.settle() == ""


def test_a_stopped_chat_keeps_the_tail(start: Start, tokenizer: ByteTokenizer) -> None:
    runtime = start("--reply", ALPHABET, "--tokens-per-second", "20")
    answers: list[dict[str, object]] = []
    body = {"messages": [{"role": "user", "content": "x"}]}
    chat = threading.Thread(
        target=lambda: answers.append(runtime.json("POST", "/api/chat", body)[1])
    )
    chat.start()
    begun(tokenizer)
    time.sleep(0.25)  # a few tokens; how many is up to the machine
    runtime.call("GET", "/api/stop")
    chat.join()

    text = answers[0]["message"]
    assert isinstance(text, str)
    assert ALPHABET.startswith(text)
    assert 2 < len(text) < 26


def test_the_last_reply_is_sent_with_the_next_encode_even_after_a_reset(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    runtime = start("--reply", "abcd")
    runtime.answer("one")
    runtime.reset()
    runtime.answer("two")

    assert [r.get("last_reply") for r in tokenizer.requests("/encode")] == [None, "abcd"]


def test_sampling_settings_do_not_change_the_fixed_reply(start: Start) -> None:
    assert start("--reply", "abcd").answer("x", temperature=2, **{"top-k": 50}) == "abcd"


# Context limits: G = 896, C = 128, M = 1023, one token per byte.


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
def test_at_the_limit_only_whole_threes_are_streamed(
    start: Start, tokenizer: ByteTokenizer, prompt: int, streamed: int
) -> None:
    runtime = start("--reply", "y" * 2000, "--tokens-per-second", "0", on_terminal=True)

    text = runtime.answer("x" * prompt)

    assert len(text) == streamed
    assert len(decoded(tokenizer)[-1]) == 1023 - prompt + 1
    assert runtime.output.shows("precompute_len:1023, remaining:-127")


@pytest.mark.parametrize(("prompt", "status"), [(897, -11), (1025, -11), (1100, -6)])
def test_an_over_long_first_prompt_kills_the_process(
    start: Start, prompt: int, status: int
) -> None:
    runtime = start()
    runtime.reset()
    runtime.generate("x" * prompt)

    assert runtime.exit_status() == status


def test_after_an_earlier_turn_an_over_long_first_prompt_prefills_then_aborts(
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


def test_ids_beyond_the_table_cost_a_log_line_each(start: Start, tokenizer: ByteTokenizer) -> None:
    runtime = start("--reply", "aa", "--tokens_embed_num", "100", on_terminal=True)
    runtime.answer("\u00e9")

    for line in ("index(195) > token_num(100)", "index(169) > token_num(100)"):
        assert runtime.output.shows(line)


def test_the_first_token_is_not_tested_for_the_end(start: Start, tokenizer: ByteTokenizer) -> None:
    assert start("--reply", "").answer("x") == ""
    assert [r["token_ids"] for r in tokenizer.requests("/decode")] == [[256], [256]]


# Stopping


def test_a_stop_cuts_the_text_to_whole_threes(start: Start, tokenizer: ByteTokenizer) -> None:
    runtime = start("--reply", ALPHABET * 8, "--tokens-per-second", "100")
    runtime.generate("x")
    eventually(lambda: len(tokenizer.requests("/decode")) >= 2, "some text")
    runtime.call("GET", "/api/stop")
    text = runtime.settle()

    assert len(text) % 3 == 0
    assert 6 <= len(text) < 26 * 8
    assert 0 <= len(decoded(tokenizer)[-1]) - len(text) <= 2


def test_head_on_stop_stops(start: Start, tokenizer: ByteTokenizer) -> None:
    runtime = start("--reply", "y" * 400, "--tokens-per-second", "100")
    runtime.generate("x")
    begun(tokenizer)
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
    # a chunk takes 4 s here, each of its four layers 1 s
    runtime = start("--reply", "abcdef", "--prefill-tokens-per-second", "32")
    runtime.generate("x")
    begun(tokenizer)
    begun_at = time.monotonic()
    runtime.call("GET", "/api/stop")
    eventually(lambda: runtime.poll()[0], "the end")

    assert time.monotonic() - begun_at < 2


def test_a_stop_in_prefill_streams_nothing_and_takes_a_foreign_length(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    flags = ["--reply", "y" * 80, "--prefill-tokens-per-second", "1600"]
    runtime = start(*flags, on_terminal=True)  # 80 ms a chunk
    runtime.answer("a" * 300)
    runtime.reset()
    runtime.generate("b" * 600)
    begun(tokenizer, 2)
    runtime.call("GET", "/api/stop")

    assert runtime.settle() == ""
    assert tokenizer.requests("/decode")[-1]["token_ids"] == [33]
    assert runtime.output.shows("precompute_len:380, remaining:516", 2)


def test_speed_is_met_to_two_percent(start: Start) -> None:
    runtime = start("--reply", "y" * 300, "--tokens-per-second", "200", on_terminal=True)
    runtime.answer("x")

    assert runtime.output.shows("GetKVCache")
    line = next(part for part in runtime.output.text.split("\n") if "hit eos" in part)
    speed = float(line.partition("avg ")[2].split()[0])
    assert speed == pytest.approx(200, rel=0.02)
