"""Checks OpenAI's responses over HTTP.

The contract suite checks what all dialects share.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from axproxy.api.openai.routes import OpenAIRoutes
from axproxy.errors import RuntimeGone
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
ROUTE = "/v1/responses"
PARIS = ToolCall("weather", {"city": "Zürich"}, "call_abcd1234")
TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
OFFER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
USED = {
    "input_tokens": 12,
    "output_tokens": 2,
    "total_tokens": 14,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}
DEFAULTS = {
    "background": False,
    "error": None,
    "frequency_penalty": 0,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": None,
    "safety_identifier": None,
    "service_tier": "default",
    "store": False,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
}


def message(text: str, at: int = 0) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": f"msg_7_{at}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }


def reasoning(text: str, at: int = 0) -> dict[str, Any]:
    return {
        "id": f"rs_7_{at}",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": text}],
        "encrypted_content": text,
    }


def called(at: int, call_id: str = PARIS.id) -> dict[str, Any]:
    return {
        "id": f"fc_7_{at}",
        "type": "function_call",
        "status": "completed",
        "call_id": call_id,
        "name": "weather",
        "arguments": '{"city":"Zürich"}',
    }


@pytest.fixture
def models() -> FakeModels:
    return FakeModels(replace(QWEN, capabilities=("completion", "tools", "thinking")))


@pytest.fixture
def numbered(engine: FakeEngine, models: FakeModels) -> FlaskClient:
    """A client whose replies have number 7, begin at midnight and take three seconds."""
    midnight = datetime(2026, 11, 20, tzinfo=UTC)
    times = iter((midnight, midnight + timedelta(seconds=3)))
    app = Flask("test")
    routes = OpenAIRoutes(engine, models, lambda: next(times), lambda _: 7)
    app.register_blueprint(routes.blueprint())
    return app.test_client()


def ask(client: FlaskClient, **fields: Any) -> Any:
    return client.post(ROUTE, json={"model": MODEL, "input": "Hi", **fields})


def last_request(engine: FakeEngine) -> ChatRequest:
    return engine.history[-1]


def test_a_whole_response(numbered: FlaskClient) -> None:
    reply = ask(numbered)

    assert reply.content_type == "application/json; charset=utf-8"
    assert reply.get_json() == {
        **DEFAULTS,
        "id": "resp_7",
        "object": "response",
        "created_at": 1795132800,
        "completed_at": 1795132803,
        "status": "completed",
        "model": MODEL,
        "output": [message("Hello")],
        "usage": USED,
    }


def test_a_streamed_response(numbered: FlaskClient) -> None:
    reply = ask(numbered, stream=True)
    events = read_events(reply.data)

    assert reply.content_type == "text/event-stream"
    assert reply.headers["Cache-Control"] == "no-cache"
    assert [name for name, _ in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [data["type"] for _, data in events] == [name for name, _ in events]
    assert [data["sequence_number"] for _, data in events] == list(range(10))
    created, progress, added, part, delta, _, text, part_done, item, last = (
        {key: value for key, value in data.items() if key not in ("type", "sequence_number")}
        for _, data in events
    )
    response = {
        **DEFAULTS,
        "id": "resp_7",
        "object": "response",
        "created_at": 1795132800,
        "completed_at": None,
        "status": "in_progress",
        "model": MODEL,
        "output": [],
        "usage": None,
    }
    place = {"item_id": "msg_7_0", "output_index": 0, "content_index": 0}
    whole = message("Hello")
    assert created == progress == {"response": response}
    assert added == {
        "output_index": 0,
        "item": {**whole, "status": "in_progress", "content": []},
    }
    assert part == {**place, "part": message("")["content"][0]}
    assert delta == {**place, "delta": "Hel", "logprobs": []}
    assert text == {**place, "text": "Hello", "logprobs": []}
    assert part_done == {**place, "part": whole["content"][0]}
    assert item == {"output_index": 0, "item": whole}
    finished = {"status": "completed", "completed_at": 1795132803, "output": [whole]}
    assert last == {"response": {**response, **finished, "usage": USED}}


def test_reasoning_text_and_calls_stream_as_items_in_order(
    numbered: FlaskClient, engine: FakeEngine
) -> None:
    engine.script = (
        Thinking("Ne"),
        Thinking("ed"),
        Text("Wait."),
        PARIS,
        replace(PARIS, id="b"),
        Finished("stop", USAGE),
    )
    events = read_events(ask(numbered, stream=True, tools=[TOOL]).data)

    assert [(name.removeprefix("response."), data.get("output_index")) for name, data in events][
        2:-1
    ] == [
        ("output_item.added", 0),
        ("reasoning_summary_part.added", 0),
        ("reasoning_summary_text.delta", 0),
        ("reasoning_summary_text.delta", 0),
        ("reasoning_summary_text.done", 0),
        ("reasoning_summary_part.done", 0),
        ("output_item.done", 0),
        ("output_item.added", 1),
        ("content_part.added", 1),
        ("output_text.delta", 1),
        ("output_text.done", 1),
        ("content_part.done", 1),
        ("output_item.done", 1),
        ("output_item.added", 2),
        ("function_call_arguments.delta", 2),
        ("function_call_arguments.done", 2),
        ("output_item.done", 2),
        ("output_item.added", 3),
        ("function_call_arguments.delta", 3),
        ("function_call_arguments.done", 3),
        ("output_item.done", 3),
    ]
    output = [reasoning("Need"), message("Wait.", 1), called(2), called(3, "b")]
    assert events[-1][1]["response"]["output"] == output
    finished_items = [data["item"] for name, data in events if name.endswith("output_item.done")]
    assert finished_items == output


def test_reasoning_streams_as_a_part_that_is_announced_before_it_grows(
    numbered: FlaskClient, engine: FakeEngine
) -> None:
    engine.script = (Thinking("Need"), Finished("stop", USAGE))
    events = [data for _, data in read_events(ask(numbered, stream=True).data)[2:7]]
    added, part, delta, done, part_done = events

    place = {"item_id": "rs_7_0", "output_index": 0, "summary_index": 0}
    assert added["item"] == {"id": "rs_7_0", "type": "reasoning", "summary": []}
    assert [event["type"] for event in events] == [
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
    ]
    assert part == {**part, **place, "part": {"type": "summary_text", "text": ""}}
    assert delta == {**delta, **place, "delta": "Need"}
    assert done == {**done, **place, "text": "Need"}
    assert part_done == {**part_done, **place, "part": {"type": "summary_text", "text": "Need"}}


CUT = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("script", "output"),
    [
        ((Text("Hel"),), [{**message("Hel"), "status": "incomplete"}]),
        ((Thinking("Ne"),), [{**reasoning("Ne"), "status": "incomplete"}]),
        (
            (Thinking("Need"), Text("Wa")),
            [reasoning("Need"), {**message("Wa", 1), "status": "incomplete"}],
        ),
        ((Text("Wait."), PARIS), [message("Wait."), called(1)]),
        ((Thinking("Need"), PARIS), [reasoning("Need"), called(1)]),
    ],
)
def test_an_answer_that_reached_its_limit_is_incomplete_and_so_is_the_item_that_was_cut(
    numbered: FlaskClient,
    engine: FakeEngine,
    script: tuple[Any, ...],
    output: list[dict[str, Any]],
    stream: bool,
) -> None:
    engine.script = (*script, Finished("length", USAGE))
    reply = ask(numbered, stream=stream, tools=[TOOL], max_output_tokens=3)

    body = reply.get_json()
    if stream:
        name, data = read_events(reply.data)[-1]
        assert name == "response.incomplete"
        body = data["response"]
    assert {key: body[key] for key in CUT} == CUT
    assert body["completed_at"] is None
    assert body["output"] == output
    assert body["usage"] == USED


def test_a_tool_call_streams_its_arguments_in_one_delta(
    numbered: FlaskClient, engine: FakeEngine
) -> None:
    engine.script = (PARIS, Finished("stop", USAGE))
    added, delta, done = (
        data for _, data in read_events(ask(numbered, stream=True, tools=[TOOL]).data)[2:5]
    )

    place = {"item_id": "fc_7_0", "output_index": 0}
    assert added["item"] == {**called(0), "status": "in_progress", "arguments": ""}
    assert delta == {**delta, **place, "delta": '{"city":"Zürich"}'}
    assert done == {**done, **place, "arguments": '{"city":"Zürich"}'}


def test_reasoning_text_and_calls_in_a_whole_response(
    numbered: FlaskClient, engine: FakeEngine
) -> None:
    engine.script = (Thinking("Need"), Text("Wait."), PARIS, Finished("stop", USAGE))

    output = ask(numbered, tools=[TOOL]).get_json()["output"]
    assert output == [reasoning("Need"), message("Wait.", 1), called(2)]


def test_a_response_of_tool_calls_only_has_no_message(
    client: FlaskClient, engine: FakeEngine
) -> None:
    engine.script = (PARIS, Finished("stop", USAGE))

    (item,) = ask(client, tools=[TOOL]).get_json()["output"]
    assert item["type"] == "function_call"


@pytest.mark.parametrize("before", [(), (Text("Hel"),)])
def test_an_error_in_mid_stream_is_a_failed_response_and_an_error_event(
    client: FlaskClient, engine: FakeEngine, before: tuple[Text, ...]
) -> None:
    engine.script = (Text(""), *before, RuntimeGone("it died"))
    events = read_events(ask(client, stream=True).data)

    words = "an error was encountered while running the model: it died"
    (_, failed), (name, error) = events[-2:]
    assert events[0][0] == "response.created"
    assert failed["type"] == "response.failed"
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"] == {"code": "server_error", "message": words}
    assert name == "error"
    assert error == {
        "type": "error",
        "sequence_number": len(events) - 1,
        "code": None,
        "message": words,
        "param": None,
        "error": {"message": words, "type": "api_error", "param": None, "code": None},
    }


def test_every_field_reaches_the_engine_and_comes_back(
    client: FlaskClient, engine: FakeEngine
) -> None:
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    settings = {
        "instructions": "Be brief.",
        "tools": [TOOL],
        "temperature": 0.25,
        "top_p": 0.5,
        "max_output_tokens": 9,
        "reasoning": {"effort": "high", "summary": None},
        "text": {"format": form},
        "truncation": "auto",
        "tool_choice": "required",
        "background": False,
    }
    body = ask(client, user="me", store=True, metadata={"a": "b"}, **settings).get_json()

    assert last_request(engine) == ChatRequest(
        messages=(Message("system", "Be brief."), Message("user", "Hi")),
        requested_name=MODEL,
        sampling=Sampling(temperature=0.25, top_p=0.5),
        limits=Limits(9),
        tools=(OFFER,),
        must_call=True,
        think=True,
        format={"type": "object"},
    )
    back = settings | {"tools": [{**TOOL, "description": None, "strict": None}]}
    assert {name: body[name] for name in settings} == back


def test_missing_fields_have_ollamas_defaults(client: FlaskClient, engine: FakeEngine) -> None:
    ask(client)

    assert last_request(engine) == ChatRequest(
        (Message("user", "Hi"),), MODEL, Sampling(temperature=1.0), Limits()
    )


def test_input_items_become_turns(client: FlaskClient, engine: FakeEngine) -> None:
    ask(
        client,
        input=[
            {"role": "Developer", "content": "Be brief."},
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "one "},
                    {"type": "input_text", "text": "two"},
                ],
            },
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "Hm"},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Wait."}],
            },
            {"type": "function_call", "call_id": "a", "name": "weather", "arguments": '{"x":1}'},
            {"type": "function_call", "call_id": "b", "name": "lamp", "arguments": ""},
            {"type": "function_call_output", "call_id": "a", "output": "12C"},
            {
                "type": "function_call_output",
                "call_id": "b",
                "output": [{"type": "input_text", "text": "on"}],
            },
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "So"}]},
            {"type": "function_call", "call_id": "c", "name": "lamp", "arguments": "{}"},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        ],
    )

    assert last_request(engine).messages == (
        Message("system", "Be brief."),
        Message("user", "one two"),
        Message(
            "assistant",
            "Wait.",
            "Hm",
            (ToolCall("weather", {"x": 1}, "a"), ToolCall("lamp", {}, "b")),
        ),
        Message("tool", "12C", tool_call_id="a"),
        Message("tool", "on", tool_call_id="b"),
        Message("assistant", "", "So", (ToolCall("lamp", {}, "c"),)),
    )


def test_a_reference_to_reasoning_is_left_out(client: FlaskClient, engine: FakeEngine) -> None:
    engine.script = (Thinking("Need"), PARIS, Finished("stop", USAGE))
    thought, call = ask(client, tools=[TOOL]).get_json()["output"]
    items = [
        {"role": "user", "content": "Hi"},
        {"type": "item_reference", "id": thought["id"]},
        {"id": thought["id"]},  # the type may be missing
        call,
        {"type": "function_call_output", "call_id": call["call_id"], "output": "12C"},
    ]
    assert ask(client, tools=[TOOL], input=items).status_code == 200

    assert last_request(engine).messages == (
        Message("user", "Hi"),
        Message("assistant", "", "", (PARIS,)),
        Message("tool", "12C", tool_call_id=PARIS.id),
    )


@pytest.mark.parametrize("id_", ["msg_7_0", "fc_7_1", ""])
def test_a_reference_to_words_that_are_not_stored_is_refused(
    client: FlaskClient, engine: FakeEngine, id_: str
) -> None:
    reply = ask(client, input=[{"type": "item_reference", "id": id_}])

    assert reply.status_code == 400
    assert reply.get_json()["error"]["message"] == (
        f'input[0]: item_reference "{id_}" is not supported: this service stores nothing; send '
        "the item itself, which clients do with store set to false"
    )
    assert not engine.history


@pytest.mark.parametrize(
    ("call", "name", "arguments"),
    [
        (
            {"type": "custom_tool_call", "name": "patch", "input": "- a\n+ b"},
            "patch",
            {"input": "- a\n+ b"},
        ),
        (
            {"type": "local_shell_call", "action": {"type": "exec", "command": ["ls"]}},
            "local_shell",
            {"action": {"type": "exec", "command": ["ls"]}},
        ),
        (
            {"type": "shell_call", "action": {"commands": ["ls"]}},
            "shell",
            {"action": {"commands": ["ls"]}},
        ),
        (
            {"type": "apply_patch_call", "operation": {"type": "delete_file", "path": "a"}},
            "apply_patch",
            {"operation": {"type": "delete_file", "path": "a"}},
        ),
    ],
)
def test_calls_of_every_tool_that_a_client_runs_become_calls_as_the_model_knows_them(
    client: FlaskClient, engine: FakeEngine, call: Any, name: str, arguments: Any
) -> None:
    result = {"type": f"{call['type']}_output", "call_id": "c1", "output": "done"}
    ask(client, input=[{"role": "user", "content": "Hi"}, {**call, "call_id": "c1"}, result])

    assert last_request(engine).messages[1:] == (
        Message("assistant", "", "", (ToolCall(name, arguments, "c1"),)),
        Message("tool", "done", tool_call_id="c1"),
    )


def test_what_a_shell_has_printed_and_what_an_mcp_server_found_are_results(
    client: FlaskClient, engine: FakeEngine
) -> None:
    printed = [{"stdout": "a\n", "stderr": "b\n", "outcome": {"type": "exit", "exit_code": 1}}]
    ask(
        client,
        input=[
            {"type": "shell_call_output", "call_id": "c1", "output": printed},
            {"type": "mcp_call", "id": "m1", "name": "look", "arguments": "{}", "output": "water"},
        ],
    )

    assert last_request(engine).messages == (
        Message("tool", "a\nb\n", tool_call_id="c1"),
        Message("assistant", "", "", (ToolCall("look", {}, "m1"),)),
        Message("tool", "water", tool_call_id="m1"),
    )


def test_reasoning_and_refusals_of_other_services_are_read(
    client: FlaskClient, engine: FakeEngine
) -> None:
    thought = {"summary": [], "content": [{"type": "reasoning_text", "text": "Hm"}]}
    refusal = [{"type": "refusal", "refusal": "I would rather not."}]
    ask(
        client,
        input=[{"type": "reasoning", **thought}, {"role": "assistant", "content": refusal}],
    )

    assert last_request(engine).messages == (Message("assistant", "I would rather not.", "Hm"),)


def test_output_items_can_be_sent_back_unchanged(client: FlaskClient, engine: FakeEngine) -> None:
    engine.script = (Thinking("Need"), Text("Wait."), PARIS, Finished("stop", USAGE))
    output = ask(client, tools=[TOOL]).get_json()["output"]
    ask(client, tools=[TOOL], input=[{"role": "user", "content": "Hi"}, *output])

    assert last_request(engine).messages[1:] == (Message("assistant", "Wait.", "Need", (PARIS,)),)


@pytest.mark.parametrize(
    ("choice", "offered", "must_call"),
    [
        ("auto", ["weather", "lamp"], False),
        ("required", ["weather", "lamp"], True),
        ("none", [], False),
        ({"type": "function", "name": "lamp"}, ["lamp"], True),
        (
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "lamp"}],
            },
            ["lamp"],
            False,
        ),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"name": "lamp"}, {}, 7]},
            ["lamp"],
            True,
        ),
    ],
)
def test_tool_choice_selects_tools_and_may_demand_a_call(
    client: FlaskClient, engine: FakeEngine, choice: Any, offered: list[str], must_call: bool
) -> None:
    tools = [TOOL, {"type": "web_search"}, {"type": "function", "name": "lamp", "parameters": None}]
    ask(client, tools=tools, tool_choice=choice)

    assert [tool["function"]["name"] for tool in last_request(engine).tools] == offered
    assert last_request(engine).must_call is must_call


@pytest.mark.parametrize(
    ("fields", "think"),
    [
        ({"reasoning": {"effort": "none"}}, False),
        ({"reasoning": {"effort": "minimal"}}, True),
        ({"reasoning": {"summary": "auto"}}, None),
        ({"reasoning": None}, None),
    ],
)
def test_reasoning_effort_turns_thinking_on_or_off(
    client: FlaskClient, engine: FakeEngine, fields: dict[str, Any], think: bool | None
) -> None:
    ask(client, **fields)

    assert last_request(engine).think is think


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        ({"type": "json_object"}, "json"),
        ({"type": "json_schema", "schema": {"type": "array"}}, {"type": "array"}),
        ({"type": "text"}, None),
        ({}, None),
    ],
)
def test_text_format_sets_the_answers_format(
    client: FlaskClient, engine: FakeEngine, form: dict[str, Any], wanted: Any
) -> None:
    ask(client, text={"format": form})

    assert last_request(engine).format == wanted


def part(**fields: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": [fields]}]}


GO = "json: cannot unmarshal"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"input": ""}, 400, "input must not be empty"),
        ({"input": []}, 400, "input must not be empty"),
        (
            {"input": 7},
            400,
            f"input must be a string or array: {GO} number into Go value of type []json.RawMessage",
        ),
        (
            {"input": ["Hi"]},
            400,
            f"input[0]: {GO} string into Go value of type openai.ResponsesInputItem",
        ),
        ({"input": [{"type": "video"}]}, 400, 'input[0]: unknown input item type: "video"'),
        ({"input": [{}]}, 400, "input[0]: input item missing required 'type' field"),
        (part(type="video"), 400, "input[0]: content[0]: unknown content type: video"),
        (part(type="input_file"), 400, "input[0]: file inputs are not currently supported"),
        (part(type="input_image", file_id="f"), 400, f'"{MODEL}" does not support images'),
        (
            part(type="input_image", image_url="data:image/png;base64,iVBORw0KGgo="),
            400,
            f'"{MODEL}" does not support images',
        ),
        (
            part(type="input_image", image_url="http://x/y"),
            400,
            "input[0]: image URLs are not currently supported, please use base64 encoded data "
            "instead",
        ),
        (
            {"input": [{"type": "function_call", "name": "a", "arguments": "[]"}]},
            400,
            "input[0]: failed to parse function call arguments: the arguments are no object",
        ),
        (
            {"input": [{"type": "function_call_output", "output": {}}]},
            400,
            f"input[0]: output must be a string or array: {GO} object into Go value of type "
            "[]json.RawMessage",
        ),
        (
            {"previous_response_id": "resp_1"},
            400,
            "previous_response_id is not supported: this service stores nothing; send the whole "
            "conversation as input",
        ),
        (
            {"conversation": {"id": "conv_1"}},
            400,
            "conversation is not supported: this service stores nothing; send the whole "
            "conversation as input",
        ),
        (
            {"reasoning": {"effort": "banana"}},
            400,
            'invalid reasoning value: "banana" (must be "minimal", "low", "medium", "high", '
            '"xhigh", "ultra", "max", or "none")',
        ),
    ],
)
def test_a_wrong_request_gets_ollamas_message(
    client: FlaskClient, body: Any, status: int, words: str
) -> None:
    raw = isinstance(body, bytes)
    reply = client.post(ROUTE, data=body) if raw else ask(client, **body)

    assert reply.status_code == status
    kind = {400: "invalid_request_error", 404: "not_found_error"}[status]
    assert reply.get_json() == {
        "error": {"message": words, "type": kind, "param": None, "code": None}
    }


def test_tools_that_openai_runs_are_left_out(
    client: FlaskClient, engine: FakeEngine, models: FakeModels
) -> None:
    models.model = QWEN

    assert ask(client, tools=[{"type": "web_search"}]).status_code == 200
    assert last_request(engine).tools == ()
