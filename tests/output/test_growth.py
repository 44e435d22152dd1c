"""What a model writes costs as much time as it is long, whatever it writes and however it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from axproxy.messages import Limits
from axproxy.output.json_format import check_format
from axproxy.output.limits import AnswerLimits, Piece
from axproxy.output.reader import AnswerParser
from axproxy.output.thinking import split_thinking
from tests.support.growth import assert_linear, repeated

TEXTS = {
    "blanks": repeated(" "),
    "blanks in thinking": repeated(" ", before="<think>"),
    "blanks after thinking": repeated(" ", before="<think></think>"),
    "line ends and words": repeated("\n a"),
    "openings": repeated("<think>"),
    "openings and blanks": repeated("<think> "),
    "openings cut short": repeated("<think"),
    "closings": repeated("</think>", before="<think>"),
    "angles": repeated("<"),
    "calls that are none": repeated("<tool_call>x"),
    "calls without an end": repeated('<tool_call>{\\"</tool_call>'),
    "calls inside each other": repeated('<tool_call>{"a":'),
    "calls in a row": repeated('{"name":"a"}', before="<tool_call>"),
    "calls in tags": repeated('<tool_call>{"name":"a"}</tool_call>'),
    "calls of brackets": repeated("[", before="<tool_call>"),
    "calls of quotes": repeated('"', before="<tool_call>{"),
    "one long call": repeated("a", before='<tool_call>{"name":"a","arguments":{"a":"'),
    "brackets after a call": repeated("}", before='<tool_call>{"name":"a"}'),
    "blanks after a call": repeated(" ", before='<tool_call>{"name":"a"}</tool_call>'),
    "braces": repeated('{"a":'),
    "brackets": repeated("["),
    "quotes": repeated('{"'),
    "digits": repeated("9", before="[0."),
    "exponents": repeated("1e9", before="["),
    "backslashes": repeated("\\", before='{"a":"'),
}


def whole(text: str) -> Iterable[str]:
    return [text]


def tiny(text: str) -> Iterable[str]:
    return [text[at : at + 4] for at in range(0, len(text), 4)]


def parse(pieces: Iterable[str], wanted: bool = True) -> None:
    for inside in (True, False):
        parser = AnswerParser(inside=inside, think=wanted, tools=wanted, make_id=lambda: "")
        for piece in pieces:
            parser.feed(piece)
        parser.finish()


@pytest.mark.parametrize("name", TEXTS)
def test_an_answer_is_parsed_in_time_that_grows_with_its_length(name: str) -> None:
    assert_linear(lambda size: [TEXTS[name](size)], parse, 1 << 16)


@pytest.mark.parametrize(
    "name", [name for name in TEXTS if "blanks" in name or "long" in name or "without" in name]
)
def test_tiny_pieces_do_not_change_that(name: str) -> None:
    assert_linear(lambda size: list(tiny(TEXTS[name](size))), parse, 1 << 16)


def test_blanks_take_no_more_time_where_nobody_asks_for_thinking_or_tools() -> None:
    assert_linear(
        lambda size: list(tiny("<think>" + " " * size)), lambda text: parse(text, False), 1 << 18
    )


@pytest.mark.parametrize("name", TEXTS)
def test_thinking_is_split_off_in_time_that_grows_with_the_turn(name: str) -> None:
    assert_linear(TEXTS[name], split_thinking)


@pytest.mark.parametrize("name", TEXTS)
def test_json_is_looked_for_in_time_that_grows_with_the_answer(name: str) -> None:
    assert_linear(TEXTS[name], lambda text: check_format("json", text))


@pytest.mark.parametrize("cut", [whole, tiny])
def test_stop_strings_are_looked_for_in_time_that_grows_with_the_answer(
    cut: Callable[[str], Iterable[str]],
) -> None:
    stops = tuple("a" * length + "b" for length in range(900, 964))

    def search(pieces: Iterable[str]) -> None:
        limits = AnswerLimits(Limits(stop=stops), ())
        for piece in pieces:
            limits.feed([Piece(piece)])
        limits.run_ended()

    almost = repeated("a" * 899 + "c" + "a" * 100)
    assert_linear(lambda size: list(cut(almost(size))), search, 1 << 14)
