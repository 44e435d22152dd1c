"""Ollama's requests and replies, without HTTP."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from axproxy.durations import FOREVER
from axproxy.errors import Busy, ClientError, RuntimeGone, Starting
from axproxy.messages import ChatRequest, Finished, Limits, Message, Sampling, Text, Usage
from axproxy.model_names import same_model, with_tag
from axproxy.ollama_options import TYPES, parse_options
from axproxy.ollama_replies import chat_replies, generate_replies, stamp, statistics
from axproxy.ollama_wire import Load, keep_alive, parse_chat, parse_generate
from tests.fakes import USAGE

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MODEL = "qwen3:0.6b"


def chat(**fields: Any) -> ChatRequest | Load:
    return parse_chat(json.dumps({"model": MODEL, **fields}).encode(), MODEL)


def generate(**fields: Any) -> ChatRequest | Load:
    return parse_generate(json.dumps({"model": MODEL, **fields}).encode(), MODEL)


def test_a_chat_keeps_its_turns_in_order_with_roles_in_lower_case() -> None:
    wish = chat(
        messages=[
            {"role": "System", "content": "Be brief."},
            {"role": "USER", "content": "Hi", "images": [], "tool_calls": None},
            {"Role": "assistant", "content": None},
            {"content": "again"},
            None,
        ]
    )

    assert wish == ChatRequest(
        messages=(
            Message("system", "Be brief."),
            Message("user", "Hi"),
            Message("assistant", ""),
            Message("", "again"),
            Message("", ""),
        ),
        model=MODEL,
        stream=True,
    )


def test_a_prompt_is_a_conversation_of_one_user_message() -> None:
    assert generate(prompt="Hi") == ChatRequest((Message("user", "Hi"),), MODEL, stream=True)
    assert generate(prompt="Hi", system="Be brief.", stream=False) == ChatRequest(
        (Message("system", "Be brief."), Message("user", "Hi")), MODEL
    )


def test_a_raw_prompt_goes_to_the_model_alone() -> None:
    assert generate(prompt="<|im_start|>", raw=True) == ChatRequest(
        (Message("user", "<|im_start|>"),), MODEL, stream=True, raw=True
    )


@pytest.mark.parametrize("fields", [{}, {"prompt": ""}, {"prompt": None, "keep_alive": -1}])
def test_a_request_without_a_prompt_only_loads_the_model(fields: dict[str, Any]) -> None:
    assert generate(**fields) == Load(MODEL)


@pytest.mark.parametrize("fields", [{}, {"messages": []}, {"messages": None, "keep_alive": "5m"}])
def test_a_chat_without_messages_only_loads_the_model(fields: dict[str, Any]) -> None:
    assert chat(**fields) == Load(MODEL)


def test_what_the_card_cannot_use_is_ignored() -> None:
    wish = generate(
        prompt="Hi",
        template="{{ .Prompt }}",
        format="json",
        think=False,
        context=[1, 2],
        keep_alive=0,
        images=[],
        suffix="",
        whatever={"a": 1},
    )

    assert wish == ChatRequest((Message("user", "Hi"),), MODEL, stream=True)


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
    ],
)
def test_keep_alive_is_seconds_or_a_duration(value: object, seconds: float | None) -> None:
    assert keep_alive(value) == seconds


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
            Sampling(),
            Limits(),
        ),
    ],
)
def test_options_become_sampling_and_limits(
    options: dict[str, Any], sampling: Sampling, limits: Limits
) -> None:
    assert parse_options(options) == (sampling, limits)


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("qwen3:0.6b", True),
        ("QWEN3:0.6B", True),
        (" qwen3:0.6b ", True),
        ("library/qwen3:0.6b", True),
        ("registry.ollama.ai/library/Qwen3:0.6b", True),
        ("qwen3", False),
        ("other/qwen3:0.6b", False),
        ("library/library/qwen3:0.6b", False),
        ("qwen3:0.6b:latest", False),
        ("", False),
    ],
)
def test_a_model_has_several_names(name: str, same: bool) -> None:
    assert same_model(name, "qwen3:0.6b") is same


@pytest.mark.parametrize("name", ["mock", "mock:latest", "library/MOCK"])
def test_a_name_without_a_tag_means_latest(name: str) -> None:
    assert same_model(name, "mock:latest")
    assert with_tag(name).lower() == "mock:latest"


def test_a_chat_in_lines() -> None:
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


def test_a_completion_in_lines() -> None:
    replies = generate_replies("m", lambda: NOON)

    assert replies.line(Text("Hi")).decode() == (
        '{"model":"m","created_at":"2026-11-20T12:00:00.000000Z","response":"Hi","done":false}\n'
    )
    assert replies.whole("Hi", Finished("stop", USAGE)).decode() == (
        '{"model":"m","created_at":"2026-11-20T12:00:00.000000Z","response":"Hi",'
        '"done":true,"done_reason":"stop",'
        '"total_duration":1500000000,"load_duration":250000000,"prompt_eval_count":12,'
        '"prompt_eval_duration":500000000,"eval_count":2,"eval_duration":125000000}'
    )
    assert replies.loaded().decode() == (
        '{"model":"m","created_at":"2026-11-20T12:00:00.000000Z","response":"",'
        '"done":true,"done_reason":"load"}'
    )


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeGone("it died"), "an error was encountered while running the model: it died"),
        (Starting("wait"), "wait"),
        (ClientError("no"), "no"),
        (Busy("full"), "server busy, please try again.  maximum pending requests exceeded"),
    ],
)
def test_a_stream_cut_short_ends_with_the_error_alone(error: Any, says: str) -> None:
    assert json.loads(generate_replies("m", lambda: NOON).failure(error)) == {"error": says}


def test_the_parts_never_take_longer_than_the_total() -> None:
    numbers = statistics(Usage(1, 0, total=0.1, load=0.05, prompt_eval=0.05, eval=0.0000000006))

    assert numbers["total_duration"] == sum(
        numbers[name] for name in ("load_duration", "prompt_eval_duration", "eval_duration")
    )
    assert all(type(number) is int for number in numbers.values())


def test_times_have_a_zone_and_always_six_digits() -> None:
    assert stamp(NOON) == "2026-11-20T12:00:00.000000Z"
    assert stamp(NOON.astimezone(timezone(timedelta(hours=2)))) == "2026-11-20T12:00:00.000000Z"
