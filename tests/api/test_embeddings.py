"""Embeddings over Ollama's and OpenAI's APIs."""

from __future__ import annotations

import base64
import struct
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from axproxy.api.ollama.embeddings import normalised
from axproxy.errors import ClientError
from axproxy.settings import Settings
from backend import create_app
from tests.support.fakes import QWEN, FakeEngine, FakeModels

NAME = "qwen3-embedding:0.6b"
MODEL = replace(QWEN, name=NAME, capabilities=("embedding",))


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def client(engine: FakeEngine) -> FlaskClient:
    return create_app(Settings(), engine, FakeModels(MODEL)).test_client()


def test_each_text_becomes_a_vector_of_length_one(client: FlaskClient, engine: FakeEngine) -> None:
    reply = client.post("/api/embed", json={"model": NAME, "input": ["Hi", "Ho"]})

    assert reply.get_json() == {
        "model": NAME,
        "embeddings": [[0.6, 0.8, 0.0], normalised([3.0, 4.0, 1.0])],
        "total_duration": 1_500_000_000,
        "load_duration": 250_000_000,
        "prompt_eval_count": 14,
    }
    (asked,) = engine.embedded
    assert (asked.inputs, asked.truncate) == (("Hi", "Ho"), True)


@pytest.mark.parametrize(
    ("given", "inputs"),
    [("Hi", ("Hi",)), (["Hi"], ("Hi",)), ([], ()), (None, ()), ("", ("",))],
    ids=["text", "list", "no texts", "null", "empty text"],
)
def test_one_text_or_several_or_none_may_be_given(
    client: FlaskClient, engine: FakeEngine, given: Any, inputs: tuple[str, ...]
) -> None:
    body = {"model": NAME, "input": given, "truncate": False, "keep_alive": "5m"}
    reply = client.post("/api/embed", json=body)

    assert reply.status_code == 200
    assert len(reply.get_json()["embeddings"]) == len(inputs)
    (asked,) = engine.embedded
    assert (asked.inputs, asked.truncate, asked.keep_alive) == (inputs, False, 300.0)


def test_the_older_route_returns_the_vector_as_the_model_gives_it(client: FlaskClient) -> None:
    body = {"model": NAME, "prompt": "Hi"}
    assert client.post("/api/embeddings", json=body).get_json() == {"embedding": [3.0, 4.0, 0.0]}
    empty = client.post("/api/embeddings", json={"model": NAME, "prompt": ""})
    assert empty.get_json() == {"embedding": []}


def test_fewer_dimensions_are_the_first_ones_at_length_one(client: FlaskClient) -> None:
    body = {"model": NAME, "input": "Hi", "dimensions": 1}

    assert client.post("/api/embed", json=body).get_json()["embeddings"] == [[1.0]]
    assert client.post("/v1/embeddings", json=body).get_json()["data"][0]["embedding"] == [1.0]


def test_openais_api_gives_numbers_or_their_bytes(client: FlaskClient) -> None:
    body = {"model": NAME, "input": ["Hi"]}
    assert client.post("/v1/embeddings", json=body).get_json() == {
        "object": "list",
        "data": [{"object": "embedding", "embedding": [0.6, 0.8, 0.0], "index": 0}],
        "model": NAME,
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }
    packed = client.post("/v1/embeddings", json={**body, "encoding_format": "base64"}).get_json()
    values = struct.unpack("<3f", base64.b64decode(packed["data"][0]["embedding"]))
    assert values == pytest.approx((0.6, 0.8, 0.0))


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/api/embed", {"input": 7}, "invalid input type"),
        ("/api/embed", {"input": [[1, 2]]}, "invalid input type"),
        ("/api/embed", {"input": ["a"] * 2049}, "more than 2048 inputs"),
        ("/api/embed", {"input": "a", "dimensions": -1}, "dimensions must be at least 0"),
        ("/api/embed", {"input": "a", "dimensions": 1025}, "at most 1024"),
        ("/v1/embeddings", {"input": [1, 2]}, "invalid input type"),
        ("/v1/embeddings", {"input": "a", "encoding_format": "hex"}, "encoding_format"),
    ],
)
def test_what_cannot_be_embedded_is_refused(
    client: FlaskClient, engine: FakeEngine, path: str, body: dict[str, Any], message: str
) -> None:
    reply = client.post(path, json={"model": NAME, **body})

    assert reply.status_code == 400
    assert message in str(reply.get_json()["error"])
    assert not engine.embedded


def test_a_text_that_must_not_be_cut_is_refused_in_ollamas_words(
    client: FlaskClient, engine: FakeEngine
) -> None:
    engine.refusal = ClientError("the input length exceeds the context length")
    reply = client.post("/api/embed", json={"model": NAME, "input": "x", "truncate": False})

    assert (reply.status_code, reply.get_json()) == (
        400,
        {"error": "the input length exceeds the context length"},
    )


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/api/chat", {"messages": [{"role": "user", "content": "Hi"}]}, "chat"),
        ("/api/generate", {"prompt": "Hi"}, "generate"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}, "chat"),
        ("/v1/completions", {"prompt": "Hi"}, "generate"),
        ("/v1/responses", {"input": "Hi"}, "chat"),
        (
            "/v1/messages",
            {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5},
            "chat",
        ),
        ("/generate", {"prompt": "Hi"}, "generate"),
    ],
)
def test_an_embedding_model_refuses_to_answer(
    client: FlaskClient, engine: FakeEngine, path: str, body: dict[str, Any], message: str
) -> None:
    reply = client.post(path, json={"model": NAME, **body})

    assert reply.status_code == 400
    assert f"does not support {message}" in reply.get_data(as_text=True)
    assert not engine.history


def test_an_embedding_model_can_be_unloaded_like_any_other(
    client: FlaskClient, engine: FakeEngine
) -> None:
    reply = client.post("/api/generate", json={"model": NAME, "keep_alive": 0})

    assert reply.get_json()["done_reason"] == "unload"
    assert engine.unloads == 1


def test_a_vector_of_zeros_stays_one() -> None:
    assert normalised([0.0, 0.0]) == [0.0, 0.0]
    assert normalised([]) == []
