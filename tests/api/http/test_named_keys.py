"""Named keys: what their owners may do, and a file that changes while the service runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from axproxy.api.http.named_keys import KeyFile, KeyLimits
from axproxy.api_keys import BadKeyLine, NamedKey, digest_of
from axproxy.errors import TooManyRequests
from axproxy.models.model import Model
from axproxy.settings import Settings, SettingsError
from backend import create_app
from tests.support.fakes import QWEN, FakeEngine, FakeModels

OTHER = replace(QWEN, name="other:1b", folder=Path("/models/other"))
CHAT = {"model": "qwen3:0.6b", "messages": [{"role": "user", "content": "Hi"}], "stream": False}
PATHS = {"/api/chat": {}, "/v1/chat/completions": {}, "/v1/messages": {"max_tokens": 5}}


def line(name: str, limits: str = "") -> str:
    return f"{name} sha256:{digest_of(f'key of {name}'.encode())} {limits}\n"


def sent(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer key of {name}"}


class TwoModels(FakeModels):
    def find(self, name: str) -> Model:
        return OTHER if name.startswith("other") else super().find(name)

    def all(self) -> list[Model]:
        return [QWEN, OTHER]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(
        line("anna")
        + line("slow", "rate=2")
        + line("one", "waiting=0")
        + line("other", "models=other:1b")
        + line("boss", "operator")
    )
    return path


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def client(file: Path, engine: FakeEngine) -> FlaskClient:
    return create_app(Settings(api_keys_file=file), engine, TwoModels()).test_client()


def test_a_named_key_lets_its_owner_in_and_no_other_does(client: FlaskClient) -> None:
    assert client.post("/api/chat", json=CHAT, headers=sent("anna")).status_code == 200
    assert client.post("/api/chat", json=CHAT, headers=sent("nobody")).status_code == 403
    assert client.post("/v1/messages", json=CHAT).status_code == 401
    assert client.get("/health").status_code == 200


def test_turns_go_round_by_the_names_of_the_keys(client: FlaskClient, engine: FakeEngine) -> None:
    client.post("/api/chat", json=CHAT, headers=sent("anna"))
    client.post("/api/chat", json=CHAT, headers=sent("boss"))
    client.post("/api/embed", json={"model": "qwen3:0.6b", "input": "a"}, headers=sent("boss"))
    assert [request.address for request in engine.history] == ["key anna", "key boss"]
    # Thinking that one was sent is nothing that the other may go on from.
    assert len({request.client for request in engine.history}) == 2


@pytest.mark.parametrize("path", PATHS)
def test_beyond_its_rate_a_key_is_refused_for_the_rest_of_the_minute(
    client: FlaskClient, path: str
) -> None:
    body = CHAT | PATHS[path]
    replies = [client.post(path, json=body, headers=sent("slow")) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert 1 <= int(replies[2].headers["Retry-After"]) <= 60
    assert "2 requests a minute" in replies[2].get_data(as_text=True)
    assert client.post(path, json=body, headers=sent("anna")).status_code == 200


def test_the_refusals_have_the_types_of_each_api(client: FlaskClient) -> None:
    errors = []
    for path, more in PATHS.items():
        for _ in range(3):
            reply = client.post(path, json=CHAT | more, headers=sent("slow"))
        errors.append(reply.get_json()["error"])
    assert errors[0].startswith("upstream error: the key slow may send")
    assert (errors[1]["type"], errors[1]["code"]) == ("requests", "rate_limit_exceeded")
    assert errors[2]["type"] == "rate_limit_error"


def test_a_key_has_one_request_in_progress_beside_those_that_may_wait(client: FlaskClient) -> None:
    stream = CHAT | {"stream": True}
    first = client.post("/api/chat", json=stream, headers=sent("one"))
    refused = client.post("/api/chat", json=stream, headers=sent("one"))
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "5")
    first.close()
    for body, status in ((stream, 200), ({"model": "nothing"}, 404), (CHAT, 200)):
        reply = client.post("/api/chat", json=body, headers=sent("one"), buffered=True)
        assert reply.status_code == status


def test_a_request_that_fails_is_no_longer_in_progress(
    client: FlaskClient, engine: FakeEngine
) -> None:
    for refusal, status in ((RuntimeError("broken"), 500), (None, 200)):
        engine.refusal = refusal
        reply = client.post("/api/chat", json=CHAT, headers=sent("one"), buffered=True)
        assert reply.status_code == status


@pytest.mark.parametrize("path", PATHS)
def test_a_model_that_a_key_may_not_use_does_not_exist_for_it(
    client: FlaskClient, path: str
) -> None:
    body = CHAT | PATHS[path]
    refused = client.post(path, json=body, headers=sent("other"))
    assert refused.status_code == 404
    assert "model 'qwen3:0.6b' not found" in refused.get_data(as_text=True)
    assert (
        client.post(path, json=body | {"model": "other"}, headers=sent("other")).status_code == 200
    )
    listed = client.get("/api/tags", headers=sent("other")).get_json()["models"]
    assert [model["name"] for model in listed] == ["other:1b"]
    assert len(client.get("/api/tags", headers=sent("anna")).get_json()["models"]) == 2


def test_no_error_names_models_that_a_key_may_not_use(client: FlaskClient) -> None:
    refused = client.post("/api/chat", json=CHAT | {"model": "x"}, headers=sent("other"))
    assert refused.status_code == 404
    assert "qwen3" not in refused.get_data(as_text=True)


def test_without_a_name_a_request_gets_a_model_that_its_key_may_use(
    client: FlaskClient, engine: FakeEngine
) -> None:
    client.post("/generate", json={"prompt": "Hi"}, headers=sent("other"))
    assert engine.models == [OTHER]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/pull"),
        ("POST", "/api//pull/"),
        ("POST", "/api/create"),
        ("POST", "/api/copy"),
        ("DELETE", "/api/delete"),
        ("POST", "/restart"),
    ],
)
def test_only_an_operator_changes_what_all_use(client: FlaskClient, method: str, path: str) -> None:
    assert client.open(path, method=method, json={}, headers=sent("anna")).status_code == 403
    assert client.open(path, method=method, json={}, headers=sent("boss")).status_code != 403


def test_only_an_operator_sees_details(client: FlaskClient) -> None:
    seen = [client.get("/health", headers=sent(name)).get_json() for name in ("anna", "boss")]
    assert [health["model_path"] for health in seen] == [None, "/models/qwen3-0.6b"]


def test_the_single_key_has_no_limits_beside_named_ones(file: Path) -> None:
    settings = Settings(api_key="main", api_keys_file=file)
    client = create_app(settings, FakeEngine(), FakeModels()).test_client()
    headers = {"X-Api-Key": "main"}
    assert client.post("/restart", headers=headers).status_code == 202
    assert client.post("/api/chat", json=CHAT, headers=headers).status_code == 200


@pytest.fixture
def error_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, logger="axproxy.api.http.named_keys"):
        yield caplog


def test_a_file_that_changes_is_read_without_a_restart(
    file: Path, error_log: pytest.LogCaptureFixture
) -> None:
    keys = KeyFile(file)
    file.write_text(line("bert") + line("anna", "rate=1"))
    assert keys.find([b"key of bert"]) == NamedKey("bert", digest_of(b"key of bert"))
    assert keys.find([b"key of boss"]) is None
    assert error_log.messages == ["AX650_API_KEYS_FILE has changed; it has 2 keys now"]


@pytest.mark.parametrize("broken", [b"anna", b"\xff\xfe", None])
def test_a_broken_new_file_leaves_the_keys_as_they_were(
    file: Path, error_log: pytest.LogCaptureFixture, broken: bytes | None
) -> None:
    keys = KeyFile(file)
    good = file.read_bytes()
    if broken is None:
        file.unlink()
    else:
        file.write_bytes(broken)
    for _ in range(3):
        assert keys.find([b"key of anna"])
    (message,) = error_log.messages
    assert "the keys stay as they were" in message
    replacement = file.with_name("new")
    replacement.write_bytes(good)
    os.replace(replacement, file)
    assert keys.find([b"key of anna"])
    assert len(error_log.messages) == 2


def test_a_service_does_not_start_with_a_file_that_it_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot be used: .*No such file"):
        create_app(Settings(api_keys_file=tmp_path / "x"), FakeEngine(), FakeModels())
    (tmp_path / "x").write_text("anna\n")
    with pytest.raises(SettingsError, match="line 1"):
        create_app(Settings(api_keys_file=tmp_path / "x"), FakeEngine(), FakeModels())
    with pytest.raises(SettingsError, match="lets every client in"):
        create_app(
            Settings(api_keys_file=tmp_path / "x", api_key="none"), FakeEngine(), FakeModels()
        )
    with pytest.raises(BadKeyLine):
        KeyFile(tmp_path / "x")


def test_named_keys_allow_the_network_to_reach_the_service(file: Path) -> None:
    settings = Settings(host="0.0.0.0", api_keys_file=file)  # nothing listens
    assert create_app(settings, FakeEngine(), FakeModels())


def test_the_rate_is_counted_in_any_minute() -> None:
    now = 0.0
    limits = KeyLimits(lambda: now)
    key = NamedKey("anna", "", rate=2)
    limits.begin(key)
    now = 50.0
    limits.begin(key)
    for now, left in ((50.0, 10), (59.5, 1)):  # noqa: B007 - the clock reads it
        with pytest.raises(TooManyRequests) as refused:
            limits.begin(key)
        assert refused.value.retry_after == left
    now = 60.0
    limits.begin(key)
    with pytest.raises(TooManyRequests):
        limits.begin(key)


def test_a_request_ends_once_however_often_that_is_said() -> None:
    limits = KeyLimits()
    key = NamedKey("anna", "", waiting=1)
    first, _second = limits.begin(key), limits.begin(key)
    first()
    first()
    limits.begin(key)
    with pytest.raises(TooManyRequests):
        limits.begin(key)
