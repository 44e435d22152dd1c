"""Ollama's API over HTTP."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from axproxy.engine.protocol import Loaded
from axproxy.errors import GaveUp
from axproxy.messages import Finished, Message, Thinking, ToolCall
from tests.support.fakes import QWEN, USAGE, FakeEngine, FakeModels

DETAILS = {
    "parent_model": "",
    "format": "axmodel",
    "family": "qwen3",
    "families": ["qwen3"],
    "parameter_size": "0.6B",
    "quantization_level": "W8A16",
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/plain; charset=utf-8"),
        ("/api/version", "application/json; charset=utf-8"),
        ("/api/tags", "application/json; charset=utf-8"),
    ],
)
def test_the_handshake_answers_get_and_head(
    client: FlaskClient, method: str, path: str, content_type: str
) -> None:
    reply = client.open(path, method=method)

    assert reply.status_code == 200
    assert reply.content_type == content_type
    assert bool(reply.data) == (method == "GET")


def test_the_root_returns_the_words_that_clients_look_for(client: FlaskClient) -> None:
    assert client.get("/").data == b"Ollama is running"
    assert client.get("/api/version").data == b'{"version":"0.33.0"}'


def test_tags_lists_the_model(client: FlaskClient) -> None:
    assert client.get("/api/tags").get_json() == {
        "models": [
            {
                "name": "qwen3:0.6b",
                "model": "qwen3:0.6b",
                "modified_at": "2026-11-20T12:25:47.000000Z",
                "size": 780_000_000,
                "digest": QWEN.digest,
                "details": {**DETAILS, "context_length": 2559, "embedding_length": 1024},
                "capabilities": ["completion"],
            }
        ]
    }


def test_capabilities_are_listed_and_allow_what_was_refused(
    client: FlaskClient, engine: FakeEngine, models: FakeModels
) -> None:
    asks = {
        "model": "qwen3:0.6b",
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "think": "high",
        "stream": False,
    }
    assert client.post("/api/chat", json=asks).status_code == 400
    models.model = replace(QWEN, capabilities=("completion", "tools", "thinking"))
    engine.script = (Thinking("Hm"), ToolCall("f", {"a": 1}, "call_1"), Finished("stop", USAGE))

    (model,) = client.get("/api/tags").get_json()["models"]
    assert model["capabilities"] == ["completion", "tools", "thinking"]
    reply = client.post("/api/chat", json=asks).get_json()
    assert reply["message"] == {
        "role": "assistant",
        "content": "",
        "thinking": "Hm",
        "tool_calls": [
            {"id": "call_1", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}
        ],
    }
    assert reply["done_reason"] == "stop"
    assert engine.history[-1].tools == (asks["tools"][0],)


def test_ps_lists_the_model_once_it_is_loaded(client: FlaskClient, engine: FakeEngine) -> None:
    (model,) = client.get("/api/ps").get_json()["models"]
    expires = datetime.fromisoformat(model.pop("expires_at"))

    assert (expires - datetime.now(UTC)).days > 290 * 365
    assert model == {
        "name": "qwen3:0.6b",
        "model": "qwen3:0.6b",
        "size": 780_000_000,
        "digest": QWEN.digest,
        "details": DETAILS,
        "size_vram": 780_000_000,
        "context_length": 2559,
    }
    at = datetime(2026, 11, 21, 10, 30, tzinfo=timezone(timedelta(hours=2)))
    engine.on_card = (Loaded(QWEN, at),)
    (model,) = client.get("/api/ps").get_json()["models"]
    assert model["expires_at"] == "2026-11-21T08:30:00.000000Z"
    engine.on_card = ()
    assert client.get("/api/ps").data == b'{"models":[]}'


def lines(client: FlaskClient, path: str, **fields: Any) -> list[dict[str, Any]]:
    reply = client.post(path, json={"model": " QWEN3:0.6b", **fields})
    assert reply.status_code == 200
    assert reply.content_type == "application/x-ndjson"
    parsed = [json.loads(line) for line in reply.data.splitlines()]
    for line in parsed:
        assert line.pop("model") == " QWEN3:0.6b"
        assert len(line.pop("created_at")) == len("2026-11-20T12:00:00.000000Z")
    return parsed


STATISTICS = {
    "total_duration": 1_500_000_000,
    "load_duration": 250_000_000,
    "prompt_eval_count": 12,
    "prompt_eval_duration": 500_000_000,
    "eval_count": 2,
    "eval_duration": 125_000_000,
}


def test_a_chat_streams_by_default(client: FlaskClient, engine: FakeEngine) -> None:
    assert lines(client, "/api/chat", messages=[{"role": "user", "content": "Hi"}]) == [
        {"message": {"role": "assistant", "content": "Hel"}, "done": False},
        {"message": {"role": "assistant", "content": "lo"}, "done": False},
        {
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": "stop",
            **STATISTICS,
        },
    ]
    assert engine.history[0].messages == (Message("user", "Hi"),)


def test_a_completion_streams_by_default(client: FlaskClient) -> None:
    assert lines(client, "/api/generate", prompt="Hi", stream=None) == [
        {"response": "Hel", "done": False},
        {"response": "lo", "done": False},
        {"response": "", "done": True, "done_reason": "stop", **STATISTICS},
    ]


@pytest.mark.parametrize(
    ("path", "question", "answer"),
    [
        ("/api/generate", {"prompt": "Hi"}, {"response": "Hello"}),
        (
            "/api/chat",
            {"messages": [{"role": "user", "content": "Hi"}]},
            {"message": {"role": "assistant", "content": "Hello"}},
        ),
    ],
)
def test_without_streaming_the_answer_is_one_object(
    client: FlaskClient, path: str, question: dict[str, Any], answer: dict[str, Any]
) -> None:
    reply = client.post(path, json={"model": "qwen3:0.6b", "stream": False, **question})
    body = reply.get_json()
    body.pop("created_at")

    assert body == {
        "model": "qwen3:0.6b",
        **answer,
        "done": True,
        "done_reason": "stop",
        **STATISTICS,
    }
    assert reply.content_type == "application/json; charset=utf-8"


EMPTY = {"/api/generate": {"response": ""}}
EMPTY["/api/chat"] = {"message": {"role": "assistant", "content": ""}}


def only_object(reply: TestResponse) -> dict[str, Any]:
    assert reply.status_code == 200
    assert reply.content_type == "application/json; charset=utf-8"
    body: dict[str, Any] = reply.get_json()
    del body["created_at"]
    return body


@pytest.mark.parametrize("path", EMPTY)
@pytest.mark.parametrize("stream", [True, False, None])
def test_a_load_is_answered_once_the_model_is_loaded(
    client: FlaskClient, engine: FakeEngine, path: str, stream: bool | None
) -> None:
    body = {"model": "Qwen3:0.6b", "stream": stream, "keep_alive": "5m"}
    reply = client.post(path, json=body)

    loaded = {"model": "Qwen3:0.6b", **EMPTY[path], "done": True, "done_reason": "load"}
    assert only_object(reply) == loaded
    assert engine.loads == [300]
    engine.refusal = GaveUp("the runtime failed too often")
    assert client.post(path, json=body).status_code == 503


@pytest.mark.parametrize("path", EMPTY)
def test_an_unload_is_answered_at_once_even_when_nothing_is_loaded(
    client: FlaskClient, engine: FakeEngine, path: str
) -> None:
    engine.on_card, engine.refusal = (), GaveUp("the runtime failed too often")
    reply = client.post(path, json={"model": "qwen3:0.6b", "keep_alive": "0s"})

    unloaded = {"model": "qwen3:0.6b", **EMPTY[path], "done": True, "done_reason": "unload"}
    assert only_object(reply) == unloaded
    assert (engine.loads, engine.unloads) == ([], 1)


def test_keep_alive_reaches_the_engine(client: FlaskClient, engine: FakeEngine) -> None:
    for value in (0, "5m", -1, None):
        client.post(
            "/api/generate", json={"model": "qwen3:0.6b", "prompt": "Hi", "keep_alive": value}
        )

    assert [request.keep_alive for request in engine.history] == [0, 300, math.inf, None]


def test_the_content_type_of_a_request_does_not_matter(client: FlaskClient) -> None:
    for content_type in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data"):
        reply = client.post(
            "/api/generate?ts=1",
            data='{"MODEL":"qwen3:0.6b","Prompt":"Hi"} and more',
            content_type=content_type,
        )
        assert reply.status_code == 200


@pytest.mark.parametrize(
    ("path", "fields", "content"),
    [
        (
            "/api/chat",
            {"messages": [{"role": "user", "content": "Hi"}]},
            {"message": {"role": "assistant", "content": ""}},
        ),
        ("/api/generate", {"prompt": "Hi"}, {"response": ""}),
    ],
)
def test_a_client_can_ask_for_the_prompt_instead_of_an_answer(
    client: FlaskClient,
    engine: FakeEngine,
    path: str,
    fields: dict[str, Any],
    content: dict[str, Any],
) -> None:
    reply = client.post(path, json={"model": QWEN.name, "_debug_render_only": True, **fields})
    body: dict[str, Any] = reply.get_json()

    assert body.pop("created_at")
    assert body == {
        "model": QWEN.name,
        **content,
        "done": False,
        "_debug_info": {"rendered_template": "<|im_start|>Hi"},
    }
    assert engine.answers == []
