"""Which web pages may call the service, and by which host names: Ollama's rules as a table."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from axproxy.api.http.origins import BadOrigin, LocalHosts, Origins, is_loopback
from axproxy.settings import Settings, SettingsError
from backend import create_app
from tests.support.fakes import FakeEngine, FakeModels

HOST = "127.0.0.1:5002"
LISTED = ("http://pi.local:3000", "https://*.example.com", "chrome-extension://*")

WELCOME = [
    "http://localhost",
    "https://localhost",
    "http://localhost:3000",
    "https://localhost:8443",
    "http://127.0.0.1",
    "http://127.0.0.1:8080",
    "http://0.0.0.0",
    "https://0.0.0.0:1",
    "app://obsidian.md",
    "file://",
    "file:///home/me/page.html",
    "tauri://localhost",
    "vscode-webview://1a2b",
    "vscode-file://vscode-app",
]
LISTED_ONLY = [
    "http://pi.local:3000",
    "HTTP://PI.LOCAL:3000",
    "https://a.example.com",
    "https://a.b.example.com",
    "chrome-extension://abcdef",
]
STRANGERS = [
    "null",
    "http://evil.com",
    "http://localhost.evil.com",
    "http://localhost.evil.com:3000",
    "http://evillocalhost",
    "http://127.0.0.1.evil.com",
    "http://192.168.1.5",
    "http://192.168.1.5:5002",
    "http://[::1]:3000",
    "ftp://localhost",
    "moz-extension://abcdef",
    "http://pi.local",
    "http://pi.local:30000",
    "https://example.com",
    "https://a.example.com.evil.com",
]
HEADERS = (
    "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta,X-Stainless-Arch,"
    "X-Stainless-Async,X-Stainless-Custom-Poll-Interval,X-Stainless-Helper-Method,X-Stainless-Lang,"
    "X-Stainless-Os,X-Stainless-Package-Version,X-Stainless-Poll-Helper,X-Stainless-Retry-Count,"
    "X-Stainless-Runtime,X-Stainless-Runtime-Version,X-Stainless-Timeout"
)


def client_of(**settings: object) -> FlaskClient:
    app = create_app(Settings(**settings), FakeEngine(), FakeModels())  # type: ignore[arg-type]  # any of them
    return app.test_client()


@pytest.mark.parametrize("origin", WELCOME)
def test_pages_of_this_machine_may_always_call(origin: str) -> None:
    for more in ((), LISTED):
        assert Origins(more).judge("GET", origin, HOST).status is None
        assert Origins(more).judge("OPTIONS", origin, HOST).status == 204


@pytest.mark.parametrize("origin", LISTED_ONLY)
def test_other_pages_may_call_once_they_are_listed(origin: str) -> None:
    assert Origins().judge("GET", origin, HOST).status == 403
    assert Origins(LISTED).judge("GET", origin, HOST).status is None


@pytest.mark.parametrize("origin", STRANGERS)
def test_pages_of_other_origins_may_not_call(origin: str) -> None:
    for more in ((), LISTED):
        for method in ("GET", "POST", "OPTIONS"):
            assert Origins(more).judge(method, origin, HOST).status == 403


@pytest.mark.parametrize("origin", [*WELCOME, *LISTED_ONLY, *STRANGERS])
def test_every_page_may_call_if_the_list_is_a_star(origin: str) -> None:
    verdict = Origins(["http://a", " * "]).judge("POST", origin, HOST)

    assert verdict.status is None
    assert verdict.headers == {"Access-Control-Allow-Origin": "*"}


@pytest.mark.parametrize("bad", ["pi.local:3000", "localhost", "", "http://*.a.*"])
def test_an_origin_that_no_browser_sends_is_refused_at_the_start(bad: str) -> None:
    with pytest.raises(BadOrigin):
        Origins([bad])
    with pytest.raises(SettingsError, match="AX650_ORIGINS must hold an origin"):
        client_of(origins=(bad,))


def test_an_answer_names_the_origin_that_may_read_it(client: FlaskClient) -> None:
    for path, status in (("/api/tags", 200), ("/nothing", 404), ("/api/chat", 405)):
        reply = client.get(path, headers={"Origin": "http://localhost:3000"})
        assert reply.status_code == status
        assert reply.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
        assert reply.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in reply.headers


@pytest.mark.parametrize("path", ["/api/chat", "/api/tags", "/generate", "/nothing"])
def test_a_preflight_is_answered_on_every_path(client: FlaskClient, path: str) -> None:
    reply = client.options(path, headers={"Origin": "http://localhost:3000"})

    assert (reply.status_code, reply.data) == (204, b"")
    assert "Content-Type" not in reply.headers
    ours = {"Content-Length", "X-Request-Id"}
    assert {name: value for name, value in reply.headers.items() if name not in ours} == {
        "Access-Control-Allow-Origin": "http://localhost:3000",
        "Access-Control-Allow-Methods": "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS",
        "Access-Control-Allow-Headers": HEADERS,
        "Access-Control-Max-Age": "43200",
        "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    }


def test_a_page_that_may_call_may_send_the_headers_that_it_asks_for(client: FlaskClient) -> None:
    asked = "anthropic-version,content-type, x-api-key,, x-api-key,no header,bad:name"
    headers = {"Origin": "http://localhost:3000", "Access-Control-Request-Headers": asked}
    reply = client.options("/v1/messages", headers=headers)

    assert reply.status_code == 204
    allowed = reply.headers["Access-Control-Allow-Headers"]
    assert allowed == f"{HEADERS},anthropic-version,x-api-key"

    stranger = client.options("/v1/messages", headers={**headers, "Origin": "http://evil.example"})
    assert stranger.status_code == 403
    assert "Access-Control-Allow-Headers" not in stranger.headers


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
def test_a_page_of_another_origin_gets_an_empty_refusal(client: FlaskClient, method: str) -> None:
    for path in ("/api/tags", "/health", "/nothing"):
        reply = client.open(path, method=method, headers={"Origin": "http://evil.com"})
        assert (reply.status_code, reply.data) == (403, b"")
        assert "Content-Type" not in reply.headers
        assert "Access-Control-Allow-Origin" not in reply.headers


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_page_of_this_service_needs_no_permission(scheme: str) -> None:
    client = client_of(host="0.0.0.0", api_key="none")
    origin = f"{scheme}://ollama.example.com:5002"
    headers = {"Origin": origin, "Host": "ollama.example.com:5002"}
    reply = client.get("/api/tags", headers=headers)

    assert reply.status_code == 200
    assert "Access-Control-Allow-Origin" not in reply.headers
    assert client.options("/api/tags", headers=headers).status_code == 405


def test_a_preflight_carries_no_key_and_needs_none() -> None:
    client = client_of(api_key="s3cret")
    headers = {"Origin": "http://localhost:3000"}

    assert client.options("/api/chat", headers=headers).status_code == 204
    refused = client.get("/api/tags", headers=headers)
    assert refused.status_code == 403
    assert refused.get_json()["error"]  # the page can read it:
    assert refused.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"


def test_a_stream_names_the_origin_too(client: FlaskClient) -> None:
    reply = client.post(
        "/api/generate",
        json={"model": "qwen3:0.6b", "prompt": "Hi"},
        headers={"Origin": "app://obsidian.md"},
    )
    assert reply.headers["Access-Control-Allow-Origin"] == "app://obsidian.md"


# --- the host that the client names

LOCAL_NAMES = [
    "localhost",
    "LOCALHOST:5002",
    "a.localhost",
    "raspberry.local:5002",
    "host.docker.internal:5002",
    "Raspberry",
    "raspberry:5002",
    "",
]
LOCAL_ADDRESSES = [
    "127.0.0.1",
    "127.0.0.1:5002",
    "127.8.8.8",
    "0.0.0.0:5002",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255:80",
    "192.168.1.5:5002",
    "[::1]:5002",
    "[::1]",
    "::1",
    "[fd00::5]:5002",
    "203.0.113.9:5002",
]
FOREIGN = [
    "evil.com",
    "evil.com:5002",
    "localhost.evil.com",
    "evillocalhost",
    "local",
    "raspberry.lan",
    "8.8.8.8",
    "172.32.0.1",
    "169.254.1.1",
    "[2001:db8::1]:5002",
    "127.0.0.1.evil.com",
]


@pytest.fixture
def hosts() -> LocalHosts:
    return LocalHosts("raspberry", lambda: {"203.0.113.9"})


@pytest.mark.parametrize("host", LOCAL_NAMES)
def test_names_of_this_machine_are_accepted(hosts: LocalHosts, host: str) -> None:
    assert hosts.judge("POST", host).status is None
    assert (
        hosts.judge("OPTIONS", host).status == 204
    )  # as Ollama does; without an origin it has no effect


@pytest.mark.parametrize("host", LOCAL_ADDRESSES)
def test_addresses_that_can_be_this_machine_are_accepted(hosts: LocalHosts, host: str) -> None:
    assert hosts.judge("POST", host).status is None
    assert hosts.judge("OPTIONS", host).status is None


@pytest.mark.parametrize("host", FOREIGN)
def test_a_foreign_name_that_points_at_this_machine_is_refused(
    hosts: LocalHosts, host: str
) -> None:
    assert hosts.judge("GET", host).status == 403
    assert hosts.judge("OPTIONS", host).status == 403


@pytest.mark.parametrize(
    ("address", "checked"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("pi.local", False),
    ],
)
def test_the_host_is_checked_only_on_a_loopback_address(address: str, checked: bool) -> None:
    assert is_loopback(address) is checked
    reply = client_of(host=address, api_key="none").get("/health", headers={"Host": "evil.com"})

    assert reply.status_code == (403 if checked else 200)
    assert (reply.data == b"") is checked


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        ("/api/chat", "127.0.0.1:5002", 405),
        ("/nothing", "127.0.0.1:5002", 404),
        ("/api/chat", "localhost:5002", 204),
        ("/nothing", "localhost:5002", 204),
        ("/api/chat", "evil.com", 403),
    ],
)
def test_options_without_an_origin_depends_on_the_host(
    client: FlaskClient, path: str, host: str, status: int
) -> None:
    assert client.options(path, headers={"Host": host}).status_code == status
