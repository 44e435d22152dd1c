"""Conversations that the service keeps for clients that send only the newest sentence."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from axproxy.api.native.sessions import LONGEST_PAUSE, LONGEST_TALK, MOST_SESSIONS, Sessions
from axproxy.errors import RuntimeGone
from axproxy.messages import Message, Text
from axproxy.settings import Settings
from backend import create_app
from tests.support.fakes import FakeEngine, FakeModels


def ask(client: FlaskClient, prompt: str, session: str = "art", **more: object) -> None:
    body = {"prompt": prompt, "session": session, **more}
    reply = client.post("/generate", json=body)
    assert reply.status_code == 200
    assert reply.data  # a stream is over once it is read


@pytest.fixture(autouse=True)
def no_sessions(client: FlaskClient) -> None:
    """All tests share one service."""
    for name in ("art", "other"):
        client.delete(f"/sessions/{name}")


@pytest.mark.parametrize("stream", [False, True])
def test_a_session_goes_on_from_what_was_said(
    client: FlaskClient, engine: FakeEngine, stream: bool
) -> None:
    ask(client, "Hi", system="Be brief.", stream=stream)
    ask(client, "And?", stream=stream)
    ask(client, "Who?", session="other", stream=stream)

    assert [chat.messages for chat in engine.history] == [
        (Message("system", "Be brief."), Message("user", "Hi")),
        (
            Message("system", "Be brief."),
            Message("user", "Hi"),
            Message("assistant", "Hello"),
            Message("user", "And?"),
        ),
        (Message("user", "Who?"),),
    ]


def test_an_answer_that_broke_off_is_no_part_of_it(client: FlaskClient, engine: FakeEngine) -> None:
    engine.script = [Text("Hel"), RuntimeGone("it died")]
    body = {"prompt": "Hi", "session": "art", "stream": True}
    assert b"it died" in client.post("/generate", json=body).data
    engine.script = [*FakeEngine().script]
    ask(client, "Again?")

    assert engine.history[-1].messages == (Message("user", "Again?"),)


def test_a_session_is_forgotten_on_request(client: FlaskClient, engine: FakeEngine) -> None:
    ask(client, "Hi")
    assert client.delete("/sessions/art").get_json() == {"status": "ok"}
    refused = client.delete("/sessions/art")
    assert refused.status_code == 404
    assert refused.get_json() == {"error": 'there is no session "art" of yours'}
    ask(client, "Who?")
    assert engine.history[-1].messages == (Message("user", "Who?"),)


def test_no_client_has_the_session_of_another() -> None:
    engine = FakeEngine()
    app = create_app(Settings(host="0.0.0.0", api_key="none"), engine, FakeModels())
    client = app.test_client()
    body = {"prompt": "My secret.", "session": "art"}
    client.post("/generate", json=body, environ_overrides={"REMOTE_ADDR": "192.168.1.8"})
    other = {"environ_overrides": {"REMOTE_ADDR": "192.168.1.9"}}
    client.post("/generate", json={**body, "prompt": "What was said?"}, **other)

    assert engine.history[-1].messages == (Message("user", "What was said?"),)
    assert client.delete("/sessions/art", **other).status_code == 200  # its own
    assert client.delete("/sessions/art", **other).status_code == 404


@pytest.mark.parametrize("name", ["", "a/b", "x" * 65, "\u00e4", 7, ["art"]])
def test_a_name_that_is_none_is_refused(client: FlaskClient, name: object) -> None:
    reply = client.post("/generate", json={"prompt": "Hi", "session": name})
    assert reply.status_code == 400
    assert "session must be a name" in reply.get_json()["error"]


def test_sessions_are_bounded_in_number_age_and_size() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    for number in range(MOST_SESSIONS + 1):
        sessions.before("me", str(number), "")
    assert not sessions.forget("me", "0")
    assert sessions.forget("me", "1")

    sessions.before("me", "talk", "Be brief.")
    for number in range(5):
        sessions.add("me", "talk", f"{number}", "x" * (LONGEST_TALK // 3))
    turns = sessions.before("me", "talk", "")
    assert turns[0] == Message("system", "Be brief.")
    assert [turn.content for turn in turns if turn.role == "user"] == ["3", "4"]

    now[0] += LONGEST_PAUSE + 1
    assert sessions.before("me", "talk", "") == ()


def test_the_window_can_be_asked_for(client: FlaskClient) -> None:
    reply = client.get("/config/context-window")
    assert reply.status_code == 200
    assert reply.get_json().keys() == {"model", "context_length"}
