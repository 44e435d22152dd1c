"""What happens to the runtime when its tokenizer fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.mock.byte_tokenizer import Answer, ByteTokenizer
from tests.mock.conftest import Runtime, Start

pytestmark = pytest.mark.integration

NO_KEY = Answer(body='{"error": "Invalid uid"}')
HANG_UP = Answer(hang_up=True)


@pytest.fixture(scope="module", autouse=True)
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A runtime without a tokenizer; its ten seconds pass while the other tests run."""
    flags = ["--url_tokenizer_model", "http://127.0.0.1:1"]
    runtime = Runtime(tmp_path_factory.mktemp("lonely"), flags)
    yield runtime
    runtime.close()


@pytest.mark.parametrize("answer", [Answer(500), Answer(body="no JSON"), Answer(body="")])
def test_after_a_failed_encode_the_previous_prompt_is_answered_again(
    start: Start, tokenizer: ByteTokenizer, answer: Answer
) -> None:
    runtime = start(on_terminal=True)
    assert runtime.answer("first").endswith("You said: first")
    tokenizer.fail("/encode", answer)

    assert runtime.answer("second").endswith("You said: first")
    assert runtime.output.shows("input_num_token:0\x1b")
    assert runtime.output.shows("[E][                          Encode][ 820]: encode failed")


def test_stale_tokens_of_a_refused_prompt_are_fatal_beyond_the_window(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    runtime = start()
    runtime.answer("first")
    assert runtime.answer("x" * 1200).startswith("error: SetKVCache failed")
    tokenizer.fail("/encode", Answer(500))
    runtime.generate("third")

    assert runtime.exit_status() == -6


def test_a_tokenizer_address_with_a_path_kills_the_program(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    runtime = start("--url_tokenizer_model", f"{tokenizer.url}/v1", ready=False)
    assert runtime.exit_status() == -11


@pytest.mark.parametrize(
    ("path", "answer", "status"),
    [
        ("/encode", NO_KEY, -6),
        ("/encode", Answer(body='{"token_ids": [1], "diff": ["x"]}'), -6),
        ("/encode", HANG_UP, -11),
        ("/decode", HANG_UP, -11),
    ],
)
def test_encode_and_decode_can_kill_an_answer(
    start: Start, tokenizer: ByteTokenizer, path: str, answer: Answer, status: int
) -> None:
    runtime = start()
    tokenizer.fail(path, answer)
    runtime.generate("x")

    assert runtime.exit_status() == status


@pytest.mark.parametrize(
    ("answer", "status"),
    [(NO_KEY, -6), (Answer(body="no JSON"), -6), (Answer(body=""), -6), (HANG_UP, -11)],
)
def test_a_reset_without_an_answer_kills_the_process(
    start: Start, tokenizer: ByteTokenizer, answer: Answer, status: int
) -> None:
    runtime = start()
    tokenizer.fail("/reset", answer)
    runtime.json("POST", "/api/reset", {})

    assert runtime.exit_status() == status
    if status == -6:
        assert runtime.errors.text.startswith("terminate called after throwing an instance of '")


def test_a_refused_reset_prefills_the_previous_ids_again(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    runtime = start(on_terminal=True)
    tokenizer.system_tokens = [1] * 7
    runtime.reset()
    tokenizer.fail("/reset", Answer(500))
    runtime.reset()

    assert runtime.output.shows("reset failed, status: 500")
    assert runtime.output.shows("input token num : 7, prefill_split_num : 1", 2)


def test_a_failed_decode_is_tried_once_more_after_a_second(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    runtime = start("--reply", "abc", on_terminal=True)
    tokenizer.fail("/decode", Answer(500, "sorry"))

    assert runtime.answer("x") == "abc"
    assert runtime.output.shows("decode failed, status: 500, try again")
    assert runtime.output.shows(": sorry\x1b")


def test_after_two_failed_decodes_the_text_is_missing(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    runtime = start("--reply", "abc")
    tokenizer.fail("/decode", Answer(404), Answer(body='{"no": "text"}'))

    assert runtime.answer("x") == ""
    assert len(tokenizer.requests("/decode")) == 3


def test_a_nul_cuts_the_group_in_the_stream_but_not_in_the_last_reply(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    runtime = start("--reply", "a\\0b")
    texts = [Answer(body='{"text": "a\\u0000b"}')] * 2
    tokenizer.vocabulary = {"a\\0b": [1, 2, 3]}
    tokenizer.fail("/decode", *texts)

    assert runtime.answer("x") == "a"
    runtime.answer("y")
    assert tokenizer.requests("/encode")[1]["last_reply"] == "a\0b"


def test_chat_with_a_failing_uid_is_stuck_for_ever(start: Start, tokenizer: ByteTokenizer) -> None:
    runtime = start()
    tokenizer.fail("/encode", NO_KEY)
    body = '{"messages": [{"role": "user", "content": "x"}]}'

    response = runtime.call("POST", "/api/chat", body)

    assert response.startswith(b"HTTP/1.1 500 ")
    assert (
        b"EXCEPTION_WHAT: [json.exception.type_error.302] type must be array, but is null"
        in response
    )
    assert runtime.poll() == (False, "")
    assert runtime.json("POST", "/api/reset", {}) == (400, {"error": "llm is running"})


def test_a_tokenizer_that_is_slow_slows_the_answer(start: Start, tokenizer: ByteTokenizer) -> None:
    runtime = start("--reply", "abcdef", "--tokens-per-second", "1000", on_terminal=True)
    slow = [Answer(body='{"text": "abc"}', delay=0.3)] * 2
    tokenizer.fail("/decode", *slow)
    runtime.answer("x")

    assert runtime.output.shows("GetKVCache")
    line = next(part for part in runtime.output.text.split("\n") if "hit eos" in part)
    assert float(line.partition("avg ")[2].split()[0]) < 11


@pytest.mark.parametrize("path", ["/get_uid", "/bos_id", "/eos_id"])
def test_a_refusal_during_init_ends_with_255(
    start: Start, tokenizer: ByteTokenizer, path: str
) -> None:
    tokenizer.fail(path, Answer(500))
    runtime = start(ready=False)

    assert runtime.exit_status() == 255
    assert "lLaMa.Init failed" in runtime.output.text


def test_an_unusable_uid_is_requested_again(start: Start, tokenizer: ByteTokenizer) -> None:
    tokenizer.fail("/get_uid", NO_KEY)
    runtime = start()

    assert runtime.output.shows("get uid failed, try again 9/10")
    assert runtime.errors.shows("type must be string, but is null")


def test_no_reply_during_init_is_a_segfault(start: Start, tokenizer: ByteTokenizer) -> None:
    tokenizer.fail("/get_uid", HANG_UP)

    assert start(ready=False).exit_status() == -11


@pytest.mark.parametrize("url", ["127.0.0.1:1", "http://127.0.0.1"])
def test_an_address_without_scheme_or_port_fails_at_once(start: Start, url: str) -> None:
    runtime = start("--url_tokenizer_model", url, ready=False)

    assert runtime.exit_status() == 255
    assert f"connect {url} failed" in runtime.output.text


def test_an_absent_tokenizer_is_tried_ten_times_a_second_apart(lonely: Runtime) -> None:
    assert lonely.exit_status() == 255
    for left in range(10):
        line = f"connect failed http://127.0.0.1:1, try again in {left:2d}/10 "
        assert lonely.output.text.count(f"\x1b[1;30;31m{line}\n\x1b[0m") == 1
