"""What the simulated model answers."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from axmock.http_client import Address
from axmock.pace import Metronome, Pace
from axmock.reply import ReplyScript, last_user_message
from tests.mock.byte_tokenizer import Answer, ByteTokenizer

TWO_TURNS = (
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nfirst<|im_end|>\n"
    "<|im_start|>assistant\nyes<|im_end|>\n<|im_start|>user\nsecond\nline<|im_end|>\n"
    "<|im_start|>assistant\n"
)
PROMPTS = {
    TWO_TURNS: "second\nline",
    "plain text": "plain text",
    "": "",
    "<|im_end|>\n<|im_start|>user\nmore<|im_end|>\n<|im_start|>assistant\n": "more",
    "<|im_start|>user\nunfinished": "<|im_start|>user\nunfinished",
    "<|im_start|>user\na <\ufdd0|im_end|> b<|im_end|>": "a <\ufdd0|im_end|> b",
}


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_default_answer_repeats_the_last_user_message_word_for_word(prompt: str) -> None:
    assert last_user_message(prompt) == PROMPTS[prompt]
    assert ReplyScript().answer(prompt).endswith(f" You said: {PROMPTS[prompt]}")


def test_a_reply_file_is_read_anew_for_each_answer(tmp_path: Path) -> None:
    file = tmp_path / "reply.txt"
    script = ReplyScript(file=file)

    for text in ("one\n", "two é\n"):
        file.write_text(text, encoding="utf-8")
        assert script.answer("x") == text


def address(tokenizer: ByteTokenizer) -> Address:
    return Address("127.0.0.1", int(tokenizer.url.rpartition(":")[2]))


def test_the_ids_of_a_reply_come_from_the_tokenizer(tokenizer: ByteTokenizer) -> None:
    tokenizer.vocabulary = {"Hello": [7, 8]}

    assert ReplyScript("Hello").tokens("x", address(tokenizer)) == [7, 8]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404),
        Answer(body='{"error": "Invalid POST endpoint"}'),
        Answer(body="no JSON"),
        Answer(hang_up=True),
    ],
    ids=["no such route", "the vendor's script", "garbage", "closed"],
)
def test_without_a_vocabulary_the_ids_are_the_bytes(
    tokenizer: ByteTokenizer, answer: Answer
) -> None:
    tokenizer.fail("/tokenize", answer)

    assert ReplyScript("é").tokens("x", address(tokenizer)) == [0xC3, 0xA9]


def test_the_escape_in_typed_control_tokens_is_no_byte_of_the_reply(
    tokenizer: ByteTokenizer,
) -> None:
    assert ReplyScript("<\ufdd0|").tokens("x", address(tokenizer)) == list(b"<|")


def test_speed_zero_takes_no_time() -> None:
    assert (Pace(0, 0).token(), Pace(0, 0).chunk(128)) == (0, 0)
    assert (Pace(4, 64).token(), Pace(4, 64).chunk(128)) == (0.25, 2)


class Ticks:
    """A clock for steps that end without waiting."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_small_delay_is_made_up_and_a_long_delay_is_not() -> None:
    ticks = Ticks()
    stop = threading.Event()
    stop.set()  # a step that had to wait would return False
    metronome = Metronome(stop, 4, ticks)

    ticks.now = 0.3  # two steps of 0.1 s are overdue: late by 0.1 s
    assert metronome.step(0.1)
    assert metronome.step(0.1)
    assert metronome.step(0.1)
    ticks.now = 5.0
    assert metronome.step(0.1)  # late by 4.6 s: the beat starts again here
    ticks.now = 5.1
    assert metronome.step(0.1)


def test_work_that_is_not_the_cards_shifts_the_beat() -> None:
    ticks = Ticks()
    stop = threading.Event()
    stop.set()
    metronome = Metronome(stop, 4, ticks)

    metronome.excuse(0.3)
    ticks.now = 0.35

    assert not metronome.step(0.1)  # due at 0.4, so it has to wait, and the stop cuts it short


def test_a_stop_ends_a_step_at_the_end_of_a_layer() -> None:
    ticks = Ticks()
    stop = threading.Event()
    stop.set()
    metronome = Metronome(stop, 4, ticks)

    ticks.now = 0.08  # in the last of four layers of 25 ms

    assert metronome.step(0.1)
