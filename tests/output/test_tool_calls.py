"""Calls are events when they are complete; everything else is text."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.messages import Text, ToolCall
from axproxy.output.tool_calls import ToolCallParser, arguments_of, new_call_id

Parts = list[str | tuple[str, dict[str, Any]]]

PARIS = '{"name": "weather", "arguments": {"city": "Paris"}}'
CALL = f"<tool_call>\n{PARIS}\n</tool_call>"
A_CALL = ("weather", {"city": "Paris"})


def in_tags(body: str) -> str:
    return f"<tool_call>{body}</tool_call>"


# name: (what the model writes, its parts)
ANSWERS: dict[str, tuple[str, Parts]] = {
    "text": ("Hello there. \n", ["Hello there. \n"]),
    "a call": (CALL, [A_CALL]),
    "two calls": (f"{CALL}\n{CALL}", [A_CALL, A_CALL]),
    "text, a call, text": (f"Let me see.\n\n{CALL}\n\nDone.", ["Let me see.", A_CALL, "Done."]),
    "blanks around": (f"\n\n{CALL}\n \n", [A_CALL]),
    "no closing tag": (f"<tool_call>\n{PARIS}", [A_CALL]),
    "half a closing tag": (f"<tool_call>{PARIS}\n</tool_", [A_CALL]),
    "no closing tag between": (f"<tool_call>{PARIS}\n{CALL}", [A_CALL, A_CALL]),
    "two in one tag": (in_tags(f"{PARIS}\n{PARIS}"), [A_CALL, A_CALL]),
    "a list in one tag": (in_tags(f"[{PARIS}, {PARIS}]"), [A_CALL, A_CALL]),
    "one bracket too many": (in_tags(f"{PARIS}}}\n"), [A_CALL]),
    "parameters": (in_tags('{"name":"f","parameters":{"a":1}}'), [("f", {"a": 1})]),
    "arguments in a string": (in_tags(r'{"name":"f","arguments":"{\"a\":1}"}'), [("f", {"a": 1})]),
    "an empty string": (in_tags('{"name":"f","arguments":" "}'), [("f", {})]),
    "no arguments": (in_tags('{"name":"f"}'), [("f", {})]),
    "null": (in_tags('{"name":"f","arguments":null}'), [("f", {})]),
    "brackets in strings": (
        in_tags(r'{"name":"f","arguments":{"a":"}]\"</tool_call>{"}}'),
        [("f", {"a": '}]"</tool_call>{'})],
    ),
    "a line break in a string": (
        in_tags('{"name":"f","arguments":{"a":"x\ny"}}'),
        [("f", {"a": "x\ny"})],
    ),
    "broken": (in_tags('{"name":"f","arguments":{"a":}}'), None),
    "not closed": (in_tags('{"name":"f"'), None),
    "no name": (in_tags('{"arguments":{}}'), None),
    "an empty name": (in_tags('{"name":""}'), None),
    "a name that is none": (in_tags('{"name":["f"]}'), None),
    "arguments that are a list": (in_tags('{"name":"f","arguments":[1]}'), None),
    "arguments that are no JSON": (in_tags('{"name":"f","arguments":"x"}'), None),
    "infinity": (in_tags('{"name":"f","arguments":{"a":1e999}}'), None),
    "not a number": (in_tags('{"name":"f","arguments":{"a":NaN}}'), None),
    "no end": ('<tool_call>{"name":"f","argu', None),
    "a string without an end": ('a <tool_call>{"name":"f', None),
    "only a tag": ("x <tool_call>", None),
    "half a tag": ("x <tool_c", None),
    "about the tag": ("Write <tool_call> and then </tool_call>.", None),
    "a program": (in_tags("get_weather(city='Paris')"), None),
    "an empty list": (in_tags("[]"), None),
    "nothing in it": (in_tags("\n"), None),
    "the last bracket forgotten": (
        '<tool_call>\n{"name": "sort", "arguments": {"items": [1, 2]}\n</tool_call>',
        [("sort", {"items": [1, 2]})],
    ),
    "all brackets forgotten": (
        'a <tool_call>{"name": "sort", "arguments": {"items": [1, 2</tool_call> b',
        ["a", ("sort", {"items": [1, 2]}), "b"],
    ),
    "the last bracket and the tag forgotten": (
        '<tool_call>{"name": "sort", "arguments": {"items": []}',
        [("sort", {"items": []})],
    ),
    "cut in its arguments": ('<tool_call>{"name": "sort", "arguments": {"items": [1, 2', None),
    "nothing": ("", []),
    "broken, then whole": (f"{in_tags('{')} {CALL}", ["<tool_call>{</tool_call>", A_CALL]),
    "a string without an end, then whole": (
        f"{in_tags(chr(123) + chr(34) + 'name: 1')}\n{CALL}",
        ['<tool_call>{"name: 1</tool_call>', A_CALL],
    ),
    "twice the tag": (f"<tool_call>{CALL}", ["<tool_call>", A_CALL]),
    "deep": (in_tags("[" * 100_000 + "]" * 100_000), None),
}


def parsed(pieces: list[str]) -> Parts:
    parser = ToolCallParser(itertools.count().__next__)  # type: ignore[arg-type]  # ids do not matter
    events = [event for piece in pieces for event in parser.feed(piece)] + parser.finish()
    parts: Parts = []
    for event in events:
        if isinstance(event, ToolCall):
            parts.append((event.name, dict(event.arguments)))
        elif parts and isinstance(parts[-1], str):
            parts[-1] += event.text
        else:
            parts.append(event.text)
    return parts


@pytest.mark.parametrize("cut", [list, lambda text: [text]])
@pytest.mark.parametrize("name", ANSWERS)
def test_calls_are_calls_and_all_else_is_text(name: str, cut: Callable[[str], list[str]]) -> None:
    text, events = ANSWERS[name]
    assert parsed(cut(text)) == ([text] if events is None else events)


WORDS = ["<tool_call>", "</tool_call>", "<tool", "_call>", "<", "{", "}", '"', "\\", " ", "\n"]


@given(
    st.lists(st.sampled_from([*WORDS, PARIS, CALL, "a", "[", "]", '{"name":"f"', "arguments"])),
    st.integers(1, 7),
)
def test_any_cut_gives_the_same(pieces: list[str], size: int) -> None:
    whole = "".join(pieces)
    events = parsed([whole])
    assert parsed(pieces) == events
    assert parsed([whole[at : at + size] for at in range(0, len(whole), size)]) == events


@given(st.lists(st.sampled_from([*WORDS, "a", "[", "]", '"b"', "1", ":", ","])))
def test_text_that_is_no_call_comes_back_unchanged(pieces: list[str]) -> None:
    assert "".join(map(str, parsed(pieces))) == "".join(pieces)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.text(min_size=1), st.dictionaries(st.text(), JSON), st.booleans())
def test_every_call_is_parsed_as_it_was_written(
    name: str, arguments: dict[str, Any], ascii_: bool
) -> None:
    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=ascii_)
    assert parsed(list(in_tags(body))) == [(name, arguments)]


def test_text_streams_at_once_unless_it_may_begin_a_call() -> None:
    parser = ToolCallParser()
    assert parser.feed("Let me") == [Text("Let me")]
    assert parser.feed(" see: <") == [Text(" see:")]
    assert parser.feed("b> <tool_") == [Text(" <b>")]
    assert parser.feed("x") == [Text(" <tool_x")]


def test_a_call_is_an_event_at_its_last_bracket() -> None:
    parser = ToolCallParser(lambda: "call_1")
    assert parser.feed(f"<tool_call>{PARIS[:-1]}") == []
    assert parser.feed("}") == [ToolCall("weather", {"city": "Paris"}, "call_1")]


def test_text_that_cannot_become_a_call_is_not_held_back() -> None:
    assert ToolCallParser().feed("<tool_call> is a tag") == [
        Text("<tool_call> "),
        Text("is a tag"),
    ]


def test_calls_have_ids_in_ollamas_form() -> None:
    ids = {new_call_id() for _ in range(50)}
    assert len(ids) == 50
    assert all(re.fullmatch("call_[a-z0-9]{8}", id_) for id_ in ids)


@pytest.mark.parametrize("value", [None, "", " ", {}, "{}", "null"])
def test_no_arguments_are_an_empty_object(value: object) -> None:
    assert arguments_of(value) == {}


@pytest.mark.parametrize("value", [2, True, [], "[1]", "1", "{", '{"a":NaN}'])
def test_arguments_that_are_no_object_are_refused(value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message does not matter
        arguments_of(value)
