"""Thinking is separated from the answer, and no tag is left in either."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.messages import Text, Thinking
from axproxy.output.thinking import ThinkingParser, split_thinking

# name: (what the model writes, its thinking, its answer)
WANTED = {
    "both": ("<think>Hm.</think>Hi", "Hm.", "Hi"),
    "as qwen writes it": ("<think>\nLet me see.\n</think>\n\nHi", "Let me see.\n", "Hi"),
    "blanks before the tag": ("\n \n<think>a</think>b", "a", "b"),
    "an empty block": ("<think>\n\n</think>\n\nHi", "", "Hi"),
    "no block": ("Hi", "", "Hi"),
    "no block, blanks first": ("\n Hi", "", "\n Hi"),
    "the tag comes late": ("So: <think>a</think>", "", "So: <think>a</think>"),
    "no end": ("<think>and on", "and on", ""),
    "half an end": ("<think>and </thi", "and </thi", ""),
    "half a beginning": ("<thi", "", "<thi"),
    "nothing but blanks": (" \n", "", " \n"),
    "something like an end": ("<think>a </thin b</think>c", "a </thin b", "c"),
    "an end within the answer": ("<think>a</think>b</think>c", "a", "b</think>c"),
    "blanks within": ("<think>a\n\nb</think> c \n", "a\n\nb", "c \n"),
    "nothing at all": ("", "", ""),
    "a tag and no more": ("<think>", "", ""),
}
INSIDE = {
    "as qwen's thinking builds write it": ("\nHm.\n</think>\n\nHi", "Hm.\n", "Hi"),
    "opened once more": ("\n<think>\nHm.</think>Hi", "Hm.", "Hi"),
    "half opened once more": ("<thin", "<thin", ""),
    "no end": ("Hm", "Hm", ""),
    "at once the end": ("</think>Hi", "", "Hi"),
    "nothing at all": ("", "", ""),
}
UNWANTED = {
    "an empty block": ("<think>\n\n</think>\n\nHi", "", "Hi"),
    "an empty block after blanks": ("\n<think></think>Hi", "", "Hi"),
    "a block": ("<think>\na</think>b", "", "<think>\na</think>b"),
    "half a block": ("<think>\n</th", "", "<think>\n</th"),
    "an answer": (" Hi <think></think>", "", " Hi <think></think>"),
    "blanks": (" \n", "", " \n"),
}


def parsed(parser: ThinkingParser, pieces: list[str]) -> tuple[str, str]:
    events = [event for piece in pieces for event in parser.feed(piece)] + parser.finish()
    assert all(event.text for event in events)
    order = [type(event) for event in events]
    assert order == sorted(order, key=lambda kind: kind is Text)  # thinking comes first
    thinking = "".join(event.text for event in events if isinstance(event, Thinking))
    return thinking, "".join(event.text for event in events if isinstance(event, Text))


def letters(text: str) -> list[str]:
    return list(text)


@pytest.mark.parametrize("cut", [letters, lambda text: [text]])
@pytest.mark.parametrize("name", WANTED)
def test_thinking_is_separated_from_the_answer(name: str, cut) -> None:
    text, *expected = WANTED[name]
    assert parsed(ThinkingParser(wanted=True), cut(text)) == tuple(expected)


@pytest.mark.parametrize("cut", [letters, lambda text: [text]])
@pytest.mark.parametrize("name", INSIDE)
def test_the_prompt_may_have_opened_the_thinking(name: str, cut) -> None:
    text, *expected = INSIDE[name]
    assert parsed(ThinkingParser(wanted=True, inside=True), cut(text)) == tuple(expected)
    assert parsed(ThinkingParser(wanted=False, inside=True), cut(text)) == ("", expected[1])


@pytest.mark.parametrize("cut", [letters, lambda text: [text]])
@pytest.mark.parametrize("name", UNWANTED)
def test_without_thinking_wanted_only_an_empty_block_is_dropped(name: str, cut) -> None:
    text, *expected = UNWANTED[name]
    assert parsed(ThinkingParser(wanted=False), cut(text)) == tuple(expected)


PIECES = st.lists(
    st.sampled_from(["<think>", "</think>", "<", "</", "think>", "<thi", "nk>", "\n", " ", "a"])
)


@given(PIECES, st.booleans(), st.booleans())
def test_any_cut_gives_the_same(pieces: list[str], wanted: bool, inside: bool) -> None:
    whole = "".join(pieces)
    expected = parsed(ThinkingParser(wanted=wanted, inside=inside), [whole])
    assert parsed(ThinkingParser(wanted=wanted, inside=inside), pieces) == expected
    assert parsed(ThinkingParser(wanted=wanted, inside=inside), letters(whole)) == expected


@given(PIECES)
def test_only_tags_and_blanks_are_dropped(pieces: list[str]) -> None:
    whole = "".join(pieces)
    thinking, answer = parsed(ThinkingParser(wanted=True), pieces)
    left = whole.replace(thinking, "", 1).replace(answer, "", 1)
    assert set(left) <= set("</think>\n ")
    assert whole.count("a") == (thinking + answer).count("a")


def test_thinking_streams_and_only_half_a_tag_is_held_back() -> None:
    parser = ThinkingParser(wanted=True)
    assert parser.feed("<think>\nLet") == [Thinking("Let")]
    assert parser.feed(" me</") == [Thinking(" me")]
    assert parser.feed("b") == [Thinking("</b")]
    assert parser.feed("</think>\n\nHi") == [Text("Hi")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<think>\na\n</think>\n\nHi", ("a\n", "Hi")),
        ("Hi <think>a</think>", ("", "Hi <think>a</think>")),
        ("<think>a", ("", "<think>a")),
        ("", ("", "")),
    ],
)
def test_a_whole_answer_is_split_in_the_same_places(
    content: str, expected: tuple[str, str]
) -> None:
    assert split_thinking(content) == expected
