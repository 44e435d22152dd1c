"""With a key, only requests that send it are answered; watchdogs need none."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from axproxy.errors import GaveUp
from axproxy.health import CheckHealth, ChildHealth, Health, RuntimeHealth
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


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (f"bearer {KEY}", 200),
        (f"BEARER {KEY}", 200),
        (f"Bearer  {KEY}", 200),
        (f"bearer {KEY.upper()}", 403),
        (f"bearer{KEY}", 403),
        (KEY, 403),
        ("bearer", 403),
    ],
)
def test_the_word_bearer_may_be_written_in_any_case(
    locked: FlaskClient, value: str, status: int
) -> None:
    assert locked.get("/api/tags", headers={"Authorization": value}).status_code == status


def test_a_key_may_have_letters_beyond_ascii() -> None:
    app = create_app(Settings(api_key="schlüssel"), FakeEngine(), FakeModels())
    headers = {"X-Api-Key": "schlüssel".encode().decode("latin-1")}  # as a server passes UTF-8 on

    assert app.test_client().get("/api/tags", headers=headers).status_code == 200


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
        ("127.0.0.1", {"Host": "192.168.1.5:5002"}, 403),
        ("127.0.0.1", {"Host": "printer.local"}, 403),
        ("127.0.0.1", {"Origin": "http://evil.example"}, 403),
        ("127.0.0.1", {"Origin": "http://localhost:3000"}, 202),
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


PROXIES_ADD = [
    *("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded"),
    *("Via", "X-Real-IP", "X-Client-IP", "Client-IP", "True-Client-IP", "X-Cluster-Client-IP"),
    *("CF-Connecting-IP", "CF-Ray", "CDN-Loop", "Fastly-Client-IP", "Fly-Client-IP"),
    *("X-Original-Forwarded-For", "X-Original-URL", "X-Envoy-External-Address", "X-Azure-ClientIP"),
    *("X-Appengine-User-IP", "X-ProxyUser-Ip", "X-Amzn-Trace-Id", "Tailscale-User-Login"),
]


@pytest.mark.parametrize(
    "headers",
    [
        *({name: "203.0.113.7"} for name in PROXIES_ADD),
        {"Host": "evil.example:5002"},
        {"Host": "evil.example:5002", "Origin": "http://evil.example:5002"},
        {"Host": "localhost.evil.example"},
        {"Host": "192.168.1.5:5002"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
@pytest.mark.parametrize("origins", [(), ("*",)])
def test_what_a_page_or_a_proxy_on_this_machine_passes_on_does_not_come_from_this_machine(
    headers: dict[str, str], origins: tuple[str, ...]
) -> None:
    engine = FakeEngine()
    settings = Settings(host="0.0.0.0", api_key="none", origins=origins)
    client = create_app(settings, engine, FakeModels()).test_client()

    assert client.post("/restart", headers=headers).status_code == 403
    assert engine.restarts == 0
    assert client.post("/restart").status_code == 202


HEALTH_OF_ALL = Health(
    model="qwen3:0.6b",
    model_path="/opt/models/qwen3",
    runtime=RuntimeHealth(
        "failed",
        "vendor",
        ChildHealth("failed", 0.0, 4711, 3, "it was killed (pid 4711)", "/opt/models is missing"),
        ChildHealth("ready", 0.0, 4712, 0, None, "pid 4712 answers"),
        preflight=[CheckHealth("model-folder", "fail", "/opt/models/qwen3: none", "ls /opt")],
    ),
)


@pytest.mark.parametrize("headers", [{}, {"X-Api-Key": "wrong"}, {"Authorization": "Bearer"}])
def test_health_and_ready_tell_no_path_and_no_pid_without_the_key(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    engine = FakeEngine(problem=GaveUp("/opt/models is missing; pid 4711"))
    monkeypatch.setattr(engine, "health", lambda: HEALTH_OF_ALL)
    client = create_app(Settings(api_key=KEY), engine, FakeModels()).test_client()

    for path, status in (("/health", 200), ("/ready", 503)):
        refused = client.get(path, headers=headers)
        assert refused.status_code == status
        assert "/opt" not in refused.text
        assert "471" not in refused.text
    body = client.get("/health", headers=headers).get_json()
    assert body["status"] == "failed"
    assert body["kv_cache"] is None  # it would show whether another client had a conversation
    assert body["runtime"]["restarts"] == 3
    assert body["preflight"] == [
        {"name": "model-folder", "verdict": "fail", "seen": "", "remedy": ""}
    ]
    assert body.keys() == HEALTH_OF_ALL.as_json().keys()

    seen = client.get("/health", headers={"Authorization": f"bearer {KEY}"})
    assert seen.get_json() == HEALTH_OF_ALL.as_json()
    assert "4711" in client.get("/ready", headers={"X-Api-Key": KEY}).get_json()["error"]


def test_metrics_of_an_open_service_show_the_caches_hits_to_this_machine_only() -> None:
    client = create_app(
        Settings(host="0.0.0.0", api_key="none"), FakeEngine(), FakeModels()
    ).test_client()
    name = "ax650_kv_cache_prompts_total"
    stranger = client.get("/metrics", environ_overrides={"REMOTE_ADDR": "192.168.1.9"})

    assert stranger.status_code == 200
    assert "ax650_restarts" in stranger.text
    assert name not in stranger.text
    assert name in client.get("/metrics").text


@pytest.mark.parametrize(
    ("key", "headers", "address", "same"),
    [
        (None, {}, "10.0.0.1", True),
        (None, {}, "10.0.0.2", False),
        (None, {"Authorization": "Bearer of no meaning here"}, "10.0.0.1", True),
        (None, {"X-Forwarded-For": "10.0.0.9"}, "10.0.0.1", False),
        (KEY, {"Authorization": f"Bearer {KEY}"}, "10.0.0.1", True),
        (KEY, {"Authorization": f"Bearer {KEY}"}, "10.0.0.2", True),
    ],
)
@pytest.mark.parametrize("path", ["/api/generate", "/generate", "/v1/completions"])
def test_clients_are_told_apart_by_the_key_or_else_by_their_address(
    engine: FakeEngine,
    path: str,
    key: str | None,
    headers: dict[str, str],
    address: str,
    same: bool,
) -> None:
    client = create_app(Settings(api_key=key), engine, FakeModels()).test_client()
    first = {"Authorization": f"Bearer {KEY}"} if key else {}
    for sent, peer in ((first, "10.0.0.1"), (headers, address)):
        body = {"model": "qwen3:0.6b", "prompt": "Hi"}
        client.post(path, json=body, headers=sent, environ_base={"REMOTE_ADDR": peer})
    one, other = (request.client for request in engine.history)
    assert one != ""
    assert (one == other) == same


def test_without_a_key_only_this_machine_is_told_paths_and_pids(
    client: FlaskClient, engine: FakeEngine
) -> None:
    here = client.get("/health").get_json()
    there = client.get("/health", environ_base={"REMOTE_ADDR": "192.168.1.7"}).get_json()

    assert here == engine.health().as_json()
    assert (here["model_path"], there["model_path"]) == ("/models/qwen3-0.6b", None)


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("192.168.1.7", "192.168.1.7"),
        ("::ffff:192.168.1.7", "192.168.1.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_request_has_the_address_that_its_client_cannot_invent(
    client: FlaskClient, engine: FakeEngine, address: str, site: str
) -> None:
    client.post(
        "/api/generate",
        json={"model": "qwen3:0.6b", "prompt": "Hi"},
        headers={"X-Forwarded-For": "10.0.0.1"},
        environ_base={"REMOTE_ADDR": address},
    )
    assert engine.history[0].address == site
