"""Ollama's requests and replies, without HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from axproxy.api.ollama.options import TYPES, parse_keep_alive, parse_options
from axproxy.api.ollama.replies import chat_replies, generate_replies, statistics, timestamp
from axproxy.api.ollama.requests import (
    AnswerCall,
    LoadCall,
    OllamaCall,
    UnloadCall,
    parse_chat,
    parse_generate,
)
from axproxy.durations import FOREVER
from axproxy.messages import (
    ChatRequest,
    Finished,
    Limits,
    Message,
    Sampling,
    Text,
    Thinking,
    ToolCall,
    Usage,
    WholeReply,
)
from axproxy.models.catalog import Models
from tests.support.fakes import QWEN, USAGE, FakeModels

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MODEL = "qwen3:0.6b"


CAN = ("completion", "tools", "thinking")


def chat(can: tuple[str, ...] = ("completion",), **fields: Any) -> Any:
    return call_of(parse_chat, can, fields)


def generate(can: tuple[str, ...] = ("completion",), **fields: Any) -> Any:
    return call_of(parse_generate, can, fields)


def call_of(
    parse: Callable[[bytes, Models], OllamaCall], can: tuple[str, ...], fields: dict[str, Any]
) -> ChatRequest | LoadCall | UnloadCall:
    """Return the request of a call for an answer, any other call as it is."""
    models = FakeModels(replace(QWEN, capabilities=can))
    call = parse(json.dumps({"model": MODEL, **fields}).encode(), models)
    assert call.model == models.model
    return call.request if isinstance(call, AnswerCall) else call


def asked_for(*parts: Any, **fields: Any) -> ChatRequest:
    """A request that may be cut, as Ollama's are unless they say otherwise."""
    return ChatRequest(*parts, truncate="text", **fields)


def test_a_chat_keeps_its_turns_in_order_with_roles_in_lower_case() -> None:
    request = chat(
        messages=[
            {"role": "System", "content": "Be brief."},
            {"role": "USER", "content": "Hi", "images": [], "tool_calls": None},
            {"Role": "assistant", "content": None},
            {"content": "again"},
            None,
        ]
    )

    assert request == asked_for(
        messages=(
            Message("system", "Be brief."),
            Message("user", "Hi"),
            Message("assistant", ""),
            Message("", "again"),
            Message("", ""),
        ),
        requested_name=MODEL,
        stream=True,
    )


def test_a_prompt_is_a_conversation_of_one_user_message() -> None:
    asked = asked_for((Message("user", "Hi"),), MODEL, stream=True, wants_context=True)
    assert generate(prompt="Hi") == asked
    assert generate(prompt="Hi", context=[1, 2]) == replace(asked, context=(1, 2))
    assert generate(prompt="Hi", system="Be brief.", stream=False) == replace(
        asked, messages=(Message("system", "Be brief."), Message("user", "Hi")), stream=False
    )


def test_a_raw_prompt_is_sent_without_a_template() -> None:
    assert generate(prompt="<|im_start|>", raw=True) == asked_for(
        (Message("user", "<|im_start|>"),), MODEL, stream=True, raw=True
    )


@pytest.mark.parametrize("fields", [{}, {"prompt": ""}, {"prompt": None, "keep_alive": None}])
def test_a_request_without_a_prompt_only_loads_the_model(fields: dict[str, Any]) -> None:
    assert generate(**fields) == LoadCall(QWEN, MODEL)


@pytest.mark.parametrize("fields", [{}, {"messages": []}, {"messages": None}])
def test_a_chat_without_messages_only_loads_the_model(fields: dict[str, Any]) -> None:
    assert chat(**fields) == LoadCall(QWEN, MODEL)


@pytest.mark.parametrize("nothing", [0, 0.0, "+0", "0s", "-0s", "0h0m", 1e-10])
def test_no_prompt_and_a_keep_alive_of_zero_unload_the_model(nothing: object) -> None:
    assert generate(keep_alive=nothing) == UnloadCall(QWEN, MODEL)
    assert chat(keep_alive=nothing, stream=False) == UnloadCall(QWEN, MODEL)
    # What `ollama stop` sends:
    empty = dict.fromkeys(("prompt", "suffix", "system", "template"), "")
    assert generate(**empty, keep_alive=nothing, options=None) == UnloadCall(QWEN, MODEL)


def test_keep_alive_is_read_with_a_prompt_and_with_a_load() -> None:
    assert generate(keep_alive="5m") == LoadCall(QWEN, MODEL, 300)
    assert chat(keep_alive=-1) == LoadCall(QWEN, MODEL, FOREVER)
    assert chat(keep_alive=0, messages=[{"role": "user"}]) == asked_for(
        (Message("user", ""),), MODEL, stream=True, keep_alive=0
    )
    assert generate(keep_alive=0.5, prompt="Hi") == asked_for(
        (Message("user", "Hi"),), MODEL, stream=True, keep_alive=0.5, wants_context=True
    )


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({}, "text"),
        ({"truncate": True, "shift": None}, "text"),
        ({"shift": False}, "turns"),
        ({"truncate": False}, "nothing"),
    ],
)
def test_truncate_and_shift_say_what_may_go_when_a_prompt_is_too_long(
    fields: dict[str, Any], meant: str
) -> None:
    for request in (
        chat(messages=[{"content": "Hi"}], **fields),
        generate(prompt="x", **fields),
    ):
        assert isinstance(request, ChatRequest)
        assert request.truncate == meant


def test_what_the_card_cannot_use_is_ignored() -> None:
    request = generate(
        prompt="Hi",
        template="{{ .Prompt }}",
        images=[],
        suffix="",
        logprobs=True,
        top_logprobs=20,
        whatever={"a": 1},
    )

    assert request == asked_for((Message("user", "Hi"),), MODEL, stream=True, wants_context=True)


@pytest.mark.parametrize(
    ("form", "meant"),
    [(None, None), ("", None), ("json", "json"), ({}, {}), ({"type": "object"},) * 2],
)
def test_a_format_is_none_or_json_or_a_schema(form: object, meant: object) -> None:
    for request in (
        chat(messages=[{"content": "Hi"}], format=form),
        generate(prompt="x", format=form),
    ):
        assert isinstance(request, ChatRequest)
        assert request.format == meant
    assert generate(format="yaml") == LoadCall(QWEN, MODEL)  # a load has no format


@pytest.mark.parametrize(
    ("think", "meant"), [(None, None), (True, True), (False, False), ("low", True), ("max", True)]
)
def test_think_is_passed_on_if_the_model_can_think(think: object, meant: object) -> None:
    for request in (
        chat(CAN, messages=[{"content": "Hi"}], think=think),
        generate(CAN, prompt="Hi", think=think),
    ):
        assert isinstance(request, ChatRequest)
        assert request.think is meant


def test_every_model_accepts_a_request_not_to_think() -> None:
    request = chat(messages=[{"content": "Hi"}], think=False)
    assert isinstance(request, ChatRequest)
    assert request.think is False


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def test_tools_are_passed_on_as_the_client_describes_them() -> None:
    odd = {"function": {"name": "g", "description": None, "x": [1]}, "extra": True}
    request = chat(CAN, messages=[{"content": "Hi"}], tools=[TOOL, odd, {}])
    assert isinstance(request, ChatRequest)
    assert request.tools == (TOOL, odd, {})


def test_a_history_with_tools_keeps_its_calls_and_their_ids() -> None:
    request = chat(
        messages=[
            {
                "role": "assistant",
                "thinking": "Hm.",
                "tool_calls": [
                    {"id": "1", "function": {"index": 0, "name": "f", "arguments": {"A": [1]}}},
                    {"function": {"name": "g", "arguments": '{"a": 1}'}},
                    {"function": {"name": "h"}},
                    None,
                ],
            },
            {"role": "tool", "content": "x", "tool_name": "f", "tool_call_id": "1"},
            {"role": "tool", "content": "y"},
        ]
    )
    assert isinstance(request, ChatRequest)
    assert request.messages == (
        Message(
            "assistant",
            "",
            thinking="Hm.",
            tool_calls=(
                ToolCall("f", {"A": [1]}, "1"),
                ToolCall("g", {"a": 1}),
                ToolCall("h", {}),
                ToolCall("", {}),
            ),
        ),
        Message("tool", "x", tool_name="f", tool_call_id="1"),
        Message("tool", "y"),
    )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (0, 0),
        (0.5, 0.5),
        (1800, 1800),
        (-1, FOREVER),
        ("0s", 0),
        ("5m", 300),
        ("-1m", FOREVER),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("250ms", 0.25),
        (-0.5, FOREVER),
        (1e10, FOREVER),
        (1e300, FOREVER),
        ("2562047h", 2562047 * 3600),
    ],
)
def test_keep_alive_is_seconds_or_a_duration(value: object, seconds: float | None) -> None:
    assert parse_keep_alive(value) == seconds


@pytest.mark.parametrize(
    ("options", "sampling", "limits"),
    [
        ({}, Sampling(), Limits()),
        (
            {"temperature": 0, "top_k": 20.9, "top_p": 1, "repeat_penalty": 1.1},
            Sampling(temperature=0.0, top_k=20, top_p=1.0, repeat_penalty=1.1),
            Limits(),
        ),
        ({"temperature": -1, "top_k": -1, "top_p": -1}, Sampling(0.0, 0, 0.0), Limits()),
        ({"top_p": 7, "top_k": 1e300}, Sampling(top_p=1.0, top_k=2**31 - 1), Limits()),
        ({"num_predict": 7, "stop": ["a", "b"]}, Sampling(), Limits(7, ("a", "b"))),
        ({"num_predict": 7.0, "stop": []}, Sampling(), Limits(7)),
        ({"num_predict": 10**30}, Sampling(), Limits(10**30)),
        ({"num_predict": 0}, Sampling(), Limits()),
        ({"num_predict": -1}, Sampling(), Limits()),
        (dict.fromkeys(TYPES), Sampling(), Limits()),
        (
            {"num_ctx": 8192, "seed": 1, "use_mmap": True, "tfs_z": "?", "Top_K": []},
            Sampling(seed=1),
            Limits(),
        ),
    ],
)
def test_options_become_sampling_and_limits(
    options: dict[str, Any], sampling: Sampling, limits: Limits
) -> None:
    assert parse_options(options) == (sampling, limits)


def test_a_chat_is_streamed_in_lines() -> None:
    replies = chat_replies("m", lambda: NOON)

    assert replies.line(Text("Hé")).decode() == (
        '{"model":"m","created_at":"2026-11-20T12:00:00.000000Z",'
        '"message":{"role":"assistant","content":"Hé"},"done":false}\n'
    )
    assert replies.line(Finished("length", USAGE)).decode() == (
        '{"model":"m","created_at":"2026-11-20T12:00:00.000000Z",'
        '"message":{"role":"assistant","content":""},"done":true,"done_reason":"length",'
        '"total_duration":1500000000,"load_duration":250000000,"prompt_eval_count":12,'
        '"prompt_eval_duration":500000000,"eval_count":2,"eval_duration":125000000}\n'
    )
    assert replies.loaded().decode() == (
        '{"model":"m","created_at":"2026-11-20T12:00:00.000000Z",'
        '"message":{"role":"assistant","content":""},"done":true,"done_reason":"load"}'
    )


def test_thinking_and_tool_calls_have_lines_of_their_own() -> None:
    replies = chat_replies("m", lambda: NOON)
    paris, oslo = (
        ToolCall("weather", {"city": city}, id_) for city, id_ in (("Paris", "a"), ("Oslo", "b"))
    )

    def message(line: bytes) -> str:
        return line.decode().partition('"message":')[2].strip()

    assert message(replies.line(Thinking("Hm"))) == (
        '{"role":"assistant","content":"","thinking":"Hm"},"done":false}'
    )
    assert message(replies.line(paris)) == (
        '{"role":"assistant","content":"","tool_calls":[{"id":"a","function":'
        '{"index":0,"name":"weather","arguments":{"city":"Paris"}}}]},"done":false}'
    )
    assert '"index":1' in message(replies.line(oslo))
    whole = chat_replies("m", lambda: NOON).whole(
        WholeReply("Hi", "Hm", (paris, oslo), Finished("stop", USAGE))
    )
    assert '"content":"Hi","thinking":"Hm","tool_calls":[{"id":"a"' in message(whole)
    assert '"index":1,"name":"weather","arguments":{"city":"Oslo"}' in message(whole)


def test_the_tokens_of_a_context_are_in_the_last_line() -> None:
    line = generate_replies("m", lambda: NOON).line(Finished("stop", USAGE, (5, 7)))

    assert b'"done_reason":"stop","context":[5,7],"total_duration"' in line


def test_a_completion_is_streamed_in_lines() -> None:
    replies = generate_replies("m", lambda: NOON)

    assert replies.line(Text("Hi")).decode() == (
        '{"model":"m","created_at":"2026-11-20T12:00:00.000000Z","response":"Hi","done":false}\n'
    )
    assert replies.whole(WholeReply("Hi", "", (), Finished("stop", USAGE))).decode() == (
        '{"model":"m","created_at":"2026-11-20T12:00:00.000000Z","response":"Hi",'
        '"done":true,"done_reason":"stop",'
        '"total_duration":1500000000,"load_duration":250000000,"prompt_eval_count":12,'
        '"prompt_eval_duration":500000000,"eval_count":2,"eval_duration":125000000}'
    )
    assert replies.loaded().decode() == (
        '{"model":"m","created_at":"2026-11-20T12:00:00.000000Z","response":"",'
        '"done":true,"done_reason":"load"}'
    )


def test_the_parts_of_the_duration_never_exceed_the_total() -> None:
    numbers = statistics(Usage(1, 0, total=0.1, load=0.05, prompt_eval=0.05, eval=0.0000000006))

    assert numbers["total_duration"] == sum(
        numbers[name] for name in ("load_duration", "prompt_eval_duration", "eval_duration")
    )
    assert all(type(number) is int for number in numbers.values())


def test_times_have_a_zone_and_always_six_digits() -> None:
    assert timestamp(NOON) == "2026-11-20T12:00:00.000000Z"
    assert timestamp(NOON.astimezone(timezone(timedelta(hours=2)))) == "2026-11-20T12:00:00.000000Z"
