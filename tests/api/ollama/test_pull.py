"""`/api/pull` into a store, from a hub on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from axproxy.models.catalog import ModelCatalog
from axproxy.models.hub import Hub
from axproxy.models.pull import PULLS, Programs, Pulls
from axproxy.models.store import ModelStore
from axproxy.settings import Settings
from backend import create_app
from tests.support.fakes import FakeEngine
from tests.support.hub import FakeHub
from tests.support.model_folders import axllm_model
from tests.support.waiting import eventually


@pytest.fixture(name="hub")
def serving_hub(tmp_path: Path) -> Iterator[FakeHub]:
    hub = FakeHub()
    published = axllm_model(tmp_path / "published")
    (published / "model.embed_tokens.weight.bfloat16.bin").write_bytes(b"e" * 8192)
    hub.files = {file.name: file.read_bytes() for file in published.iterdir()}
    with hub.serving():
        yield hub


@pytest.fixture(name="place")
def store_folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture(name="client")
def client_of_a_store(hub: FakeHub, place: Path) -> FlaskClient:
    pulls = Pulls(place, lambda: Hub(hub.url), lambda: Programs(True, True), lambda *_: 0.0)
    store = ModelStore(Settings(runtime="vendor"), place)
    catalog = ModelCatalog(None, store, pull=pulls.pull)
    return create_app(Settings(), FakeEngine(), catalog).test_client()


def test_a_pull_reports_its_progress_as_ollama_does(client: FlaskClient, place: Path) -> None:
    reply = client.post("/api/pull", json={"model": "qwen3:0.6b", "name": "qwen3:0.6b"})
    lines = [json.loads(line) for line in reply.data.splitlines()]
    assert reply.content_type == "application/x-ndjson"
    assert lines[0] == {"status": "pulling manifest"}
    assert [line["status"] for line in lines[-3:]] == [
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    bars = [line for line in lines if "total" in line]
    assert len({line["digest"] for line in bars}) == 1
    assert bars[-1]["completed"] == bars[-1]["total"]
    (model,) = client.get("/api/tags").json["models"]  # type: ignore[index]  # it is JSON
    assert model["name"] == "qwen3:0.6b"
    assert f"sha256:{model['digest']}" == bars[-1]["digest"]


def test_a_pull_without_a_stream_answers_once(client: FlaskClient) -> None:
    reply = client.post("/api/pull", json={"model": "qwen3:0.6b", "stream": False})
    assert (reply.status_code, reply.json) == (200, {"status": "success"})


def test_an_unknown_name_is_refused_in_the_words_that_the_command_line_looks_for(
    client: FlaskClient,
) -> None:
    reply = client.post("/api/pull", json={"model": "llama3"})
    error = json.loads(reply.data.splitlines()[-1])["error"]
    assert error.startswith("pull model manifest: file does not exist; 'llama3' is not a model")
    reply = client.post("/api/pull", json={"model": "llama3", "stream": False})
    assert reply.status_code == 500


def test_a_fault_of_the_hub_is_told_in_the_stream(client: FlaskClient, hub: FakeHub) -> None:
    hub.status = {"/tree/": [404]}
    reply = client.post("/api/pull", json={"model": "qwen3:0.6b"})
    assert "check the name" in json.loads(reply.data.splitlines()[-1])["error"]


def test_a_client_that_leaves_stops_its_pull(
    client: FlaskClient, hub: FakeHub, place: Path
) -> None:
    hub.pause = 0.05
    reply = client.post("/api/pull", json={"model": "qwen3:0.6b"}, buffered=False)
    lines = iter(reply.response)
    eventually(lambda: b"completed" in next(lines))
    reply.close()
    asked = len(hub.requests)
    eventually(lambda: bool(list((place / PULLS).rglob("*.part"))))
    hub.pause = 0.0
    assert len(hub.requests) == asked
    assert client.get("/api/tags").json == {"models": []}


def test_a_model_of_the_owners_counts_as_pulled(client: FlaskClient, place: Path) -> None:
    axllm_model(place / "mine")
    reply = client.post("/api/pull", json={"model": "mine"})
    assert json.loads(reply.data.splitlines()[-1]) == {"status": "success"}
