"""Prompts and answers are followed in time that grows with their length, whatever is in them."""

from __future__ import annotations

import pytest

from axproxy.process.output import LineSplitter, plain
from axproxy.prompts.fitting import Prompt
from axproxy.runtimes.main_api.kv_cache import CacheVersion, cache_after
from axproxy.runtimes.main_api.run_log import RunLog, normal
from tests.support.growth import assert_linear, repeated

TEXTS = {
    "blanks": repeated(" "),
    "thinking that is about to begin": repeated(" ", before="<think>", after="x"),
    "openings": repeated("<think> "),
    "empty blocks": repeated("<think></think> "),
    "an open block": repeated("</think> ", before="<think>"),
    "control sequences": repeated("\x1b["),
    "a control sequence without an end": repeated("1;", before="\x1b["),
    "its second half": repeated(" ", before="\x1b["),
    "signs of a dead card": repeated("]: AX_ENGINE_Execute "),
    "numbers of a dead card": repeated("send 1", after="1"),
    "times": repeated("]: ttft: 1"),
    "digits": repeated("1", before="recv dma size "),
}
VERSION = CacheVersion("1", 1, 1)


@pytest.mark.parametrize("name", TEXTS)
def test_what_the_cache_holds_is_known_in_time_that_grows_with_the_text(name: str) -> None:
    def work(text: str) -> None:
        for prompt, reply in ((text, "a"), ("a<think>", text), ("a", text)):
            cache_after(Prompt(prompt, 1), reply, 1, VERSION).rest_of(prompt + text, ("<",))

    assert_linear(TEXTS[name], work)


@pytest.mark.parametrize("name", TEXTS)
def test_the_log_is_read_in_time_that_grows_with_the_text(name: str) -> None:
    def work(text: str) -> None:
        log, splitter = RunLog(), LineSplitter()
        for at in range(0, len(text), 4096):
            for line in splitter.feed(text[at : at + 4096].encode()):
                log.feed(line)
        plain(text)
        normal(text)

    assert_linear(TEXTS[name], work, 1 << 17)


@pytest.mark.parametrize("name", TEXTS)
def test_signs_are_told_from_the_answers_words_in_time_that_grows_with_the_answer(
    name: str,
) -> None:
    def work(text: str) -> None:
        log = RunLog()
        log.begin(text)
        log.feed("]: AX_ENGINE_Execute")
        for at in range(0, len(text), 16):
            log.sampled(text[at : at + 16])
            log.proves(log.logged)

    assert_linear(TEXTS[name], work, 1 << 17)


def test_the_output_is_split_in_time_that_grows_with_it_in_tiny_pieces_too() -> None:
    def work(size: int) -> None:
        splitter = LineSplitter()
        for _ in range(size):
            splitter.feed(b"a")

    assert_linear(lambda size: size, work, 1 << 16)
