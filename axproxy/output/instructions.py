"""Words to the model that the service adds to a conversation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from axproxy.messages import Message

_QUOTED = 1000  # characters of a refused answer that the model sees again


def in_system_prompt(messages: Sequence[Message], words: str) -> tuple[Message, ...]:
    """Return the conversation with the words at the end of its system prompt."""
    if messages and messages[0].role == "system":
        first, *rest = messages
        return (replace(first, content=f"{first.content}\n\n{words}"), *rest)
    return (Message("system", words), *messages)


def after_refusal(
    messages: Sequence[Message], answer: str, problem: str, words: str
) -> tuple[Message, ...]:
    """Return the conversation for a second try, with the first answer and what is wrong with it.

    All of it is in the last turn, because that turn stays when older ones must go.
    """
    refused = (
        f"An earlier attempt to answer was:\n{answer[:_QUOTED]}\nIt was refused: {problem}\n{words}"
    )
    *before, last = messages
    if last.role != "user":
        return (*messages, Message("user", refused))
    return (*before, replace(last, content=f"{last.content}\n\n{refused}"))


def with_call_instruction(
    messages: Sequence[Message], tools: Iterable[Mapping[str, Any]]
) -> tuple[Message, ...]:
    """Return the conversation with the words that the answer must be a call of one of `tools`."""
    words = f"Answer only with a call of {_one_of(tools)}; write nothing else."
    return in_system_prompt(messages, words)


def with_call_correction(
    messages: Sequence[Message], answer: str, tools: Iterable[Mapping[str, Any]]
) -> tuple[Message, ...]:
    """Return the conversation for a second try to get a call."""
    words = f"Answer again, only with a call of {_one_of(tools)}."
    return after_refusal(messages, answer, "it calls no function", words)


def _one_of(tools: Iterable[Mapping[str, Any]]) -> str:
    match list(tools):
        case [{"function": {"name": str(name)}}]:
            return f"the function {name}"
    return "one of the functions"
