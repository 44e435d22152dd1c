"""An answer ends at its limits."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from axproxy.messages import Limits
from axproxy.output.limits import AnswerLimits, Piece, StopStrings

END = 7  # a control token


def sent(stops: tuple[str, ...], *chunks: str) -> str:
    finder = StopStrings(stops)
    return "".join([finder.feed(chunk) for chunk in chunks]) + finder.flush()


@st.composite
def chunked(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A text in few letters, where stop strings are often met and often missed, and its pieces."""
    text = draw(st.text("ab", max_size=16))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return text, [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]


stop_strings = st.lists(st.text("ab", max_size=4), max_size=4).map(tuple)


@pytest.mark.parametrize(
    ("stops", "chunks", "text"),
    [
        ((), ("abc",), "abc"),
        (("",), ("abc",), "abc"),
        (("b",), ("abc",), "a"),
        (("END",), ("one E", "N", "D two"), "one "),
        (("END",), ("one E", "N", "!"), "one EN!"),
        (("END",), ("one EN",), "one EN"),
        (("\n\n",), ("a\nb\n", "\nc"), "a\nb"),
        (("aab",), ("aa", "ab"), "a"),
        (("aab",), ("aaa", "b"), "a"),
        (("aab",), ("a", "a", "a", "b"), "a"),
        (("abc", "b"), ("ab", "c"), "a"),
        (("abc", "b"), ("abc",), "a"),
        (("cd", "b"), ("abcd",), "a"),
        (("b",), ("ab", "ab"), "a"),
    ],
)
def test_text_is_cut_before_the_first_stop_string(
    stops: tuple[str, ...], chunks: tuple[str, ...], text: str
) -> None:
    assert sent(stops, *chunks) == text


@given(chunked(), st.text("ab", max_size=5))
def test_a_stop_string_is_found_across_pieces(chunks: tuple[str, list[str]], stop: str) -> None:
    text, pieces = chunks
    whole = text.partition(stop)[0] if stop else text
    assert sent((stop,), *pieces) == whole


@given(chunked(), stop_strings)
@example(("aba", ["ab", "a"]), ("aba", "b"))
def test_several_stop_strings_cut_any_pieces_as_they_cut_the_whole_text(
    chunks: tuple[str, list[str]], stops: tuple[str, ...]
) -> None:
    text, pieces = chunks
    assert sent(stops, *pieces) == sent(stops, text)


@given(chunked(), stop_strings)
def test_no_part_of_a_stop_string_is_sent(
    chunks: tuple[str, list[str]], stops: tuple[str, ...]
) -> None:
    text, pieces = chunks
    finder = StopStrings(stops)
    out = "".join([finder.feed(piece) for piece in pieces]) + finder.flush()
    assert text.startswith(out)
    assert not any(stop in out for stop in stops if stop)
    assert finder.hit == any(stop in text for stop in stops if stop)
    if finder.hit:
        assert any(text[len(out) :].startswith(stop) for stop in stops if stop)
    else:
        assert out == text


@given(chunked(), stop_strings)
def test_only_text_that_may_become_a_stop_string_is_held_back(
    chunks: tuple[str, list[str]], stops: tuple[str, ...]
) -> None:
    finder = StopStrings(stops)
    seen = out = ""
    for piece in chunks[1]:
        seen += piece
        out += finder.feed(piece)
        if finder.hit:
            break
        held = seen[len(out) :]
        assert not held or any(stop.startswith(held) and stop != held for stop in stops)


def piece(text: str, token: int | None = 1, tokens: int = 1) -> Piece:
    return Piece(text, token, tokens)


HELLO = [piece("Hel"), piece("lo"), piece(" you")]

# name: (limits, the pieces; the answer, its reason, its tokens)
ANSWERS = {
    "ends by itself": (Limits(), HELLO, "Hello you", "stop", 3),
    "enough tokens": (Limits(max_tokens=2), HELLO, "Hello", "length", 2),
    "exactly as many as asked for": (Limits(max_tokens=3), HELLO, "Hello you", "length", 3),
    "fewer than asked for": (Limits(max_tokens=4), HELLO, "Hello you", "stop", 3),
    "a stop string": (Limits(stop=("lo ",)), HELLO, "Hel", "stop", 3),
    "a stop string in the last token allowed": (
        Limits(max_tokens=2, stop=("lo",)),
        HELLO,
        "Hel",
        "stop",
        2,
    ),
    "half a stop string at the last token allowed": (
        Limits(max_tokens=2, stop=("lo you",)),
        HELLO,
        "Hello",
        "length",
        2,
    ),
    "half a stop string at the end": (Limits(stop=("you!",)), HELLO, "Hello you", "stop", 3),
    "a control token": (Limits(), [*HELLO[:2], piece("<|im_end|>", END)], "Hello", "stop", 2),
    "a control token first": (Limits(), [piece("<|im_end|>", END), *HELLO], "", "stop", 0),
    "a control token after half a stop string": (
        Limits(stop=("lo!",)),
        [*HELLO[:2], piece("", END)],
        "Hello",
        "stop",
        2,
    ),
    "half characters count as tokens": (
        Limits(max_tokens=3),
        [piece(""), piece(""), piece("\u2603"), piece("!")],
        "\u2603",
        "length",
        3,
    ),
    "tokens without a count": (
        Limits(max_tokens=4),
        [piece("abc", None, 3), piece("def", None, 3), piece("ghi", None, 3)],
        "abcdef",
        "length",
        6,
    ),
    "nothing at all": (Limits(), [], "", "stop", 0),
}


def ended(answer: AnswerLimits, text: str) -> str:
    """Return the whole text; a complete answer does not wait for the end of the run."""
    return text if answer.reason else text + answer.run_ended()


def test_the_end_of_a_run_adds_nothing_to_a_complete_answer() -> None:
    answer = AnswerLimits(Limits(stop=("lo",)), {END})
    assert answer.feed(HELLO) == "Hel"
    assert answer.run_ended() == ""
    assert answer.reason == "stop"


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_run_is_cut_down_to_the_answer(answer: str) -> None:
    limits, pieces, text, reason, tokens = ANSWERS[answer]
    at_once = AnswerLimits(limits, {END})
    one_by_one = AnswerLimits(limits, {END})
    assert ended(at_once, at_once.feed(pieces)) == text
    text_one_by_one = "".join(one_by_one.feed([one]) for one in pieces)
    assert ended(one_by_one, text_one_by_one) == text
    assert (at_once.reason, at_once.tokens) == (reason, tokens)
    assert (one_by_one.reason, one_by_one.tokens) == (reason, tokens)


def test_an_answer_has_no_reason_while_it_may_go_on() -> None:
    answer = AnswerLimits(Limits(max_tokens=4), {END})
    answer.feed(HELLO)
    assert answer.reason is None


runs = st.lists(st.builds(Piece, st.text("ab", max_size=2), st.integers(0, END)), max_size=12)
limits_of_all_kinds = st.builds(Limits, st.none() | st.integers(1, 8), stop_strings)


@given(runs, limits_of_all_kinds, st.data())
def test_the_answer_is_the_same_however_the_tokens_arrive(
    run: list[Piece], limits: Limits, data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(run)), max_size=4)))
    token_by_token, in_groups = AnswerLimits(limits, {END}), AnswerLimits(limits, {END})
    one = "".join(token_by_token.feed([token]) for token in run) + token_by_token.run_ended()
    groups = [run[start:end] for start, end in pairwise([0, *cuts, len(run)])]
    other = "".join(in_groups.feed(group) for group in groups) + in_groups.run_ended()
    assert (one, token_by_token.reason, token_by_token.tokens) == (
        other,
        in_groups.reason,
        in_groups.tokens,
    )


@given(runs, limits_of_all_kinds)
def test_no_limit_is_ever_passed(run: list[Piece], limits: Limits) -> None:
    answer = AnswerLimits(limits, {END})
    text = answer.feed(run) + answer.run_ended()
    until_end = next((at for at, token in enumerate(run) if token.token == END), len(run))
    assert answer.tokens <= min(until_end, limits.max_tokens or len(run))
    assert "".join(token.text for token in run[: answer.tokens]).startswith(text)
    assert not any(stop in text for stop in limits.stop if stop)
