"""The simulator's queue, races and chat, as a client sees them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.mock.byte_tokenizer import Answer, ByteTokenizer
from tests.mock.conftest import Runtime, Start, eventually

pytestmark = pytest.mark.integration

ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def over(runtime: Runtime, tokenizer: ByteTokenizer, decodes: int) -> None:
    """Wait for the end of an answer without polling; "idle" may also mean "not begun"."""
    eventually(lambda: len(tokenizer.requests("/decode")) == decodes, "the last decode")
    eventually(runtime.idle, "the end")


def test_text_is_streamed_in_groups_of_three_and_the_last_decode_has_all(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    runtime = start("--reply", "Hello world")

    assert runtime.answer("x") == "Hello world"
    assert tokenizer.decoded() == ["Hel", "lo ", "wor", "ld", "Hello world"]


def test_a_reply_of_three_tokens_is_decoded_twice(start: Start, tokenizer: ByteTokenizer) -> None:
    assert start("--reply", "abc").answer("x") == "abc"
    assert tokenizer.decoded() == ["abc", "abc"]


def test_the_default_answer_shows_what_reached_the_model(start: Start) -> None:
    prompt = "<|im_start|>user\nIs this thing on?<|im_end|>\n<|im_start|>assistant\n"

    assert start().answer(prompt).endswith("You said: Is this thing on?")


def test_text_that_was_not_polled_begins_the_next_answer(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    runtime = start("--reply", ALPHABET[:6])
    runtime.generate("one")
    over(runtime, tokenizer, decodes=3)
    runtime.generate("two")

    assert runtime.settle() == ALPHABET[:6] * 2


def test_head_on_the_provider_takes_the_text_away(start: Start, tokenizer: ByteTokenizer) -> None:
    runtime = start("--reply", ALPHABET[:6])
    runtime.generate("x")
    over(runtime, tokenizer, decodes=3)
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
    runtime = start("--reply", ALPHABET * 4, "--tokens-per-second", "40")
    runtime.generate("x")
    eventually(lambda: tokenizer.runs() >= 1, "the run")
    busy = (400, {"error": "llm is running"})

    assert runtime.json("POST", "/api/generate", {"prompt": "y", "temperature": 2}) == busy
    assert runtime.json("POST", "/api/reset", {}) == busy
    assert runtime.json("POST", "/api/chat", {"messages": []}) == busy
    assert runtime.settle() == ALPHABET * 4
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
    assert tokenizer.decoded() == ["abcd"]
    assert runtime.settle() == ""


def test_a_stopped_chat_keeps_its_last_tokens(start: Start, tokenizer: ByteTokenizer) -> None:
    runtime = start("--reply", ALPHABET * 8, "--tokens-per-second", "20")
    answers: list[dict[str, object]] = []
    body = {"messages": [{"role": "user", "content": "x"}]}
    chat = threading.Thread(
        target=lambda: answers.append(runtime.json("POST", "/api/chat", body)[1])
    )
    chat.start()
    eventually(lambda: tokenizer.runs() >= 1, "the run")
    time.sleep(0.25)  # a few tokens; the machine decides how many
    runtime.call("GET", "/api/stop")
    chat.join()

    text = answers[0]["message"]
    assert isinstance(text, str)
    assert (ALPHABET * 8).startswith(text)
    assert 0 < len(text) < 26 * 8


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


def test_a_top_k_above_the_vocabulary_is_fatal(start: Start) -> None:
    runtime = start("--reply", "abcd", "--tokens_embed_num", "600")
    assert runtime.answer("x", **{"top-k": 600}) == "abcd"
    runtime.generate("x", **{"top-k": 601})
    assert runtime.exit_status() == -11
