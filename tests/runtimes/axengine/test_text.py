"""The text of tokens that come one by one is the text of all of them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from axproxy.models.tokenizer_files import SMALL_TOKENIZER
from axproxy.runtimes.axengine.text import TokenText
from axproxy.tokenizer.tokenizer import TextTokenizer

TOKENIZER = TextTokenizer.load(SMALL_TOKENIZER)


def text_of(ids: Sequence[int]) -> str:
    return TOKENIZER.decode(ids)


@given(st.text(max_size=200))
def test_pieces_join_to_the_text_and_hold_no_half_characters(text: str) -> None:
    ids = TOKENIZER.encode(text)
    pieces = TokenText(text_of)
    found = [pieces.feed(token) for token in ids]

    assert "".join(found) + pieces.finish() == text_of(ids)
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in found)


def test_an_answer_that_ends_within_a_character_shows_that() -> None:
    euro = TOKENIZER.encode("\u20ac")
    pieces = TokenText(text_of)

    assert [pieces.feed(token) for token in euro[:-1]] == [""] * (len(euro) - 1)
    assert pieces.finish() == "\ufffd"
