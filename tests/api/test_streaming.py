"""Answers are closed whatever happens, and errors get a status while there still is one."""

from __future__ import annotations

import io
import json

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder, run_wsgi_app

from axproxy.errors import ClientGone, RuntimeGone, RuntimeStalled
from axproxy.messages import Text
from axproxy.settings import Settings
from backend import create_app
from tests.support.fakes import HELLO, FakeEngine

ROUTES = [
    ("/generate", {"prompt": "Hi"}),
    ("/api/generate", {"model": "qwen3:0.6b", "prompt": "Hi"}),
    ("/api/chat", {"model": "qwen3:0.6b", "messages": [{"role": "user", "content": "Hi"}]}),
]
every_route = pytest.mark.parametrize(("path", "body"), ROUTES)
both_ways = pytest.mark.parametrize("stream", [True, False])


@every_route
@both_ways
def test_an_error_before_the_first_event_has_its_status(
    client: FlaskClient, engine: FakeEngine, path: str, body: dict[str, object], stream: bool
) -> None:
    engine.script = [RuntimeStalled("nothing came for a minute")]
    reply = client.post(path, json={**body, "stream": stream})

    assert reply.status_code == (500 if path.startswith("/api/") else 504)
    assert reply.get_json()["error"].endswith("nothing came for a minute")
    assert engine.answers[0].closed


@every_route
def test_an_error_after_the_first_event_is_the_last_line(
    client: FlaskClient, engine: FakeEngine, path: str, body: dict[str, object]
) -> None:
    engine.script = [Text("Hel"), RuntimeGone("it died")]
    reply = client.post(path, json={**body, "stream": True}, buffered=True)
    last = json.loads(reply.data.splitlines()[-1])

    assert reply.status_code == 200
    assert list(last) == ["error"]
    assert last["error"].endswith("it died")
    assert engine.answers[0].closed


@every_route
def test_a_mistake_of_ours_ends_a_stream_in_order_and_without_a_traceback(
    client: FlaskClient, engine: FakeEngine, path: str, body: dict[str, object]
) -> None:
    engine.script = [Text("Hel"), RecursionError("maximum recursion depth exceeded")]
    reply = client.post(path, json={**body, "stream": True}, buffered=True)

    assert json.loads(reply.data.splitlines()[-1]) == {
        "error": "internal error; see the service's log"
    }
    assert engine.answers[0].closed


@every_route
def test_without_streaming_an_error_has_its_status_at_any_time(
    client: FlaskClient, engine: FakeEngine, path: str, body: dict[str, object]
) -> None:
    engine.script = [Text("Hel"), RuntimeGone("it died")]
    reply = client.post(path, json={**body, "stream": False})

    assert reply.status_code == (500 if path.startswith("/api/") else 502)
    assert reply.get_json()["error"].endswith("it died")
    assert engine.answers[0].closed


@every_route
@both_ways
def test_a_client_that_left_gets_nothing(
    client: FlaskClient, engine: FakeEngine, path: str, body: dict[str, object], stream: bool
) -> None:
    engine.script = [ClientGone()]
    reply = client.post(path, json={**body, "stream": stream})

    assert (reply.status_code, reply.data) == (499, b"")
    assert engine.answers[0].closed


def test_a_client_that_leaves_in_the_middle_ends_its_stream(
    client: FlaskClient, engine: FakeEngine
) -> None:
    engine.script = [Text("Hel"), ClientGone()]
    reply = client.post("/generate", json={"prompt": "Hi", "stream": True}, buffered=True)

    assert reply.data == b'{"text":"Hel"}\n'
    assert engine.answers[0].closed


@pytest.fixture
def app(engine: FakeEngine) -> Flask:
    return create_app(Settings(), engine)


def environ(path: str, body: dict[str, object]) -> dict[str, object]:
    return EnvironBuilder(path, method="POST", json={**body, "stream": True}).get_environ()


@every_route
@pytest.mark.parametrize("read", [0, 1, 2, 3])
def test_a_response_that_is_closed_early_closes_its_answer(
    app: Flask, engine: FakeEngine, path: str, body: dict[str, object], read: int
) -> None:
    lines = iter(app.wsgi_app(environ(path, body), lambda *_: io.BytesIO().write))
    for _ in range(read):
        assert next(lines).endswith(b"}\n")
    (answer,) = engine.answers

    assert answer.taken == max(read, 1)
    assert not answer.closed
    lines.close()
    assert answer.closed


def test_each_event_is_one_piece_on_the_wire(app: Flask) -> None:
    pieces, status, _ = run_wsgi_app(app.wsgi_app, environ(*ROUTES[2]))

    assert status == "200 OK"
    assert [piece.count(b"\n") for piece in pieces] == [1] * len(HELLO)


def test_a_body_that_cannot_become_a_response_closes_its_answer(
    engine: FakeEngine, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("axproxy.api.streaming.Response", fail)
    reply = app.test_client().post("/generate", json={"prompt": "Hi", "stream": True})

    assert reply.status_code == 500
    assert engine.answers[0].closed


def test_the_engine_can_ask_whether_the_client_is_there(app: Flask, engine: FakeEngine) -> None:
    import socket

    ours, theirs = socket.socketpair()
    with ours:
        run_wsgi_app(app.wsgi_app, {**environ(*ROUTES[0]), "gunicorn.socket": ours})
        (gone,) = engine.gones
        assert not gone()
        theirs.close()
        assert gone()


@both_ways
def test_an_answer_without_an_end_is_our_fault(
    client: FlaskClient, engine: FakeEngine, stream: bool
) -> None:
    engine.script = []

    assert client.post("/generate", json={"prompt": "Hi", "stream": stream}).status_code == 500
    assert engine.answers[0].closed
