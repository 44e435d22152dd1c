"""Our own small API over HTTP."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from axproxy.errors import GaveUp, RuntimeGone
from axproxy.messages import ChatRequest, Limits, Message, Sampling, Text
from tests.support.fakes import QWEN, FakeEngine, FakeModels

ENDING = {
    "finish_reason": "stop",
    "usage": {"prompt_tokens": 12, "completion_tokens": 2, "total_tokens": 14},
    "timings": {"total_ms": 1500.0, "load_ms": 250.0, "prompt_eval_ms": 500.0, "eval_ms": 125.0},
}


def test_a_prompt_is_answered_with_one_object(client: FlaskClient, engine: FakeEngine) -> None:
    reply = client.post("/generate", json={"prompt": "Hi"})

    assert reply.get_json() == {"text": "Hello", **ENDING}
    assert reply.content_type == "application/json; charset=utf-8"
    assert engine.history == [ChatRequest((Message("user", "Hi"),), think=False)]


def test_a_prompt_is_answered_line_by_line_on_request(client: FlaskClient) -> None:
    reply = client.post("/generate", json={"prompt": "Hi", "stream": True})

    assert [json.loads(line) for line in reply.data.splitlines()] == [
        {"text": "Hel"},
        {"text": "lo"},
        {"text": "", "done": True, **ENDING},
    ]
    assert reply.content_type == "application/x-ndjson"


def test_a_stream_that_breaks_ends_with_the_error(client: FlaskClient, engine: FakeEngine) -> None:
    engine.script = [Text("Hel"), RuntimeGone("it died")]
    reply = client.post("/generate", json={"prompt": "Hi", "stream": True})

    assert reply.status_code == 200
    assert reply.data == b'{"text":"Hel"}\n{"error":"it died"}\n'


def test_every_parameter_reaches_the_engine(client: FlaskClient, engine: FakeEngine) -> None:
    client.post(
        "/generate",
        json={
            "prompt": "Hi",
            "system": "Be brief.",
            "max_tokens": 64.0,
            "temperature": 1,
            "top_p": 0.5,
            "top_k": 40,
            "repetition_penalty": 1.1,
            "stop": ["a", "b"],
            "model": "QWEN3:0.6b",
        },
    )

    assert engine.history == [
        ChatRequest(
            messages=(Message("system", "Be brief."), Message("user", "Hi")),
            requested_name="QWEN3:0.6b",
            sampling=Sampling(1.0, 40, 0.5, 1.1),
            limits=Limits(64, ("a", "b")),
            think=False,
        )
    ]


def test_null_is_the_same_as_nothing_and_one_stop_string_needs_no_list(
    client: FlaskClient, engine: FakeEngine
) -> None:
    client.post("/generate", json={"prompt": "Hi", "max_tokens": None, "stop": "END", "x": 1})

    assert engine.history == [
        ChatRequest((Message("user", "Hi"),), limits=Limits(None, ("END",)), think=False)
    ]


REFUSED = [
    ("", "prompt is required and must be a string that is not empty"),
    ("{}", "prompt is required and must be a string that is not empty"),
    ('{"prompt":""}', "prompt must be a string that is not empty"),
    ('{"prompt":["a"]}', "prompt must be a string that is not empty"),
    (
        "hello",
        "the body is not JSON: invalid character 'h' looking for beginning of value; "
        'send an object such as {"prompt": "Why is the sky blue?"}',
    ),
    ("[]", 'the body must be a JSON object such as {"prompt": "Why is the sky blue?"}'),
    *(
        (f'{{"prompt":"Hi","{name}":{value}}}', f"{name} must be {allowed}")
        for name, values, allowed in [
            ("max_tokens", ("0", "-1", "1.5", "true", '"64"'), "a whole number of at least 1"),
            ("temperature", ("-0.1", "100.1", "true", '"hot"'), "a number from 0 to 100"),
            ("top_p", ("-0.1", "1.1", "[]"), "a number from 0 to 1"),
            ("top_k", ("-1", "0.5"), "a whole number of at least 0"),
            ("top_k", ("151937",), "a whole number from 0 to 151936, the model's vocabulary"),
            ("repetition_penalty", ("0", "10.1", "{}"), "a number above 0 and up to 10"),
            ("stop", ("1", "[1]", "{}"), "a string or a list of strings"),
            ("stream", ('"yes"', "1"), "true or false"),
            ("system", ("1",), "a string"),
            ("model", ("1",), "a string"),
        ]
        for value in values
    ),
]


@pytest.mark.parametrize(("body", "says"), REFUSED)
def test_a_refusal_names_the_field_and_what_is_allowed(
    client: FlaskClient, engine: FakeEngine, body: str, says: str
) -> None:
    reply = client.post("/generate", data=body)

    assert reply.get_json() == {"error": says}
    assert reply.status_code == 400
    assert not engine.history


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("max_token", "max_tokens"),
        ("max-tokens", "max_tokens"),
        ("maxTokens", "max_tokens"),
        ("Max_Tokens", "max_tokens"),
        ("num_predict", "max_tokens"),
        ("temprature", "temperature"),
        ("repeat_penalty", "repetition_penalty"),
        ("stop_sequences", "stop"),
        ("systen", "system"),
        ("topk", "top_k"),
        ("modelpath", "model_path"),
    ],
)
def test_a_misspelt_field_is_refused_with_the_nearest_name(
    client: FlaskClient, engine: FakeEngine, name: str, meant: str
) -> None:
    for path in ("/generate", "/load"):
        reply = client.post(path, json={"prompt": "Hi", name: 5})
        assert reply.status_code == 400
        assert reply.get_json() == {"error": f'unknown field "{name}"; did you mean {meant}?'}
    assert not engine.history
    assert not engine.loads


@pytest.mark.parametrize(
    "fields", [{"seed": 1}, {"user": "me"}, {"max_token": None}, {"x" * 5000: 1}, {"": 1}]
)
def test_a_field_that_is_like_none_of_ours_is_ignored(
    client: FlaskClient, fields: dict[str, object]
) -> None:
    assert client.post("/generate", json={"prompt": "Hi", **fields}).status_code == 200


def test_a_body_of_many_unknown_fields_costs_no_time(client: FlaskClient) -> None:
    fields = {f"max_tokenz_{number}_of_many_names_that_nobody_needs": 1 for number in range(9)}
    many = {f"{number}": 1 for number in range(150_000)} | fields
    assert client.post("/generate", json={"prompt": "Hi", **many}).status_code == 200


def test_another_model_is_not_found(client: FlaskClient) -> None:
    for path, body in (("/generate", {"prompt": "Hi"}), ("/load", {})):
        reply = client.post(path, json={**body, "model": "nope"})
        assert reply.status_code == 404
        assert reply.get_json() == {
            "error": "model 'nope' not found; this service has 'qwen3:0.6b'"
        }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"model":"qwen3:0.6b"}',
        b'{"model_path":"/models/qwen3-0.6b"}',
        b'{"model_path":"/models/other/../qwen3-0.6b/"}',
        b'{"model":"qwen3:0.6b","model_path":null}',
    ],
)
def test_load_waits_for_the_configured_model(
    client: FlaskClient, engine: FakeEngine, body: bytes
) -> None:
    reply = client.post("/load", data=body)

    assert engine.loads == [None]
    assert reply.get_json() == {
        "status": "ok",
        "model": "qwen3:0.6b",
        "model_path": "/models/qwen3-0.6b",
    }


def test_a_link_to_the_models_folder_is_the_models_folder(
    client: FlaskClient, models: FakeModels, tmp_path: Path
) -> None:
    folder, link = tmp_path / "model", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    models.model = replace(QWEN, folder=link)

    assert client.post("/load", json={"model_path": str(folder)}).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/models/other", "/models/a\0b", "\ud800", "/models/qwen3-0.6b/..", "/a" * 1_000_000, "/etc"],
    ids=lambda path: ascii(path)[:20],
)
@pytest.mark.parametrize("folder", [QWEN.folder, None])
def test_load_says_how_to_use_another_model(
    client: FlaskClient,
    engine: FakeEngine,
    models: FakeModels,
    path: str,
    folder: Path | None,
) -> None:
    models.model = replace(QWEN, folder=folder)
    reply = client.post("/load", json={"model_path": path})

    assert reply.status_code == 400
    assert reply.get_json()["error"].endswith(
        "to use another one, set AX650_MODEL_PATH and restart the service"
    )
    assert engine.loads == []


def test_load_does_not_reveal_the_folder_of_the_model(client: FlaskClient, tmp_path: Path) -> None:
    reply = client.post("/load", json={"model_path": str(tmp_path)})

    assert str(QWEN.folder) not in reply.text
    assert str(tmp_path) not in reply.text


def test_load_says_why_the_model_cannot_be_loaded(client: FlaskClient, engine: FakeEngine) -> None:
    engine.refusal = GaveUp("the runtime failed too often; see the log")

    reply = client.post("/load")
    assert reply.status_code == 503
    assert reply.get_json() == {"error": "the runtime failed too often; see the log"}
