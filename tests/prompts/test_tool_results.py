"""Tool results are linked to their calls."""

from __future__ import annotations

import pytest

from axproxy.messages import Message, ToolCall
from axproxy.prompts.tool_results import with_results_linked

ASK = Message("assistant", "", tool_calls=(ToolCall("f", {}, "1"), ToolCall("g", {}, "2")))
NO_IDS = Message("assistant", "", tool_calls=(ToolCall("f", {}), ToolCall("g", {})))


def result(content: str, name: str = "", id_: str = "") -> Message:
    return Message("tool", content, tool_name=name, tool_call_id=id_)


# name: (the conversation, its results with names and ids)
HISTORIES = {
    "by order": ([ASK, result("a"), result("b")], [("a", "f", "1"), ("b", "g", "2")]),
    "by id": (
        [ASK, result("b", id_="2"), result("a", id_="1")],
        [("a", "f", "1"), ("b", "g", "2")],
    ),
    "one by id, one by order": (
        [ASK, result("b", id_="2"), result("a")],
        [("a", "f", "1"), ("b", "g", "2")],
    ),
    "calls without ids": (
        [NO_IDS, result("a", id_="x"), result("b")],
        [("a", "f", "x"), ("b", "g", "")],
    ),
    "a name of its own": ([ASK, result("a", "mine")], [("a", "mine", "1")]),
    "more results than calls": (
        [ASK, result("a"), result("b"), result("c")],
        [("a", "f", "1"), ("b", "g", "2"), ("c", "", "")],
    ),
    "no call before": ([result("a")], [("a", "", "")]),
    "another turn in between": ([ASK, Message("user", "x"), result("a")], [("a", "", "")]),
    "a late one, by id": (
        [ASK, Message("user", "x"), NO_IDS, result("late", id_="2"), result("b")],
        [("b", "f", ""), ("late", "g", "2")],
    ),
    "two rounds": (
        [ASK, result("a"), NO_IDS, result("b")],
        [("a", "f", "1"), ("b", "f", "")],
    ),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_results_are_linked_by_id_or_by_order(name: str) -> None:
    messages, understood = HISTORIES[name]
    linked = list(with_results_linked(messages))
    assert [
        (turn.content, turn.tool_name, turn.tool_call_id) for turn in linked if turn.role == "tool"
    ] == understood
    assert [turn for turn in linked if turn.role != "tool"] == [
        turn for turn in messages if turn.role != "tool"
    ]
