"""Pulls without a download, and the routes that Ollama forwards to ollama.com."""

from __future__ import annotations

import json

import pytest
from flask.testing import FlaskClient

from tests.support.fakes import QWEN

NO_MANIFEST = {"error": f"pull model manifest: file does not exist; this service has {QWEN.name}"}
RECOMMENDED = {
    "recommendations": [
        {"model": QWEN.name, "description": "qwen3 0.6B on this service's AX650 card"}
    ]
}
NO_SIGN_IN = (
    "signing in to ollama.com is not available here: this service has a model of its own and needs "
    "no account"
)
DIGEST = f"sha256:{QWEN.digest}"


@pytest.mark.parametrize("body", [{"model": "Qwen3:0.6b"}, {"model": "", "name": "qwen3:0.6b"}])
def test_a_pull_of_the_configured_model_succeeds(
    client: FlaskClient, body: dict[str, object]
) -> None:
    reply = client.post("/api/pull", json=body)

    assert reply.content_type == "application/x-ndjson"
    assert [json.loads(line) for line in reply.data.splitlines()] == [
        {"status": "pulling manifest"},
        {
            "status": "pulling 3bd6d254bdf0",
            "digest": DIGEST,
            "total": QWEN.size,
            "completed": QWEN.size,
        },
        {"status": "verifying sha256 digest"},
        {"status": "writing manifest"},
        {"status": "success"},
    ]
    reply = client.post("/api/pull", json={**body, "stream": False})
    assert (reply.status_code, reply.data) == (200, b'{"status":"success"}')
    assert reply.content_type == "application/json"


@pytest.mark.parametrize("name", ["nope", "qwen3:cloud", "me/qwen3:0.6b"])
def test_a_pull_of_any_other_model_fails_as_for_a_missing_manifest(
    client: FlaskClient, name: str
) -> None:
    reply = client.post("/api/pull", json={"model": name})

    assert reply.status_code == 200
    assert [json.loads(line) for line in reply.data.splitlines()] == [
        {"status": "pulling manifest"},
        NO_MANIFEST,
    ]
    reply = client.post("/api/pull", json={"model": name, "stream": False})
    assert (reply.status_code, reply.get_json()) == (500, NO_MANIFEST)


@pytest.mark.parametrize(("digest", "status"), [(DIGEST, 404), ("sha256:12", 400), ("x", 400)])
def test_no_blob_is_found(client: FlaskClient, digest: str, status: int) -> None:
    reply = client.head(f"/api/blobs/{digest}")

    assert (reply.status_code, reply.data) == (status, b"")


def test_no_blob_is_accepted(client: FlaskClient) -> None:
    reply = client.post(f"/api/blobs/{DIGEST}", data=b"GGUF")
    assert reply.status_code == 403
    assert reply.get_json()["error"].startswith("only models for these cards can be used")
    reply = client.post("/api/blobs/x", data=b"GGUF")
    assert (reply.status_code, reply.get_json()) == (400, {"error": "invalid digest format"})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reply"),
    [
        ("GET", "/api/status", "", 200, {"cloud": {"disabled": True, "source": "env"}}),
        ("GET", "/api/experimental/model-recommendations", "", 200, RECOMMENDED),
        ("POST", "/api/me", "", 403, {"error": NO_SIGN_IN}),
        ("POST", "/api/signout", "", 401, {"error": "you are not currently signed in"}),
        ("DELETE", "/api/user/keys/abc", "", 401, {"error": "you are not currently signed in"}),
        ("POST", "/api/experimental/web_search", " ", 400, {"error": "missing request body"}),
        *(
            (
                "POST",
                f"/api/experimental/web_{service}",
                "{}",
                403,
                {"error": f"ollama cloud is disabled: web {service} is unavailable"},
            )
            for service in ("search", "fetch")
        ),
    ],
)
def test_no_route_contacts_the_cloud(
    client: FlaskClient, method: str, path: str, body: str, status: int, reply: dict[str, object]
) -> None:
    answer = client.open(path, method=method, data=body)

    assert (answer.status_code, answer.get_json()) == (status, reply)
    assert answer.content_type == "application/json; charset=utf-8"
