"""Links tool results to their calls: by id, or by order where a client has dropped the ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from axproxy.messages import Message, ToolCall


def with_results_linked(messages: Sequence[Message]) -> Iterator[Message]:
    """Yield the conversation; each result gets the name of its tool and the id of its call.

    Both stay empty where they are not known.  Results are put in the order of their calls, because
    templates such as Qwen's show them without names.
    """
    earlier: dict[str, ToolCall] = {}  # by id
    calls: list[ToolCall] = []
    results: list[Message] = []
    for turn in messages:
        if turn.role == "tool":
            results.append(turn)
            continue
        yield from _linked(calls, results, earlier)
        earlier.update((call.id, call) for call in calls if call.id)
        calls, results = list(turn.tool_calls), []
        yield turn
    yield from _linked(calls, results, earlier)


def _linked(
    calls: Sequence[ToolCall], results: Sequence[Message], earlier: Mapping[str, ToolCall]
) -> list[Message]:
    """Return the results after the turn with these calls; a late one answers an `earlier` call."""
    place = {call.id: at for at, call in enumerate(calls) if call.id}
    by_id = {place[turn.tool_call_id] for turn in results if turn.tool_call_id in place}
    open_calls = (at for at in range(len(calls)) if at not in by_id)
    answered: list[tuple[int, Message]] = []
    for turn in results:
        at = place.get(turn.tool_call_id)
        if at is None:
            late = turn.tool_call_id in earlier
            at = len(calls) if late else next(open_calls, len(calls))
        call = calls[at] if at < len(calls) else earlier.get(turn.tool_call_id)
        answered.append((at, _named(turn, call) if call else turn))
    answered.sort(key=lambda pair: pair[0])
    return [turn for _, turn in answered]


def _named(result: Message, call: ToolCall) -> Message:
    return replace(
        result,
        tool_name=result.tool_name or call.name,
        tool_call_id=result.tool_call_id or call.id,
    )
