"""With a key, only requests that send it are answered; watchdogs need none."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from axproxy.settings import Settings, SettingsError
from backend import create_app
from tests.support.fakes import FakeEngine, FakeModels

KEY = "s3cret"


@pytest.fixture
def locked() -> FlaskClient:
    return create_app(Settings(api_key=KEY), FakeEngine(), FakeModels()).test_client()


@pytest.mark.parametrize("path", ["/", "/health", "/ready"])
def test_watchdogs_need_no_key(locked: FlaskClient, path: str) -> None:
    assert locked.get(path).status_code == 200


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer \xff"]
)
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/tags", 403),
        ("POST", "/api/chat", 403),
        ("POST", "/generate", 401),
        ("POST", "/load", 401),
        ("POST", "/restart", 401),
        ("GET", "/nowhere", 401),
        ("POST", "/v1/chat/completions", 401),
        ("POST", "/v1/messages", 401),
    ],
)
def test_without_the_key_every_other_request_is_refused(
    locked: FlaskClient, method: str, path: str, status: int, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header}
    reply = locked.open(path, method=method, headers=headers)

    assert reply.status_code == status
    error = reply.get_json()["error"]
    assert "Authorization: Bearer" in (error["message"] if "/v1/" in path else error)
    assert ("WWW-Authenticate" in reply.headers) == (status == 401)


def test_with_the_key_requests_are_answered_as_usual(locked: FlaskClient) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}

    assert locked.get("/api/tags", headers=headers).status_code == 200
    assert locked.get("/nowhere", headers=headers).status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-api-key": KEY}, 200),
        ({"x-api-key": KEY, "Authorization": "Bearer of another service"}, 200),
        ({"x-api-key": "wrong", "Authorization": f"Bearer {KEY}"}, 200),
        ({"x-api-key": f"Bearer {KEY}"}, 403),
        ({"x-api-key": f"{KEY}x"}, 403),
        ({"x-api-key": ""}, 403),
        ({"x-api-key": "\xff"}, 403),
    ],
)
def test_the_key_may_come_as_anthropics_clients_send_it(
    locked: FlaskClient, headers: dict[str, str], status: int
) -> None:
    assert locked.get("/api/tags", headers=headers).status_code == status


def test_openais_clients_get_the_refusal_with_their_own_code(locked: FlaskClient) -> None:
    error = locked.post("/v1/chat/completions").get_json()["error"]

    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")


def test_anthropics_clients_get_the_refusal_in_their_own_envelope(locked: FlaskClient) -> None:
    error = locked.post("/v1/messages").get_json()

    assert error["type"] == "error"
    assert error["error"]["type"] == "authentication_error"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "pi.local"])
def test_the_network_may_call_only_with_a_key_or_on_purpose(host: str) -> None:
    with pytest.raises(SettingsError, match="set AX650_API_KEY to a key"):
        create_app(Settings(host=host), FakeEngine(), FakeModels())

    for key, status in ((KEY, 403), ("none", 200), ("None", 200)):
        client = create_app(
            Settings(host=host, api_key=key), FakeEngine(), FakeModels()
        ).test_client()
        assert client.get("/api/tags").status_code == status


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_this_machine_needs_no_key(host: str) -> None:
    client = create_app(Settings(host=host), FakeEngine(), FakeModels()).test_client()

    assert client.get("/api/tags").status_code == 200


def test_no_get_changes_anything(client: FlaskClient, engine: FakeEngine) -> None:
    rules = [rule for rule in client.application.url_map.iter_rules() if "GET" in rule.methods]
    for rule in rules:
        client.get(re.sub("<[^>]*>", "qwen3:0.6b", rule.rule)).close()
    for path in ("/generate?prompt=Hi", "/load", "/restart", "/api/chat", "/api/pull"):
        assert client.get(path).status_code == 405

    assert len(rules) >= 8
    assert (engine.history, engine.loads, engine.unloads, engine.restarts) == ([], [], 0, 0)


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 202),
        ("::1", {}, 202),
        ("::ffff:127.0.0.1", {}, 202),
        ("192.168.1.7", {}, 403),
        ("::ffff:192.168.1.7", {}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "192.168.1.7"}, 403),
        ("127.0.0.1", {"Origin": "http://evil.example"}, 403),
    ],
)
def test_without_a_key_only_this_machine_may_have_the_runtime_restarted(
    client: FlaskClient, engine: FakeEngine, address: str, headers: dict[str, str], status: int
) -> None:
    reply = client.post("/restart", headers=headers, environ_base={"REMOTE_ADDR": address})

    assert reply.status_code == status
    assert engine.restarts == (status == 202)


def test_with_the_key_the_runtime_may_be_restarted_from_anywhere() -> None:
    engine = FakeEngine()
    client = create_app(Settings(host="0.0.0.0", api_key=KEY), engine, FakeModels()).test_client()
    headers = {"Authorization": f"Bearer {KEY}"}
    reply = client.post("/restart", headers=headers, environ_base={"REMOTE_ADDR": "10.0.0.9"})

    assert (reply.status_code, reply.get_json()) == (202, {"status": "restarting"})
    assert engine.restarts == 1
