"""With a key, only those who send it are answered; watchdogs always are."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from axproxy.settings import Settings
from backend import create_app
from tests.fakes import FakeEngine

KEY = "s3cret"


@pytest.fixture
def locked() -> FlaskClient:
    return create_app(Settings(api_key=KEY), FakeEngine()).test_client()


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
        ("GET", "/nowhere", 401),
    ],
)
def test_without_the_key_nothing_is_told(
    locked: FlaskClient, method: str, path: str, status: int, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header}
    reply = locked.open(path, method=method, headers=headers)

    assert reply.status_code == status
    assert "Authorization: Bearer" in reply.get_json()["error"]
    assert ("WWW-Authenticate" in reply.headers) == (status == 401)


def test_with_the_key_everything_is_as_without_one(locked: FlaskClient) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}

    assert locked.get("/api/tags", headers=headers).status_code == 200
    assert locked.get("/nowhere", headers=headers).status_code == 404
