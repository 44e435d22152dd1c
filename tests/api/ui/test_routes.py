"""The page's routes: who gets what, and how the stream of states ends."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from axproxy.api.ui import routes
from axproxy.api.ui.routes import FILES, MOST_WATCHERS, STATIC
from axproxy.errors import Stopping
from axproxy.settings import Settings
from backend import create_app
from tests.support.fakes import FakeEngine, FakeModels

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(autouse=True)
def states_come_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "INTERVAL", 0.0)


def test_a_browser_is_led_to_the_page_and_a_program_is_not(client: FlaskClient) -> None:
    led = client.get("/", headers=BROWSER)
    assert (led.status_code, led.headers["Location"]) == (302, "/ui")
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        assert client.get("/", headers=headers).data == b"Ollama is running"
    assert client.head("/", headers=BROWSER).status_code == 200
    assert client.get("/api/tags", headers=BROWSER).status_code == 200


def test_the_page_is_small_and_allows_nothing_but_its_own_files(client: FlaskClient) -> None:
    assert sum((STATIC / name).stat().st_size for name in FILES) < 150_000
    for path in ("/ui", *(f"/ui/{name}" for name in FILES)):
        reply = client.get(path)
        assert reply.status_code == 200
        policy = reply.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        reply.close()
    for path in ("/ui/../routes.py", "/ui/none.js", "/ui/%2e%2e/routes.py"):
        assert client.get(path).status_code == 404


def test_no_file_names_another_host_or_makes_html_of_text() -> None:
    for name in FILES:
        text = (STATIC / name).read_text()
        assert (
            re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text) == []
        )
        hosts = set(re.findall(r"https?://[\w.]+", text))
        assert hosts <= {"http://www.w3.org"}  # a namespace
    page = (STATIC / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", page) == []


def states(client: FlaskClient, many: int) -> list[dict[str, object]]:
    reply = client.get("/ui/events", buffered=False)
    try:
        parts: Iterator[bytes] = iter(reply.response)
        return [json.loads(part[len(b"data: ") :]) for part in itertools.islice(parts, many)]
    finally:
        reply.close()


def test_the_stream_repeats_the_state(client: FlaskClient) -> None:
    first, second = states(client, 2)
    assert first == second
    assert first["loaded"] == ["qwen3:0.6b"]
    assert first["operator"] is True


def test_the_stream_ends_when_the_service_stops(client: FlaskClient, engine: FakeEngine) -> None:
    engine.problem = Stopping("the service is being stopped")
    assert states(client, 5) == []


def test_more_than_a_few_watchers_are_refused_and_those_who_leave_make_room(
    client: FlaskClient,
) -> None:
    watching = [client.get("/ui/events", buffered=False) for _ in range(MOST_WATCHERS)]
    refused = client.get("/ui/events")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
    for reply in watching:
        reply.close()
    assert len(states(client, 1)) == 1


def test_with_a_key_only_the_files_are_open() -> None:
    app = create_app(Settings(api_key="s3cret"), FakeEngine(), FakeModels())
    client = app.test_client()
    for path in ("/ui", "/ui/page.js", "/ui/page.css", "/ui/icon.svg"):
        assert client.get(path).status_code == 200
    for path in ("/ui/events", "/ui/page.py", "/ui/page.js/x"):
        assert client.get(path).status_code == 401
    sent = {"X-Api-Key": "s3cret"}
    reply = client.get("/ui/events", headers=sent, buffered=False)
    assert reply.status_code == 200
    reply.close()


def test_strangers_see_no_paths_and_no_reasons(client: FlaskClient, engine: FakeEngine) -> None:
    away = {"REMOTE_ADDR": "192.168.0.9"}
    reply = client.get("/ui/events", environ_overrides=away, buffered=False)
    state = json.loads(next(iter(reply.response))[len(b"data: ") :])
    reply.close()
    assert state["operator"] is False
    assert state["health"]["model_path"] is None
