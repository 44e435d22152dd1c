"""Checks OpenAI's chat, completions and models over HTTP.

The contract suite checks what all dialects share.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from axproxy.api.openai.routes import OpenAIRoutes
from axproxy.messages import (
    ChatRequest,
    Finished,
    Limits,
    Message,
    Sampling,
    Thinking,
    ToolCall,
)
from tests.support.dialects import openai_chunks
from tests.support.fakes import QWEN, USAGE, FakeEngine, FakeModels

MODEL = QWEN.name
ASKED = [{"role": "user", "content": "Hi"}]
USED = {"prompt_tokens": 12, "completion_tokens": 2, "total_tokens": 14}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
PARIS = ToolCall("weather", {"city": "Zürich"}, "call_abcd1234")
DEEP = '{"a":' + "[" * 700 + "]" * 700 + "}"
CHAT, COMPLETION, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"


@pytest.fixture
def models() -> FakeModels:
    return FakeModels(replace(QWEN, capabilities=("completion", "tools", "thinking")))


def chat(client: FlaskClient, **fields: Any) -> Any:
    return client.post(CHAT, json={"model": MODEL, "messages": ASKED, **fields})


def deltas(body: bytes) -> list[Any]:
    return [part["choices"][0]["delta"] for part in openai_chunks(body)[:-1] if part["choices"]]


def last_request(engine: FakeEngine) -> ChatRequest:
    return engine.history[-1]


def test_a_whole_chat_reply(client: FlaskClient) -> None:
    reply = chat(client)

    assert reply.content_type == "application/json; charset=utf-8"
    body = reply.get_json()
    assert body.pop("id").startswith("chatcmpl-")
    assert abs(body.pop("created") - datetime.now(UTC).timestamp()) < 60
    assert body == {
        "object": "chat.completion",
        "model": MODEL,
        "system_fingerprint": "fp_ollama",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello"},
                "finish_reason": "stop",
            }
        ],
        "usage": USED,
    }


def test_a_streamed_chat_reply(client: FlaskClient) -> None:
    reply = chat(client, stream=True)
    *chunks, last = openai_chunks(reply.data)

    assert reply.content_type == "text/event-stream"
    assert last == "[DONE]"
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": "Hel"},
        {"content": "lo"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "stop"]
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    assert all("usage" not in chunk for chunk in chunks)


def test_usage_is_the_last_chunk_on_request(client: FlaskClient) -> None:
    *_, usage, _done = openai_chunks(
        chat(client, stream=True, stream_options={"include_usage": True}).data
    )

    assert (usage["choices"], usage["usage"]) == ([], USED)


def test_thinking_and_tool_calls_are_deltas_of_their_own(
    client: FlaskClient, engine: FakeEngine
) -> None:
    engine.script = (Thinking("Need"), PARIS, replace(PARIS, id="b"), Finished("stop", USAGE))
    reply = chat(client, stream=True, tools=[TOOL])

    thought, first, second, _end = deltas(reply.data)
    both = {"reasoning": "Need", "reasoning_content": "Need"}
    assert thought == {"role": "assistant", "content": "", **both}
    assert first == {
        "content": "",
        "tool_calls": [
            {
                "id": "call_abcd1234",
                "index": 0,
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city":"Zürich"}'},
            }
        ],
    }
    assert second["tool_calls"][0]["index"] == 1
    assert openai_chunks(reply.data)[-2]["choices"][0]["finish_reason"] == "tool_calls"


def test_every_field_reaches_the_engine(client: FlaskClient, engine: FakeEngine) -> None:
    schema = {"type": "object"}
    chat(
        client,
        messages=[
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}],
            },
            {
                "role": "assistant",
                "content": None,
                "reasoning": "Hm",
                "tool_calls": [
                    {"id": "a", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "a", "content": "12C"},
        ],
        tools=[TOOL],
        temperature=0.25,
        top_p=0.5,
        max_tokens=9,
        stop="END",
        reasoning_effort="high",
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
        user="me",
        n=1,
    )

    assert last_request(engine) == ChatRequest(
        messages=(
            Message("system", "Be brief."),
            Message("user", "one\n\ntwo"),
            Message(
                "assistant",
                "",
                thinking="Hm",
                tool_calls=(ToolCall("weather", {"city": "Oslo"}, "a"),),
            ),
            Message("tool", "12C", tool_call_id="a"),
        ),
        requested_name=MODEL,
        sampling=Sampling(temperature=0.25, top_p=0.5),
        limits=Limits(9, ("END",)),
        tools=(TOOL,),
        think=True,
        format=schema,
    )


def test_calls_of_custom_tools_and_calls_in_the_older_form_reach_the_model(
    client: FlaskClient, engine: FakeEngine
) -> None:
    custom = {"id": "a", "type": "custom", "custom": {"name": "patch", "input": "- a"}}
    older = {"name": "weather", "arguments": '{"city":"Oslo"}'}
    chat(
        client,
        messages=[
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": None, "tool_calls": [custom]},
            {"role": "tool", "tool_call_id": "a", "content": "done"},
            {"role": "assistant", "content": None, "function_call": older},
            {"role": "function", "name": "weather", "content": "12C"},
            {"role": "assistant", "content": None, "refusal": "I would rather not."},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        ],
    )

    assert last_request(engine).messages[1:] == (
        Message("assistant", "", tool_calls=(ToolCall("patch", {"input": "- a"}, "a"),)),
        Message("tool", "done", tool_call_id="a"),
        Message("assistant", "", tool_calls=(ToolCall("weather", {"city": "Oslo"}),)),
        Message("tool", "12C", tool_name="weather"),
        Message("assistant", "I would rather not."),
        Message("assistant", "No."),
    )


def test_missing_fields_have_openais_defaults(client: FlaskClient, engine: FakeEngine) -> None:
    chat(client)

    assert last_request(engine).sampling == Sampling(temperature=1.0, top_p=1.0)
    assert last_request(engine).think is None
    assert not last_request(engine).stream


@pytest.mark.parametrize(
    ("fields", "limits"),
    [
        ({"max_completion_tokens": 5}, Limits(5)),
        ({"max_completion_tokens": 5, "max_tokens": 9}, Limits(5)),
        ({"max_tokens": 0}, Limits()),
        ({"stop": ["a", 1, "b"]}, Limits(None, ("a", "b"))),
        ({"stop": 7}, Limits()),
        ({"stop": None}, Limits()),
    ],
)
def test_fields_that_limit_the_answer(
    client: FlaskClient, engine: FakeEngine, fields: dict[str, Any], limits: Limits
) -> None:
    chat(client, **fields)

    assert last_request(engine).limits == limits


def allowed(mode: str, *names: str) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


@pytest.mark.parametrize(
    ("choice", "offered", "must_call"),
    [
        ("auto", ["weather", "lamp"], False),
        ("required", ["weather", "lamp"], True),
        ("none", [], False),
        ({"type": "function", "function": {"name": "lamp"}}, ["lamp"], True),
        (allowed("auto", "lamp"), ["lamp"], False),
        (allowed("required", "lamp", "weather"), ["weather", "lamp"], True),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [7]}}, [], False),
    ],
)
def test_tool_choice_selects_tools_and_may_demand_a_call(
    client: FlaskClient, engine: FakeEngine, choice: Any, offered: list[str], must_call: bool
) -> None:
    lamp = {"type": "function", "function": {"name": "lamp"}}
    chat(client, tools=[TOOL, lamp], tool_choice=choice)

    assert [tool["function"]["name"] for tool in last_request(engine).tools] == offered
    assert last_request(engine).must_call is must_call


@pytest.mark.parametrize(
    ("fields", "think"),
    [
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "minimal"}, True),
        ({"reasoning": {"effort": "xhigh"}}, True),
        ({"reasoning": {}}, None),
    ],
)
def test_reasoning_effort_turns_thinking_on_or_off(
    client: FlaskClient, engine: FakeEngine, fields: dict[str, Any], think: bool | None
) -> None:
    chat(client, **fields)

    assert last_request(engine).think is think


@pytest.mark.parametrize(
    ("route", "asked"), [(CHAT, {"messages": ASKED}), (RESPONSES, {"input": "Hi"})]
)
@pytest.mark.parametrize(
    ("fields", "think"),
    [
        ({"chat_template_kwargs": {"enable_thinking": False}}, False),
        ({"chat_template_kwargs": {"enable_thinking": True}}, True),
        ({"chat_template_kwargs": {"thinking": False}}, False),
        ({"enable_thinking": False}, False),
        ({"enable_thinking": True}, True),
        ({"think": False}, False),
        ({"think": "none"}, False),
        ({"think": "high"}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"reasoning": {"enabled": False}}, False),
        ({"reasoning": {"effort": "none"}}, False),
        ({"reasoning_effort": "none"}, False),
        ({"chat_template_kwargs": None, "think": None, "thinking": 7, "enable_thinking": []}, None),
        ({"chat_template_kwargs": "no", "think": "perhaps", "enable_thinking": False}, False),
    ],
)
def test_the_switches_of_other_servers_turn_thinking_on_or_off(
    client: FlaskClient,
    engine: FakeEngine,
    route: str,
    asked: dict[str, Any],
    fields: dict[str, Any],
    think: bool | None,
) -> None:
    assert client.post(route, json={"model": MODEL, **asked, **fields}).status_code == 200

    assert last_request(engine).think is think


def test_openais_own_switch_wins_over_those_of_other_servers(
    client: FlaskClient, engine: FakeEngine
) -> None:
    chat(client, reasoning_effort="high", enable_thinking=False)

    assert last_request(engine).think is True


def test_the_switches_of_other_servers_are_ignored_by_a_model_that_cannot_think(
    client: FlaskClient, engine: FakeEngine, models: FakeModels
) -> None:
    models.model = QWEN
    chat(client, chat_template_kwargs={"enable_thinking": True})
    assert last_request(engine).think is None

    chat(client, chat_template_kwargs={"enable_thinking": False})
    assert last_request(engine).think is False


PICTURE = "data:image/png;base64,iVBORw0KGgo="


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"messages": []}, 400, "[] is too short - 'messages'"),
        (
            {"temperature": "hot"},
            400,
            "json: cannot unmarshal string into Go struct field ChatCompletionRequest.temperature "
            "of type float64",
        ),
        (
            {"messages": [{"role": "user", "content": 1}]},
            400,
            "invalid message content type: float64",
        ),
        ({"messages": [{"role": "user", "content": [1]}]}, 400, "invalid message format"),
        (
            {"messages": [{"role": "user", "content": [{"type": "video"}]}]},
            400,
            "invalid message format",
        ),
        (
            {
                "messages": [
                    {"content": [{"type": "image_url", "image_url": {"url": "http://x/y"}}]}
                ]
            },
            400,
            "image URLs are not currently supported, please use base64 encoded data instead",
        ),
        (
            {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "data:,x"}}]}]},
            400,
            "invalid image input",
        ),
        (
            {"messages": [{"content": [{"type": "image_url", "image_url": {"url": PICTURE}}]}]},
            400,
            f'"{MODEL}" does not support images',
        ),
        (
            {"messages": [{"tool_calls": [{"function": {"name": "a", "arguments": "{"}}]}]},
            400,
            "invalid tool call arguments",
        ),
        (  # inside a string, where the check of the body's depth does not look
            {"messages": [{"tool_calls": [{"function": {"name": "a", "arguments": DEEP}}]}]},
            400,
            "invalid tool call arguments",
        ),
        (
            {"reasoning_effort": "banana"},
            400,
            'invalid reasoning value: "banana" (must be "minimal", "low", "medium", "high", '
            '"xhigh", "ultra", "max", or "none")',
        ),
    ],
)
def test_a_wrong_chat_request_gets_ollamas_message(
    client: FlaskClient, body: Any, status: int, message: str
) -> None:
    raw = isinstance(body, bytes)
    reply = client.post(CHAT, data=body) if raw else chat(client, **body)

    assert reply.status_code == status
    kind = {400: "invalid_request_error", 404: "not_found_error"}[status]
    assert reply.get_json() == {
        "error": {"message": message, "type": kind, "param": None, "code": None}
    }


def test_a_model_without_thinking_accepts_effort_none(
    client: FlaskClient, models: FakeModels
) -> None:
    models.model = QWEN

    assert chat(client, reasoning_effort="none").status_code == 200


def test_a_whole_completion_reply(client: FlaskClient, engine: FakeEngine) -> None:
    body = client.post(
        COMPLETION, json={"model": MODEL, "prompt": "Hi", "max_tokens": 3}
    ).get_json()

    assert body.pop("id").startswith("cmpl-")
    assert body.pop("created")
    assert body == {
        "object": "text_completion",
        "model": MODEL,
        "system_fingerprint": "fp_ollama",
        "choices": [{"text": "Hello", "index": 0, "finish_reason": "stop"}],
        "usage": USED,
    }
    assert last_request(engine).messages == (Message("user", "Hi"),)
    assert last_request(engine).limits == Limits(3)
    assert last_request(engine).think is False


def test_one_prompt_in_a_list_is_completed(client: FlaskClient, engine: FakeEngine) -> None:
    reply = client.post(COMPLETION, json={"model": MODEL, "prompt": ["The sky is"]})

    assert reply.get_json()["choices"][0]["text"] == "Hello"
    assert last_request(engine).messages == (Message("user", "The sky is"),)


def test_a_streamed_completion_reply(client: FlaskClient) -> None:
    asked = {"model": MODEL, "prompt": "Hi", "stream": True}
    *chunks, _done = openai_chunks(client.post(COMPLETION, json=asked).data)
    assert [(c["choices"][0]["text"], c["choices"][0]["finish_reason"]) for c in chunks] == [
        ("Hel", None),
        ("lo", None),
        ("", "stop"),
    ]
    asked["stream_options"] = {"include_usage": True}
    *chunks, usage, _done = openai_chunks(client.post(COMPLETION, json=asked).data)
    assert all(chunk["usage"] == dict.fromkeys(USED, 0) for chunk in chunks)
    assert (usage["choices"], usage["usage"]) == ([], USED)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        (
            COMPLETION,
            {"prompt": {"text": "Hi"}},
            "json: cannot unmarshal object into Go struct field CompletionRequest.prompt of type "
            "string",
        ),
        (
            COMPLETION,
            {"prompt": ["Hi", "Ho"]},
            "there are 2 prompts, and a request can have one; send each in a request of its own",
        ),
        (COMPLETION, {"prompt": [1, 2]}, "prompt must be text, not tokens"),
        (COMPLETION, {"prompt": [[1, 2]]}, "prompt must be text, not tokens"),
        (COMPLETION, {"prompt": []}, "prompt must not be empty"),
        (COMPLETION, {"prompt": [""]}, "prompt must not be empty"),
        (
            COMPLETION,
            {"prompt": [None]},
            "json: cannot unmarshal array into Go struct field CompletionRequest.prompt of type "
            "string",
        ),
        (
            COMPLETION,
            {"prompt": "Hi", "suffix": "x"},
            f"registry.ollama.ai/library/{MODEL} does not support insert",
        ),
        (COMPLETION, {}, "prompt must not be empty"),
        ("/v1/embeddings", {}, "invalid input"),
        ("/v1/embeddings", {"input": "Hi"}, f'"{MODEL}" does not support embeddings'),
    ],
)
def test_unsupported_requests_are_refused(
    client: FlaskClient, path: str, body: dict[str, Any], message: str
) -> None:
    reply = client.post(path, json={"model": MODEL, **body})

    assert reply.status_code == 400
    assert reply.get_json()["error"]["message"] == message


def test_models_are_listed_and_found_by_name(client: FlaskClient) -> None:
    created = int(QWEN.modified_at.timestamp())
    window = {"context_length": 2559, "max_model_len": 2559}
    entry = {"id": MODEL, "object": "model", "created": created, "owned_by": "library", **window}

    assert client.get("/v1/models").get_json() == {"object": "list", "data": [entry]}
    assert client.get("/v1/models/QWEN3:0.6b").get_json() == {**entry, "id": "QWEN3:0.6b"}
    missing = client.get("/v1/models/nope")
    assert missing.status_code == 404
    words = f"model 'nope:latest' not found; this service has '{MODEL}'"
    assert missing.get_json()["error"]["message"] == words
    assert client.get("/v1/models/a/b").data == b"404 page not found"
    assert client.head("/v1/models").status_code == 405


def test_a_window_that_is_not_known_yet_is_left_out(
    client: FlaskClient, models: FakeModels
) -> None:
    models.model = replace(QWEN, context_length=None)

    assert set(client.get(f"/v1/models/{MODEL}").get_json()) == {
        "id",
        "object",
        "created",
        "owned_by",
    }


def test_each_reply_has_a_number_and_a_time() -> None:
    engine = FakeEngine()
    routes = OpenAIRoutes(
        engine, FakeModels(), lambda: datetime(2026, 11, 20, tzinfo=UTC), lambda _: 7
    )
    app = Flask("test")
    app.register_blueprint(routes.blueprint())
    body = chat(app.test_client()).get_json()
    assert (body["id"], body["created"]) == ("chatcmpl-7", 1795132800)
