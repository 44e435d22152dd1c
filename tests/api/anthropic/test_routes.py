"""Checks Anthropic's messages over HTTP.

The contract suite checks what all dialects share.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from axproxy.api.anthropic.routes import AnthropicRoutes
from axproxy.messages import (
    ChatRequest,
    Finished,
    Limits,
    Message,
    Sampling,
    Text,
    Thinking,
    ToolCall,
)
from tests.support.fakes import QWEN, USAGE, FakeEngine, FakeModels
from tests.support.server_events import read_events

MODEL = QWEN.name
ROUTE = "/v1/messages"
ASKED = [{"role": "user", "content": "Hi"}]
USED = {"input_tokens": 12, "output_tokens": 2}
PARIS = ToolCall("weather", {"city": "Zürich"}, "call_abcd1234")
TOOL = {"name": "weather", "description": "Looks.", "input_schema": {"type": "object"}}
OFFER = {
    "type": "function",
    "function": {"name": "weather", "description": "Looks.", "parameters": {"type": "object"}},
}
SIGNATURE = "TCvJoAAC0dYyAHufIwJhKqnLY27ArjU4YYDjzibuD2c="  # of "Need"
PICTURE = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}


@pytest.fixture
def models() -> FakeModels:
    return FakeModels(replace(QWEN, capabilities=("completion", "tools", "thinking")))


def ask(client: FlaskClient, **fields: Any) -> Any:
    body = {"model": MODEL, "max_tokens": 9, "messages": ASKED, **fields}
    return client.post(ROUTE, json=body)


def last_request(engine: FakeEngine) -> ChatRequest:
    return engine.history[-1]


def test_a_whole_message(client: FlaskClient) -> None:
    reply = ask(client)
    body = reply.get_json()

    assert reply.content_type == "application/json; charset=utf-8"
    assert re.fullmatch("msg_[0-9a-f]{24}", body.pop("id"))
    assert body == {
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "usage": USED,
    }


def test_a_streamed_message(engine: FakeEngine) -> None:
    app = Flask("test")
    app.register_blueprint(AnthropicRoutes(engine, FakeModels(), lambda: "7" * 24).blueprint())
    reply = ask(app.test_client(), stream=True, system="12345678")
    events = read_events(reply.data)

    assert reply.content_type == "text/event-stream"
    assert reply.headers["Cache-Control"] == "no-cache"
    assert [name for name, _ in events] == [data["type"] for _, data in events]
    assert [data for _, data in events] == [
        {
            "type": "message_start",
            "message": {
                "id": "msg_777777777777777777777777",
                "type": "message",
                "role": "assistant",
                "model": MODEL,
                "content": [],
                # An estimate: a quarter of the bytes of "system", its text, "user" and "Hi".
                "usage": {"input_tokens": (6 + 8 + 4 + 2) // 4, "output_tokens": 0},
            },
        },
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "Hel"},
        },
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": USED},
        {"type": "message_stop"},
    ]


def test_thinking_text_and_calls_stream_as_blocks_in_order(
    client: FlaskClient, engine: FakeEngine
) -> None:
    engine.script = (
        Thinking("Ne"),
        Thinking("ed"),
        Text("Wait."),
        PARIS,
        replace(PARIS, id="b", arguments={}),
        Finished("stop", USAGE),
    )
    _start, *events, last, _stop = (
        data for _, data in read_events(ask(client, stream=True, tools=[TOOL]).data)
    )
    signed = events.pop(3)["delta"]

    assert signed == {"type": "signature_delta", "signature": SIGNATURE}
    assert [(event["type"].removeprefix("content_block_"), event["index"]) for event in events] == [
        ("start", 0),
        ("delta", 0),
        ("delta", 0),
        ("stop", 0),
        ("start", 1),
        ("delta", 1),
        ("stop", 1),
        ("start", 2),
        ("delta", 2),
        ("stop", 2),
        ("start", 3),
        ("delta", 3),
        ("stop", 3),
    ]
    assert events[0]["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}
    assert events[1]["delta"] == {"type": "thinking_delta", "thinking": "Ne"}
    assert events[7]["content_block"] == {
        "type": "tool_use",
        "id": "call_abcd1234",
        "name": "weather",
        "input": {},
    }
    arguments = {"type": "input_json_delta", "partial_json": '{"city":"Zürich"}'}
    assert events[8]["delta"] == arguments
    assert events[11]["delta"] == {"type": "input_json_delta", "partial_json": "{}"}
    assert last["delta"] == {"stop_reason": "tool_use"}


def test_thinking_text_and_calls_in_a_whole_message(
    client: FlaskClient, engine: FakeEngine
) -> None:
    engine.script = (Thinking("Need"), Text("Wait."), PARIS, Finished("stop", USAGE))
    body = ask(client, tools=[TOOL]).get_json()

    assert body["stop_reason"] == "tool_use"
    assert body["content"] == [
        {"type": "thinking", "thinking": "Need", "signature": SIGNATURE},
        {"type": "text", "text": "Wait."},
        {
            "type": "tool_use",
            "id": "call_abcd1234",
            "name": "weather",
            "input": {"city": "Zürich"},
        },
    ]


def test_an_empty_answer_has_no_blocks(client: FlaskClient, engine: FakeEngine) -> None:
    engine.script = (Finished("stop", USAGE),)

    assert ask(client).get_json()["content"] == []
    names = [name for name, _ in read_events(ask(client, stream=True).data)]
    assert names == ["message_start", "message_delta", "message_stop"]


def test_every_field_reaches_the_engine(client: FlaskClient, engine: FakeEngine) -> None:
    ask(
        client,
        system=[{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}],
        tools=[TOOL],
        temperature=0.25,
        top_p=0.5,
        top_k=7,
        stop_sequences=["END", "STOP"],
        thinking={"type": "enabled", "budget_tokens": 1024},
        output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}},
        metadata={"user_id": "me"},
    )

    assert last_request(engine) == ChatRequest(
        messages=(Message("system", "Be brief."), Message("user", "Hi")),
        requested_name=MODEL,
        sampling=Sampling(temperature=0.25, top_k=7, top_p=0.5),
        limits=Limits(9, ("END", "STOP")),
        tools=(OFFER,),
        think=True,
        format={"type": "object"},
    )


def test_missing_fields_leave_the_models_defaults(client: FlaskClient, engine: FakeEngine) -> None:
    ask(client)

    assert last_request(engine) == ChatRequest((Message("user", "Hi"),), MODEL, limits=Limits(9))


def test_content_blocks_become_turns(client: FlaskClient, engine: FakeEngine) -> None:
    weather = {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Oslo"}}
    lamp = {"type": "tool_use", "id": "b", "name": "lamp"}
    ask(
        client,
        messages=[
            {
                "role": "User",
                "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
                    {"type": "redacted_thinking", "data": "c2ln"},
                    {"type": "text", "text": "Wait."},
                    weather,
                    lamp,
                    {**lamp, "id": "c"},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": "12C"},
                    {
                        "type": "tool_result",
                        "tool_use_id": "b",
                        "is_error": True,
                        "content": [
                            {"type": "text", "text": "no "},
                            {"type": "text", "text": "bulb"},
                        ],
                    },
                    {"type": "tool_result", "tool_use_id": "c", "is_error": True},
                    {"type": "text", "text": "So?"},
                ],
            },
            {"role": "assistant", "content": ""},
        ],
    )

    assert last_request(engine).messages == (
        Message("user", "one two"),
        Message(
            "assistant",
            "Wait.",
            "Hm",
            (
                ToolCall("weather", {"city": "Oslo"}, "a"),
                ToolCall("lamp", {}, "b"),
                ToolCall("lamp", {}, "c"),
            ),
        ),
        Message("tool", "12C", tool_call_id="a"),
        Message("tool", "no bulb", tool_call_id="b"),
        Message("tool", "error", tool_call_id="c"),
        Message("user", "So?"),
    )


@pytest.mark.parametrize(
    ("choice", "offered", "must_call"),
    [
        ({"type": "auto"}, ["weather", "lamp"], False),
        ({"type": "any", "disable_parallel_tool_use": True}, ["weather", "lamp"], True),
        ({"type": "none"}, [], False),
        ({"type": "tool", "name": "lamp"}, ["lamp"], True),
        ({"type": "tool", "name": "another"}, [], False),
    ],
)
def test_tool_choice_selects_tools_and_may_demand_a_call(
    client: FlaskClient, engine: FakeEngine, choice: Any, offered: list[str], must_call: bool
) -> None:
    own = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    lamp = {"type": "custom", "name": "lamp", "input_schema": {"type": "object"}}
    ask(client, tools=[TOOL, own, lamp], tool_choice=choice)

    assert [tool["function"]["name"] for tool in last_request(engine).tools] == offered
    assert last_request(engine).must_call is must_call


@pytest.mark.parametrize(
    ("fields", "think"),
    [
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, False),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": " XHigh "}}, True),
        ({"output_config": {"effort": "low"}}, True),
        ({"think": False}, False),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "banana"}, None),
        ({"reasoning": {"effort": "none"}}, False),
        ({"reasoning": {"effort": "low"}, "thinking": {"type": "disabled"}}, False),
        ({"chat_template_kwargs": {"enable_thinking": False}}, False),
        ({"thinking": {"type": "enabled"}, "enable_thinking": False}, True),
        ({"output_config": {"effort": "banana"}}, None),
    ],
)
def test_thinking_and_effort_turn_thinking_on_or_off(
    client: FlaskClient, engine: FakeEngine, fields: dict[str, Any], think: bool | None
) -> None:
    ask(client, **fields)

    assert last_request(engine).think is think


@pytest.mark.parametrize("signature", [SIGNATURE, "x", "", None, 7])
def test_thinking_can_be_handed_back_whatever_its_signature_says(
    client: FlaskClient, engine: FakeEngine, signature: Any
) -> None:
    thought = {"type": "thinking", "thinking": "Need", "signature": signature}
    said = [thought, {"type": "text", "text": "Four."}]
    ask(client, messages=[*ASKED, {"role": "assistant", "content": said}, *ASKED])

    assert last_request(engine).messages[1] == Message("assistant", "Four.", "Need")


FOUND = {
    "type": "search_result",
    "title": "The sea",
    "source": "https://sea.example",
    "content": [{"type": "text", "text": "It is salty."}, {"type": "text", "text": "It is deep."}],
    "citations": {"enabled": True},
}


def test_search_results_are_read_in_a_message_and_in_the_result_of_a_tool(
    client: FlaskClient, engine: FakeEngine
) -> None:
    text = "\nThe sea\nhttps://sea.example\nIt is salty.\nIt is deep.\n"
    content = [FOUND, {"type": "text", "text": "Is it?"}]
    ask(client, messages=[{"role": "user", "content": content}])
    assert last_request(engine).messages == (Message("user", f"{text}Is it?"),)

    result = {"type": "tool_result", "tool_use_id": "a", "content": [FOUND]}
    ask(client, messages=[{"role": "user", "content": [result]}])
    assert last_request(engine).messages == (Message("tool", text, tool_call_id="a"),)


@pytest.mark.parametrize(
    "type_",
    ["redacted_thinking", "server_tool_use", "web_search_tool_result", "mcp_tool_use"],
)
def test_blocks_about_what_anthropics_service_did_are_left_out(
    client: FlaskClient, engine: FakeEngine, type_: str
) -> None:
    blocks = [{"type": type_, "data": "x", "content": []}, {"type": "text", "text": "So?"}]
    ask(client, messages=[{"role": "assistant", "content": blocks}, *ASKED])

    assert last_request(engine).messages[0] == Message("assistant", "So?")


def block(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [fields]}]}


GO = "json: cannot unmarshal"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"model": "", "max_tokens": 0, "messages": []}, 400, "model is required"),
        (
            {"max_tokens": 0, "messages": []},
            400,
            "max_tokens is required and must be positive",
        ),
        ({"max_tokens": None}, 400, "max_tokens is required and must be positive"),
        ({"messages": []}, 400, "messages is required"),
        ({"messages": None}, 400, "messages is required"),
        ({"messages": [{"role": "user", "content": ""}]}, 400, "messages is required"),
        (
            {"max_tokens": "9"},
            400,
            f"{GO} string into Go struct field MessagesRequest.max_tokens of type int",
        ),
        (
            {"stop_sequences": [1]},
            400,
            f"{GO} number into Go struct field MessagesRequest.stop_sequences of type string",
        ),
        (
            {"messages": [{"role": "user", "content": 7}]},
            400,
            f"{GO} number into Go struct field MessagesRequest.messages.content of type "
            "[]anthropic.ContentBlock",
        ),
        (
            block(type="tool_use", name="weather"),
            400,
            "tool_use block missing required 'id' field",
        ),
        (block(type="tool_use", id="a"), 400, "tool_use block missing required 'name' field"),
        (block(type="image"), 400, "invalid image source"),
        (
            block(type="image", source={"type": "url", "url": "http://x/y"}),
            400,
            "invalid image source type: url. Only base64 images are supported.",
        ),
        (
            block(type="image", source={**PICTURE, "data": "!"}),
            400,
            "invalid base64 image data: illegal base64 data at input byte 0",
        ),
        (block(type="image", source=PICTURE), 400, f'"{MODEL}" does not support images'),
        (
            block(type="tool_result", content=[{"type": "image", "source": PICTURE}]),
            400,
            f'"{MODEL}" does not support images',
        ),
        (block(type="document", source={}), 400, f'"{MODEL}" does not support documents'),
        (block(type="video", data="x"), 400, 'unknown content block type: "video"'),
        (block(text="Hi"), 400, 'unknown content block type: ""'),
        (
            block(type="tool_result", content=[{"type": "video"}]),
            400,
            'unknown content block type: "video"',
        ),
        ({"system": [{"type": "video"}]}, 400, 'unknown content block type: "video"'),
    ],
)
def test_a_wrong_request_gets_ollamas_message_in_anthropics_body(
    client: FlaskClient, body: Any, status: int, words: str
) -> None:
    raw = isinstance(body, bytes)
    reply = client.post(ROUTE, data=body) if raw else ask(client, **body)
    error = reply.get_json()

    assert reply.status_code == status
    assert re.fullmatch("req_[0-9a-f]{24}", error.pop("request_id"))
    kinds = {400: "invalid_request_error", 403: "permission_error", 404: "not_found_error"}
    assert error == {"type": "error", "error": {"type": kinds[status], "message": words}}


def test_tool_choice_none_is_accepted_without_tool_support(
    client: FlaskClient, models: FakeModels
) -> None:
    models.model = QWEN

    assert ask(client, tools=[TOOL], tool_choice={"type": "none"}).status_code == 200


def test_to_count_tokens_needs_no_max_tokens(client: FlaskClient, engine: FakeEngine) -> None:
    reply = client.post(f"{ROUTE}/count_tokens", json={"model": MODEL, "messages": ASKED})

    assert (reply.status_code, reply.get_json()) == (200, {"input_tokens": 12})
    assert engine.counted[0].messages == (Message("user", "Hi"),)


def test_a_wrong_request_to_count_tokens_is_refused_in_anthropics_body(client: FlaskClient) -> None:
    reply = client.post(f"{ROUTE}/count_tokens", json={"model": MODEL})

    assert reply.status_code == 400
    error = {"type": "invalid_request_error", "message": "messages is required"}
    assert reply.get_json()["error"] == error
