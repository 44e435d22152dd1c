"""Checks in every dialect how requests are read and refused."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from axproxy.api.http.requests import LARGEST_BODY
from axproxy.errors import PromptTooLong
from axproxy.messages import Message
from tests.support.dialects import (
    ANTHROPIC_MESSAGES,
    DIALECTS,
    MODEL,
    NATIVE,
    OLLAMA_GENERATE,
    OPENAI_RESPONSES,
    PARAMETERS,
    Dialect,
)
from tests.support.fakes import QWEN, FakeEngine, FakeModels

both_ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
HI = Message("user", "Hi")
HERE = f"; this service has '{MODEL}'"


def only(wanted: str) -> pytest.MarkDecorator:
    """Run a test for the dialects that have this field."""
    chosen = [dialect for dialect in DIALECTS if getattr(dialect, wanted)]
    return pytest.mark.parametrize("dialect", chosen, ids=str)


@pytest.fixture(params=DIALECTS, ids=str)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    dialect: Dialect = request.param
    return dialect


@pytest.fixture
def models() -> FakeModels:
    return FakeModels(replace(QWEN, capabilities=("completion", "tools", "thinking")))


# What reaches the engine


@both_ways
def test_a_prompt_is_one_user_turn(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect, stream: bool
) -> None:
    dialect.ask(client, stream)

    (request,) = engine.history
    assert request.messages == (HI,)
    assert (request.requested_name, request.stream) == (MODEL, stream)
    assert request.limits.stop == ()
    assert (request.tools, request.format, request.raw) == ((), None, False)


def test_the_model_name_is_kept_as_the_client_wrote_it(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect
) -> None:
    for name in ("QWEN3:0.6B", " qwen3:0.6b "):
        assert dialect.ask(client, model=name).status_code == 200
        assert engine.history[-1].requested_name == name


def test_limits_and_temperature_reach_the_engine(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect
) -> None:
    dialect.ask(client, **dialect.max_tokens)
    dialect.ask(client, **dialect.temperature)

    limited, sampled = engine.history
    assert limited.limits.max_tokens == 5
    assert sampled.sampling.temperature == 0.25


@only("stop")
def test_stop_strings_reach_the_engine(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect
) -> None:
    dialect.ask(client, **dialect.stop or {})

    assert engine.history[0].limits.stop == ("END",)


@only("system")
def test_a_system_prompt_is_the_first_turn(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect
) -> None:
    dialect.ask(client, **dialect.system or {})

    assert engine.history[0].messages == (Message("system", "Be brief."), HI)


@only("tools")
def test_tools_reach_the_engine_in_one_format(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect
) -> None:
    dialect.ask(client, **dialect.tools or {})

    function = {"name": "weather", "parameters": PARAMETERS}
    assert engine.history[0].tools == ({"type": "function", "function": function},)


@only("must_call")
def test_a_demand_for_a_call_reaches_the_engine_if_there_are_tools(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect
) -> None:
    dialect.ask(client, **dialect.tools or {})
    dialect.ask(client, **dialect.must_call or {})
    dialect.ask(client, **dialect.tools or {}, **dialect.must_call or {})

    assert [request.must_call for request in engine.history] == [False, False, True]


@pytest.mark.parametrize(
    ("dialect", "path", "reply"),
    [
        (ANTHROPIC_MESSAGES, "/v1/messages/count_tokens", {"input_tokens": 12}),
        (
            OPENAI_RESPONSES,
            "/v1/responses/input_tokens",
            {"object": "response.input_tokens", "input_tokens": 12},
        ),
    ],
)
def test_a_prompt_can_be_counted_without_an_answer(
    client: FlaskClient,
    engine: FakeEngine,
    dialect: Dialect,
    path: str,
    reply: dict[str, Any],
) -> None:
    fields = {**dialect.body, **(dialect.system or {}), **(dialect.tools or {})}
    assert client.post(path, json=fields).get_json() == reply
    assert not engine.history

    client.post(dialect.path, json=fields)
    assert engine.counted == engine.history

    engine.refusal = PromptTooLong("too long", 300, 200)
    refused = client.post(path, json=fields)
    assert refused.status_code == 400
    assert dialect.error_of(refused).endswith(dialect.too_long)


@only("tools")
def test_a_model_without_tools_refuses_them(
    client: FlaskClient, models: FakeModels, dialect: Dialect
) -> None:
    models.model = QWEN
    reply = dialect.ask(client, **dialect.tools or {})

    assert reply.status_code == 400
    words = f"registry.ollama.ai/library/{MODEL} does not support tools"
    assert dialect.error_of(reply) == words
    assert dialect.ask(client, tools=[]).status_code == 200


@only("think")
def test_a_model_without_thinking_refuses_it_except_in_anthropics_api(
    client: FlaskClient, engine: FakeEngine, models: FakeModels, dialect: Dialect
) -> None:
    models.model = QWEN
    reply = dialect.ask(client, **dialect.think or {})

    if dialect.thinks_if_it_can:
        assert reply.status_code == 200
        assert engine.history[0].think is None
    else:
        assert reply.status_code == 400
        assert dialect.error_of(reply) == f'"{MODEL}" does not support thinking'


def test_content_type_and_query_are_ignored(client: FlaskClient, dialect: Dialect) -> None:
    form = "application/x-www-form-urlencoded"  # `curl -d` sends this
    for content_type in (form, "text/plain", "multipart/form-data", "", None):
        path = f"{dialect.path}?ts=1"
        reply = client.post(path, data=encoded(dialect), content_type=content_type)
        assert dialect.read(reply, dialect.streams_by_default).text == "Hello"


def test_bytes_after_the_json_object_are_ignored(client: FlaskClient, dialect: Dialect) -> None:
    assert client.post(dialect.path, data=encoded(dialect) + b" and more").status_code == 200


def test_unknown_fields_are_ignored(client: FlaskClient, dialect: Dialect) -> None:
    assert dialect.ask(client, frobnicate=[1], user={"a": None}).status_code == 200


def test_extra_slashes_in_the_path_are_ignored(client: FlaskClient, dialect: Dialect) -> None:
    spread = dialect.path.replace("/", "//")
    for path in (f"{dialect.path}/", f"/{dialect.path}", f"{spread}//"):
        reply = client.post(json=dialect.body, environ_overrides={"PATH_INFO": path})
        assert dialect.read(reply, dialect.streams_by_default).text == "Hello"


# What is refused


def refused(client: FlaskClient, dialect: Dialect, body: bytes | Mapping[str, Any]) -> Any:
    """Return the status and the message of a refused request."""
    data = body if isinstance(body, bytes) else json.dumps({**dialect.body, **body})
    reply = client.post(dialect.path, data=data)
    assert reply.content_type == "application/json; charset=utf-8"
    return reply.status_code, dialect.error_of(reply)


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("nope", 404, "model 'nope' not found" + HERE),
        ("qwen3", 404, "model 'qwen3' not found" + HERE),
        (" Nope", 404, "model ' Nope' not found" + HERE),
        ("a b", 400, "invalid model name"),
        ("a:", 400, "invalid model name"),
        ("gpt-oss:20b-cloud", 403, "ollama cloud is disabled: remote model is unavailable"),
        ("a:local:cloud", 400, 'use either :local or :cloud, not both: "a:local:cloud"'),
    ],
)
def test_an_unknown_or_invalid_model_name_is_refused(
    client: FlaskClient,
    engine: FakeEngine,
    dialect: Dialect,
    name: str,
    status: int,
    words: str,
) -> None:
    for stream in (True, False):
        reply = dialect.ask(client, stream, model=name)
        assert (reply.status_code, dialect.error_of(reply)) == (status, words)
    assert not engine.history


def test_a_model_name_is_required_except_in_our_own_api(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect
) -> None:
    reply = dialect.ask(client, model="")

    if dialect is NATIVE:
        assert reply.status_code == 200
        return
    nameless = (404, "model '' not found" + HERE)
    required = (400, "model is required")
    expected = nameless if dialect is OLLAMA_GENERATE else required
    assert (reply.status_code, dialect.error_of(reply)) == expected
    assert not engine.history


BROKEN = {
    b"{": "unexpected EOF",
    b'{"a': "unexpected EOF",
    b"hello": "invalid character 'h' looking for beginning of value",
    b"{a": "invalid character 'a' looking for beginning of object key string",
    b'{"a":1,}': "invalid character '}' looking for beginning of object key string",
}


def test_broken_json_is_refused_with_gos_message(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect
) -> None:
    sentence = "{}"
    if dialect is NATIVE:
        example = 'send an object such as {{"prompt": "Why is the sky blue?"}}'
        sentence = f"the body is not JSON: {{}}; {example}"
    for body, words in BROKEN.items():
        assert refused(client, dialect, body) == (400, sentence.format(words))
    assert not engine.history


def test_an_empty_body_is_refused(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect
) -> None:
    for body in (b"", b"  \n"):
        assert refused(client, dialect, body) == (400, dialect.empty_body)
    assert not engine.history


def test_json_that_is_not_an_object_is_refused_with_gos_message(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect
) -> None:
    for body, kind in ((b"[]", "array"), (b"3", "number"), (b'"x"', "string"), (b"true", "bool")):
        words = f"json: cannot unmarshal {kind} into Go value of type {dialect.struct}"
        if dialect is NATIVE:
            words = 'the body must be a JSON object such as {"prompt": "Why is the sky blue?"}'
        assert refused(client, dialect, body) == (400, words)
    assert not engine.history


def test_a_field_of_the_wrong_type_is_refused_with_gos_message(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect
) -> None:
    struct = dialect.struct.partition(".")[2]
    words = f"json: cannot unmarshal string into Go struct field {struct}.stream of type bool"
    if dialect is NATIVE:
        words = "stream must be true or false"

    assert refused(client, dialect, {"stream": "yes"}) == (400, words)
    assert not engine.history


# Bodies that are too large or break off


class Endless(io.RawIOBase):
    """A body without an end that counts the bytes read."""

    taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        assert size > 0
        self.taken += size
        return b" " * size


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_that_is_too_large_is_not_read_to_its_end(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect, chunked: bool
) -> None:
    body = Endless()
    sized: dict[str, Any] = (
        {"wsgi.input_terminated": True} if chunked else {"CONTENT_LENGTH": str(LARGEST_BODY + 1)}
    )
    reply = client.post(dialect.path, environ_overrides={"wsgi.input": body, **sized})

    assert reply.status_code == 413
    assert "larger than 4194304 bytes" in dialect.error_of(reply)
    assert body.taken <= (LARGEST_BODY + 64 * 1024 if chunked else 0)
    assert not engine.history


def test_a_body_of_the_largest_size_is_read(client: FlaskClient, dialect: Dialect) -> None:
    body = encoded(dialect).ljust(LARGEST_BODY)

    assert client.post(dialect.path, data=body).status_code == 200


def test_a_body_that_ends_early_is_a_client_error(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect
) -> None:
    short = {"wsgi.input": io.BytesIO(encoded(dialect)), "CONTENT_LENGTH": "4000"}
    reply = client.post(dialect.path, environ_overrides=short)

    assert reply.status_code == 400
    assert dialect.error_of(reply)
    assert not engine.history


def test_a_body_that_cannot_be_read_is_a_client_error(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect
) -> None:
    class Broken(Endless):
        def read(self, size: int = -1) -> bytes:
            raise OSError

    broken = {"wsgi.input": Broken(), "wsgi.input_terminated": True}
    reply = client.post(dialect.path, environ_overrides=broken)

    assert reply.status_code == 400
    assert dialect.error_of(reply) == "the request body broke off; send it again"
    assert not engine.history


# Routes and methods that do not exist


def test_only_post_is_answered(client: FlaskClient, dialect: Dialect) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
        reply = client.open(dialect.path, method=method)
        assert reply.status == "405 Method Not Allowed"
        assert reply.content_type == "text/plain"
        assert reply.headers["Allow"] == "POST"
        assert reply.data == (b"" if method == "HEAD" else b"405 method not allowed")


def test_paths_below_a_route_do_not_exist(client: FlaskClient, dialect: Dialect) -> None:
    for path in ("/nothing", "x", "/resp_1"):
        for method in ("GET", "POST"):
            reply = client.open(dialect.path + path, method=method)
            assert reply.status == "404 Not Found"
            assert reply.content_type == "text/plain"
            assert reply.data == b"404 page not found"


def encoded(dialect: Dialect) -> bytes:
    """Return the body of the smallest request of a dialect."""
    return json.dumps(dialect.body).encode()
