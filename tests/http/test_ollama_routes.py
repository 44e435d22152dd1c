"""Ollama's API over HTTP."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from axproxy.errors import Busy, GaveUp, PromptTooLong, Starting
from axproxy.messages import Message
from tests.fakes import CARD, FakeEngine

DETAILS = {
    "parent_model": "",
    "format": "axmodel",
    "family": "qwen3",
    "families": ["qwen3"],
    "parameter_size": "0.6B",
    "quantization_level": "W8A16",
}

# What is posted, and Ollama's status and text for it.
CHAT, GENERATE, SHOW = "/api/chat", "/api/generate", "/api/show"
USER = '"messages":[{"role":"user","content":"Hi"}]'
MISFIT = "json: cannot unmarshal {} into Go {}".format
ERRORS = [
    (CHAT, "", 400, "missing request body"),
    (GENERATE, "  ", 400, "missing request body"),
    (SHOW, "", 400, "missing request body"),
    (CHAT, "{", 400, "unexpected EOF"),
    (CHAT, "hello", 400, "invalid character 'h' looking for beginning of value"),
    (CHAT, "[]", 400, MISFIT("array", "value of type api.ChatRequest")),
    (GENERATE, "3", 400, MISFIT("number", "value of type api.GenerateRequest")),
    (SHOW, '"x"', 400, MISFIT("string", "value of type api.ShowRequest")),
    (CHAT, "null", 400, "model is required"),
    (
        CHAT,
        '{"stream":"no"}',
        400,
        MISFIT("string", "struct field ChatRequest.stream of type bool"),
    ),
    (CHAT, '{"model":1}', 400, MISFIT("number", "struct field ChatRequest.model of type string")),
    (
        CHAT,
        '{"messages":{}}',
        400,
        MISFIT("object", "struct field ChatRequest.messages of type []api.Message"),
    ),
    (
        CHAT,
        '{"messages":["Hi"]}',
        400,
        MISFIT("string", "struct field ChatRequest.messages of type api.Message"),
    ),
    (
        CHAT,
        '{"messages":[{"content":[{"type":"text"}]}]}',
        400,
        MISFIT("array", "struct field ChatRequest.messages.content of type string"),
    ),
    (
        GENERATE,
        '{"prompt":true}',
        400,
        MISFIT("bool", "struct field GenerateRequest.prompt of type string"),
    ),
    (
        GENERATE,
        '{"options":[]}',
        400,
        MISFIT("array", "struct field GenerateRequest.options of type map[string]interface {}"),
    ),
    (CHAT, "{}", 400, "model is required"),
    (CHAT, '{"model":""}', 400, "model is required"),
    (SHOW, '{"name":""}', 400, "model is required"),
    (GENERATE, "{}", 404, "model '' not found"),
    (GENERATE, '{"model":"nope"}', 404, "model 'nope' not found"),
    (CHAT, '{"model":"nope"}', 404, "model 'nope' not found"),
    (SHOW, '{"model":"nope"}', 404, "model 'nope:latest' not found"),
    (CHAT, '{"keep_alive":"banana"}', 400, 'time: invalid duration "banana"'),
    (CHAT, '{"keep_alive":"10"}', 400, 'time: missing unit in duration "10"'),
    (GENERATE, '{"keep_alive":true}', 400, "Unsupported type: 'bool'"),
    (
        GENERATE,
        '{"model":"qwen3:0.6b","prompt":"a","raw":true,"system":"b"}',
        400,
        "raw mode does not support template, system, or context",
    ),
    (
        GENERATE,
        '{"model":"qwen3:0.6b","prompt":"a","suffix":"b"}',
        400,
        "registry.ollama.ai/library/qwen3:0.6b does not support insert",
    ),
    (
        CHAT,
        '{"model":"Qwen3:0.6b","tools":[{}],' + USER + "}",
        400,
        "registry.ollama.ai/library/qwen3:0.6b does not support tools",
    ),
    (
        GENERATE,
        '{"model":"Qwen3:0.6b","prompt":"a","images":["QUJD"]}',
        400,
        '"Qwen3:0.6b" does not support images',
    ),
    (
        CHAT,
        '{"model":"qwen3:0.6b","messages":[{"images":["QUJD"]}]}',
        400,
        '"qwen3:0.6b" does not support images',
    ),
    *(
        (CHAT, f'{{"model":"qwen3:0.6b",{USER},"options":{{"{name}":{value}}}}}', 500, says)
        for name, value, says in [
            ("temperature", '"hot"', 'option "temperature" must be of type float32'),
            ("temperature", "true", 'option "temperature" must be of type float32'),
            ("top_k", "[]", 'option "top_k" must be of type integer'),
            ("num_ctx", "false", 'option "num_ctx" must be of type integer'),
            ("use_mmap", "1", 'option "use_mmap" must be of type boolean'),
            ("stop", '"END"', 'option "stop" must be of type array'),
            ("stop", "[1]", 'option "stop" must be of an array of strings'),
        ]
    ),
    *(
        (
            GENERATE,
            f'{{"model":"qwen3:0.6b","prompt":"","keep_alive":{zero}}}',
            501,
            "unloading a model is not available: it stays loaded as long as the service runs; "
            "to free the card, stop the service",
        )
        for zero in ("0", '"0s"')
    ),
]


@pytest.mark.parametrize(("path", "body", "status", "says"), ERRORS)
def test_errors_are_ollamas(
    client: FlaskClient, engine: FakeEngine, path: str, body: str, status: int, says: str
) -> None:
    reply = client.post(path, data=body)

    assert reply.get_json() == {"error": says}
    assert reply.status_code == status
    assert reply.content_type == "application/json; charset=utf-8"
    assert not engine.history
    assert not engine.loads


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


def test_the_root_says_the_words_that_clients_look_for(client: FlaskClient) -> None:
    assert client.get("/").data == b"Ollama is running"
    assert client.get("/api/version").data == b'{"version":"0.32.0"}'


def test_tags_lists_the_resident_model(client: FlaskClient) -> None:
    assert client.get("/api/tags").get_json() == {
        "models": [
            {
                "name": "qwen3:0.6b",
                "model": "qwen3:0.6b",
                "modified_at": "2026-11-20T12:25:47.000000Z",
                "size": 780_000_000,
                "digest": CARD.digest,
                "details": {**DETAILS, "context_length": 2559, "embedding_length": 0},
                "capabilities": ["completion"],
            }
        ]
    }


def test_ps_lists_the_model_once_it_is_loaded(client: FlaskClient, engine: FakeEngine) -> None:
    (model,) = client.get("/api/ps").get_json()["models"]
    expires = datetime.fromisoformat(model.pop("expires_at"))

    assert (expires - datetime.now(UTC)).days > 290 * 365
    assert model == {
        "name": "qwen3:0.6b",
        "model": "qwen3:0.6b",
        "size": 780_000_000,
        "digest": CARD.digest,
        "details": DETAILS,
        "size_vram": 780_000_000,
        "context_length": 2559,
    }
    engine.problem = Starting("the model is being loaded")
    assert client.get("/api/ps").data == b'{"models":[]}'
    assert client.head("/api/ps").status_code == 405


def test_show_describes_the_model(client: FlaskClient, engine: FakeEngine) -> None:
    reply = client.post("/api/show", data=b'{"model":"","name":"library/qwen3:0.6b"}').get_json()

    assert reply == {
        "details": DETAILS,
        "model_info": {
            "general.architecture": "qwen3",
            "general.basename": "qwen3",
            "qwen3.context_length": 2559,
        },
        "capabilities": ["completion"],
        "modified_at": "2026-11-20T12:25:47.000000Z",
    }
    engine.the_card = replace(CARD, context_length=None)
    reply = client.post("/api/show", json={"model": "qwen3:0.6b"}).get_json()
    assert not any("context_length" in key for key in reply["model_info"])
    assert client.get("/api/tags").get_json()["models"][0]["details"]["context_length"] == 0


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


def test_a_chat_streams_by_itself(client: FlaskClient, engine: FakeEngine) -> None:
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


def test_a_completion_streams_by_itself(client: FlaskClient) -> None:
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


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
def test_a_load_is_answered_once_the_model_is_there(
    client: FlaskClient, engine: FakeEngine, path: str
) -> None:
    reply = client.post(path, json={"model": "qwen3:0.6b", "stream": True})

    assert reply.get_json()["done_reason"] == "load"
    assert reply.content_type == "application/json; charset=utf-8"
    assert engine.loads == 1
    engine.refusal = GaveUp("the runtime failed too often")
    assert client.post(path, json={"model": "qwen3:0.6b"}).status_code == 503


@pytest.mark.parametrize(
    ("error", "status", "retry_after", "says"),
    [
        (
            Busy("full", retry_after=7),
            503,
            "7",
            "server busy, please try again.  maximum pending requests exceeded",
        ),
        (Starting("the model is being loaded"), 503, "5", "the model is being loaded"),
        (GaveUp("ask an operator"), 503, None, "ask an operator"),
        (PromptTooLong("too long"), 400, None, "too long"),
    ],
)
def test_what_the_engine_refuses_has_a_status_and_a_time_to_try_again(
    client: FlaskClient,
    engine: FakeEngine,
    error: Exception,
    status: int,
    retry_after: str | None,
    says: str,
) -> None:
    engine.refusal = error
    reply = client.post("/api/generate", json={"model": "qwen3:0.6b", "prompt": "Hi"})

    assert (reply.status_code, reply.headers.get("Retry-After")) == (status, retry_after)
    assert reply.get_json() == {"error": says}


def test_the_content_type_of_a_request_does_not_matter(client: FlaskClient) -> None:
    for content_type in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data"):
        reply = client.post(
            "/api/generate?ts=1",
            data='{"MODEL":"qwen3:0.6b","Prompt":"Hi"} and more',
            content_type=content_type,
        )
        assert reply.status_code == 200
