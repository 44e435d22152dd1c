"""A conversation that is too long loses its oldest turns."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.errors import PromptTooLong
from axproxy.messages import Message
from axproxy.prompts.fitting import CUT, Prompt, Window, enforced_window, fit, trim_target


def talk(*turns: str) -> list[Message]:
    """Make a message of `s:`, `u:`, `a:` or `t:` and its text."""
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return [Message(roles[turn[0]], turn[2:]) for turn in turns]


def render(messages: Sequence[Message]) -> str:
    return " ".join(f"{turn.role[0]}:{turn.content}" for turn in messages)


def count(text: str) -> int:
    return len(text.split())


LONG = talk("s:rules", "u:one", "a:two", "u:three", "a:four", "u:five")


@pytest.mark.parametrize(
    ("messages", "limit", "text"),
    [
        (LONG, 6, "s:rules u:one a:two u:three a:four u:five"),
        (LONG, 5, "s:rules u:three a:four u:five"),
        (LONG, 4, "s:rules u:three a:four u:five"),
        (LONG, 3, "s:rules u:five"),
        (LONG, 2, "s:rules u:five"),
        (talk("u:one", "s:rules", "a:two", "u:three"), 2, "s:rules u:three"),
        (talk("u:one", "a:two"), 1, "a:two"),
        (talk("u:old", "a:old", "u:one", "a:two", "t:three"), 3, "u:one a:two t:three"),
        (talk("s:rules"), 1, "s:rules"),
    ],
)
def test_the_oldest_turns_go_and_the_rest_begins_with_a_user_turn(
    messages: list[Message], limit: int, text: str
) -> None:
    assert fit(messages, limit, render, count) == Prompt(text, count(text))


@pytest.mark.parametrize(
    ("messages", "limit", "tokens"),
    [
        (talk("u:one two three"), 2, 3),
        (talk("s:a b", "u:one"), 2, 3),
        (talk("u:old", "a:old", "s:a b", "u:one two"), 3, 4),
        (talk("s:a b c"), 1, 3),
        # A tool's result without its question is no prompt.
        (talk("u:one", "a:two", "t:three"), 2, 3),
    ],
)
def test_a_prompt_that_cannot_fit_is_refused_with_its_length(
    messages: list[Message], limit: int, tokens: int
) -> None:
    with pytest.raises(
        PromptTooLong, match=f"{tokens} tokens .* at most {limit}; shorten"
    ) as refused:
        fit(messages, limit, render, count)
    assert (refused.value.tokens, refused.value.limit) == (tokens, limit)


conversations = st.lists(
    st.builds(
        Message,
        st.sampled_from(["system", "user", "assistant", "tool"]),
        st.lists(st.just("word"), max_size=4).map(" ".join),
    ),
    min_size=1,
    max_size=12,
)


@given(conversations, st.integers(1, 40))
def test_the_longest_ending_that_fits_is_found(messages: list[Message], limit: int) -> None:
    others = [at for at, turn in enumerate(messages) if turn.role != "system"]
    starts = (
        {0}
        | {at for at in others if messages[at].role == "user"}
        | {at for at in others[-1:] if messages[at].role != "tool"}
    )
    endings = [
        render([turn for at, turn in enumerate(messages) if at >= start or turn.role == "system"])
        for start in sorted(starts)
    ]
    fitting = [text for text in endings if count(text) <= limit]
    try:
        prompt = fit(messages, limit, render, count)
    except PromptTooLong:
        assert not fitting
    else:
        assert prompt.tokens == count(prompt.text)
        assert prompt.text == fitting[0]
        assert prompt.text.endswith(render(messages[-1:]))


def test_a_long_conversation_is_counted_only_a_few_times() -> None:
    messages = [Message("user", f"turn{number}") for number in range(1000)]
    counted = []

    def count_and_note(text: str) -> int:
        counted.append(text)
        return count(text)

    assert fit(messages, 10, render, count_and_note).tokens == 10
    assert len(counted) <= 12


WINDOW = Window(context=511, prefill_limit=300, prefill_chunk=20)


def fit_in_window(messages: list[Message], limit: int) -> Prompt:
    return fit(messages, limit, render, count, target=lambda tokens: trim_target(tokens, WINDOW))


@given(st.integers(281, 5000))
def test_a_conversation_is_cut_by_whole_thirds_of_the_window(tokens: int) -> None:
    cut = trim_target(tokens, WINDOW)

    assert (tokens - cut) % 100 == 0
    # Less than a chunk from the limit the program would not take another turn.
    assert 180 < cut <= 280


def test_a_growing_conversation_changes_its_beginning_only_now_and_then() -> None:
    messages, beginnings = talk("s:rules"), []
    for number in range(200):
        messages += talk(f"u:question{number} " + "word " * 4, "a:" + "word " * 5)
        asked = [*messages, Message("user", "next")]
        text = fit(
            asked, 300, render, count, target=lambda tokens: trim_target(tokens, WINDOW)
        ).text
        beginnings.append(text.split()[1])

    assert len(set(beginnings)) < len(beginnings) / 9
    assert beginnings == sorted(beginnings, key=lambda name: int(name.removeprefix("u:question")))


def test_a_turn_as_long_as_the_window_is_accepted() -> None:
    messages = talk("u:one", "a:two", "u:" + "word " * 290)
    assert fit_in_window(messages, 290).tokens == 290


NUMBERS = " ".join(map(str, range(1000)))


def cut(messages: list[Message], limit: int, **how: Any) -> Prompt:
    return fit(messages, limit, render, count, truncate="text", **how)


def test_a_last_message_that_is_too_long_is_cut_in_its_middle_with_a_mark() -> None:
    prompt = cut(talk("s:rules", "u:old", "a:old", f"u:{NUMBERS}"), 300)

    assert prompt.text.startswith("s:rules u:0 1 2 ")
    assert CUT in prompt.text
    assert prompt.text.endswith(" 998 999")
    assert 285 <= prompt.tokens == count(prompt.text) <= 300


def test_a_message_that_is_cut_leaves_room_for_an_answer() -> None:
    assert Window(context=400, prefill_limit=400).longest_cut_prompt == 300
    assert 285 <= cut(talk(f"u:{NUMBERS}"), 400, cut_limit=300).tokens <= 300


def test_the_longest_texts_are_cut_first_and_the_system_prompt_last() -> None:
    tool = talk("u:question", "a:call", f"t:{NUMBERS}", "t:short")
    text = cut(tool, 300).text
    assert text.startswith("u:question a:call t:0 1 ")
    assert text.endswith("t:short")

    system = cut(talk(f"s:{NUMBERS}", "u:question"), 300)
    assert system.text.startswith("s:0 1 ")
    assert system.text.endswith("u:question")

    both = cut(talk("s:" + "rule " * 200, f"u:{NUMBERS}"), 300)
    assert both.text.count("rule ") == 200
    assert both.text.count(CUT) == 1


def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(PromptTooLong):
        cut(talk("u:one two three"), 2)


def test_with_nothing_to_go_a_conversation_that_is_too_long_is_refused() -> None:
    assert fit(LONG, 6, render, count, truncate="nothing").tokens == 6
    with pytest.raises(PromptTooLong, match="6 tokens"):
        fit(LONG, 5, render, count, truncate="nothing")


def test_a_longer_text_takes_hardly_more_tries_to_cut() -> None:
    def tries(words: int) -> int:
        counted = []

        def count_and_note(text: str) -> int:
            counted.append(text)
            return count(text)

        messages = talk("u:" + "word " * words)
        fit(messages, 300, render, count_and_note, truncate="text")
        return len(counted)

    assert tries(400_000) <= tries(1000) + 8


@given(conversations, st.integers(130, 300))
def test_a_conversation_that_is_cut_always_fits_and_keeps_its_last_turn(
    messages: list[Message], limit: int
) -> None:
    *earlier, last = messages
    long = [*earlier, Message(last.role, NUMBERS)]
    prompt = cut(long, limit)
    assert prompt.tokens == count(prompt.text) <= limit
    assert "999" in prompt.text


def test_an_unknown_window_is_the_smallest_of_all_published_builds() -> None:
    assert enforced_window(None, None, None) == Window(1023, 512, 128)
    assert enforced_window(None, None, 896).prefill_limit == 896
