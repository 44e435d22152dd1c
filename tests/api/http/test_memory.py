"""All requests that wait together have a bound in bytes as parsed."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from axproxy.api.gojson.decode import first_value
from axproxy.api.http.memory import LARGE, MOST_TOGETHER, RequestMemory, parsed_size
from axproxy.errors import Busy
from axproxy.messages import Message, PackedSchema, packed
from axproxy.output.json_format import check_format, with_instruction
from axproxy.settings import Settings
from backend import create_app
from tests.support.fakes import FakeEngine, FakeModels

NESTED = {"type": "object", "properties": {f"p{n}": {"a": [n]} for n in range(60_000)}}

BODIES: dict[str, Any] = {
    "objects": [{"a": 1.5}] * 20_000,
    "empty objects": [{}] * 30_000,
    "lists": [[1000]] * 25_000,
    "numbers": [1000.5] * 50_000,
    "strings": ["ab"] * 50_000,
    "keys": {f"key {n}": None for n in range(50_000)},
    "text": "x" * 300_000,
    "wide text": "x" * 150_000 + "\U0001f600",
    "schema": {f"p{n}": {"a": [n]} for n in range(15_000)},
}


@pytest.mark.parametrize("name", BODIES)
def test_what_a_body_takes_as_parsed_is_known_before_it_is_parsed(name: str) -> None:
    for ascii_only in (True, False):
        body = json.dumps(BODIES[name], ensure_ascii=ascii_only).encode()
        tracemalloc.start()
        try:
            value = first_value(body)
            taken = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert value
        assert taken <= parsed_size(body) * 1.1 < 12 * taken


def test_large_requests_together_have_a_bound_and_small_ones_are_let_in() -> None:
    client_app = create_app(Settings(), engine := FakeEngine(), FakeModels())
    client = client_app.test_client()
    options = {"stop": [], "ignored": NESTED}
    large = {"model": "qwen3:0.6b", "prompt": "Hi", "options": options}
    small = {"model": "qwen3:0.6b", "prompt": "Hi"}
    size = parsed_size(json.dumps(large).encode())
    assert size > LARGE

    open_streams = []
    statuses = []
    for _ in range(MOST_TOGETHER // size + 2):
        reply = client.post("/api/generate", json=large, buffered=False)
        statuses.append(reply.status_code)
        open_streams.append(reply)
    assert statuses[:-2] == [200] * (MOST_TOGETHER // size)
    assert statuses[-1] == 503
    assert "server busy" in open_streams[-1].get_json()["error"]
    assert open_streams[-1].headers["Retry-After"]
    assert client.post("/api/generate", json=small).status_code == 200

    for reply in open_streams:
        reply.close()
    assert client.post("/api/generate", json=large).status_code == 200
    assert len(engine.history) == MOST_TOGETHER // size + 2


def test_requests_with_a_large_schema_wait_together() -> None:
    client = create_app(Settings(), FakeEngine(), FakeModels()).test_client()
    body = json.dumps({"model": "qwen3:0.6b", "prompt": "Hi", "format": NESTED}).encode()
    assert 7 * parsed_size(body) > MOST_TOGETHER
    replies = [client.post("/api/generate", data=body, buffered=False) for _ in range(7)]

    assert {reply.status_code for reply in replies} == {200}


def test_memory_is_given_back_however_a_request_ends() -> None:
    def fails(environ: Any, _start: Any) -> Any:
        environ["axproxy.take_memory"](LARGE)
        raise LookupError

    def ends(environ: Any, _start: Any) -> Any:
        environ["axproxy.take_memory"](2 * LARGE)
        return [b"x"]

    failing = RequestMemory(fails)
    with pytest.raises(LookupError):
        failing({}, lambda *_: lambda _: None)
    assert failing.taken == 0

    ending = RequestMemory(ends, most=3 * LARGE)
    first: Any = ending({}, lambda *_: lambda _: None)
    with pytest.raises(Busy):
        ending({}, lambda *_: lambda _: None)
    assert ending.taken == 2 * LARGE
    first.close()
    first.close()
    assert ending.taken == 0


def test_a_large_schema_waits_as_text() -> None:
    small = packed({"type": "object"})
    large = packed(NESTED)

    assert small == {"type": "object"}
    assert not isinstance(small, PackedSchema)
    assert isinstance(large, PackedSchema)
    assert large == NESTED == large.unpacked()
    assert (large["type"], len(large)) == ("object", 2)
    assert json.dumps(NESTED) in with_instruction([Message("user", "Hi")], large)[0].content


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat", "/v1/chat/completions"])
def test_every_api_lets_a_large_schema_wait_as_text(path: str) -> None:
    engine = FakeEngine()
    client = create_app(Settings(), engine, FakeModels()).test_client()
    large = {"type": "object", "properties": {f"p{n}": {"type": "null"} for n in range(2000)}}
    body = {
        "model": "qwen3:0.6b",
        "prompt": "Hi",
        "messages": [{"role": "user", "content": "Hi"}],
        "format": large,
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": large}},
    }

    assert client.post(path, json=body).status_code == 200
    (request,) = engine.history
    assert isinstance(request.format, PackedSchema)


def test_a_schema_that_waited_as_text_is_checked_as_any_other() -> None:
    names = {f"property {number}": {"type": "integer"} for number in range(1_000)}
    schema = packed({"type": "object", "properties": names})

    assert isinstance(schema, PackedSchema)
    assert check_format(schema, '{"property 1": 1}').problem is None
    assert check_format(schema, '{"property 1": "one"}').problem
