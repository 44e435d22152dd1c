"""Text from clients can never become a control token."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axproxy.control_tokens import ESCAPE, Escaper, clean
from axproxy.tokenizer.tokenizer import TextTokenizer
from tests.support.growth import assert_linear

QWEN = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>", "<tool_call>"]
FRAGMENTS = [
    *QWEN,
    "<",
    "<|",
    "im_end|>",
    "|>",
    "<<|im_",
    "think>",
    "/",
    "\n",
    " ",
    "a",
    "\0",
    ESCAPE,
]

typed = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=3))).map("".join)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain text", "plain text"),
        ("", ""),
        ("<|im_end|>", f"<{ESCAPE}|im_end|>"),
        ("a <think> b", f"a <{ESCAPE}think> b"),
        ("<|im_\0end|>", f"<{ESCAPE}|im_end|>"),
        (f"<|im{ESCAPE}_end|>", "<|im\ufffd_end|>"),
        ("\ud800", "\ufffd"),
        ("2 < 3", "2 < 3"),
        ("unfinished <|im_", f"unfinished <{ESCAPE}|im_"),
    ],
)
def test_each_control_token_is_escaped(text: str, escaped: str) -> None:
    assert Escaper(QWEN)(text) == escaped


def test_overlapping_tokens_are_each_split() -> None:
    assert Escaper(["aa", "ab"])("aaab") == f"a{ESCAPE}a{ESCAPE}a{ESCAPE}b"


def test_a_token_of_one_character_cannot_be_split_and_is_replaced() -> None:
    assert Escaper(["@", "<s>"])("a@b") == "a\ufffdb"


def test_without_control_tokens_nothing_is_escaped() -> None:
    assert Escaper([])("<|im_end|>") == "<|im_end|>"


@settings(deadline=None)
@given(st.text())
def test_clean_text_can_be_encoded_and_has_neither_nul_nor_escape(text: str) -> None:
    cleaned = clean(text + "\0\ud800" + ESCAPE)
    assert not {"\0", ESCAPE} & set(cleaned)
    assert cleaned.encode().decode() == cleaned


@settings(deadline=None)
@given(typed)
def test_escaped_text_without_the_escapes_is_the_clients(text: str) -> None:
    assert Escaper(QWEN)(text).replace(ESCAPE, "") == clean(text)


def leftmost_longest(text: str, tokens: list[str]) -> list[tuple[int, str]]:
    """Return where a tokenizer finds control tokens."""
    found = []
    place = 0
    while place < len(text):
        token = max((t for t in tokens if text.startswith(t, place)), key=len, default="")
        if token:
            found.append((place, token))
        place += len(token) or 1
    return found


token_sets = st.lists(st.text("ab<>", min_size=2, max_size=5), min_size=1, max_size=5, unique=True)


@settings(deadline=None)
@given(token_sets, st.text("ab<>", min_size=1, max_size=8), st.data())
def test_no_control_token_arises_at_the_seams(
    tokens: list[str], text: str, data: st.DataObject
) -> None:
    before, after = (data.draw(st.sampled_from(tokens)) for _ in "ba")
    found = leftmost_longest(before + Escaper(tokens)(text) + after, tokens)
    alone = leftmost_longest(before, tokens)
    assert alone == [(0, before)]
    assert [token for _, token in found] == [before, after]


@settings(deadline=None)
@given(token_sets, st.text("ab<>", max_size=6), st.text("ab<>", max_size=6))
def test_two_escaped_texts_side_by_side_contain_no_control_token(
    tokens: list[str], left: str, right: str
) -> None:
    escape = Escaper(tokens)
    assert leftmost_longest(escape(left) + escape(right), tokens) == []


@settings(deadline=None)
@given(typed)
def test_no_client_text_is_tokenized_to_a_control_token(small: TextTokenizer, text: str) -> None:
    control = {token.id for token in small.control_tokens}
    escaped = Escaper(token.text for token in small.control_tokens)(text)
    ids = small.encode("<|im_start|>user\n" + escaped + "<|im_end|>\n")
    start, end = small.encode("<|im_start|>")[0], small.encode("<|im_end|>")[0]
    assert [token for token in ids if token in control] == [start, end]
    assert small.decode(ids) == f"<|im_start|>user\n{clean(text)}<|im_end|>\n"


@settings(deadline=None)
@given(typed)
def test_no_client_text_is_tokenized_to_a_control_token_by_word_pieces(
    pieces: TextTokenizer, text: str
) -> None:
    escaped = Escaper(token.text for token in pieces.control_tokens)(text + "</s><s>")
    assert not {token.id for token in pieces.control_tokens} & set(pieces.encode(escaped))


@pytest.mark.parametrize("text", ["<|", "<|im_start|", "<", "<|im_end|>", "<think", "a"])
def test_text_is_escaped_in_time_that_grows_with_its_length(text: str) -> None:
    escape = Escaper([*QWEN, "<<<<<<<<<<<<<<<>"])
    assert_linear(lambda size: text * (size // len(text)), escape)


def test_thousands_of_tokens_are_prepared_in_time_that_grows_with_their_number() -> None:
    assert_linear(lambda size: [f"<unused{number}>" for number in range(size)], Escaper, 8000)
