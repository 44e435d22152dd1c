"""Models made from another one: created, copied, shown, used and deleted, as Ollama does it."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from axproxy.api.ollama.defaults import with_defaults
from axproxy.engine.protocol import Loaded
from axproxy.messages import ChatRequest, Limits, Message, Sampling
from axproxy.models.catalog import ModelCatalog
from axproxy.models.derived import DERIVED, DerivedModels
from axproxy.models.model import Model, ModelDefaults
from axproxy.models.store import RECORD, ModelStore
from axproxy.settings import Settings
from backend import create_app
from tests.support.fakes import QWEN, FakeEngine
from tests.support.model_folders import axllm_model

PIRATE = {
    "model": "pirate",
    "from": "base",
    "system": "You are a pirate.",
    "parameters": {"temperature": 0.3, "stop": ["STOP"], "num_ctx": 2048},
    "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Arr"}],
    "name": "",
}


@pytest.fixture(name="place")
def store_folder(tmp_path: Path) -> Path:
    axllm_model(tmp_path / "base")
    (tmp_path / "base" / RECORD).write_text('{"name": "base:latest"}')
    return tmp_path


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(on_card=())


@pytest.fixture(name="client")
def client_of_a_store(place: Path, engine: FakeEngine) -> FlaskClient:
    store = ModelStore(Settings(runtime="vendor"), place)
    catalog = ModelCatalog(None, store, DerivedModels(place))
    return create_app(Settings(), engine, catalog).test_client()


def lines(client: FlaskClient, path: str, body: Any) -> list[dict[str, Any]]:
    reply = client.post(path, json=body)
    assert reply.status_code == 200, reply.data
    return [json.loads(line) for line in reply.data.splitlines()]


def names(client: FlaskClient) -> list[str]:
    body = client.get("/api/tags").get_json()
    return [model["name"] for model in body["models"]]


def test_a_model_is_created_as_the_command_line_expects_it(client: FlaskClient) -> None:
    statuses = [line["status"] for line in lines(client, "/api/create", PIRATE)]
    assert statuses[0].startswith("using existing layer sha256:")
    assert all(status.startswith("creating new layer sha256:") for status in statuses[1:-2])
    assert statuses[-2:] == ["writing manifest", "success"]
    assert names(client) == ["base:latest", "pirate:latest"]


def test_a_created_model_is_shown_with_all_that_was_said(client: FlaskClient) -> None:
    lines(client, "/api/create", PIRATE)
    shown = client.post("/api/show", json={"model": "pirate"}).get_json()
    assert shown["system"] == PIRATE["system"]
    assert shown["messages"] == PIRATE["messages"]
    assert shown["details"]["parent_model"] == "base:latest"
    assert "temperature                    0.3" in shown["parameters"]
    for line in (
        "FROM base:latest",
        'SYSTEM """You are a pirate."""',
        "PARAMETER temperature 0.3",
        'PARAMETER stop "STOP"',
        "MESSAGE user Hi",
        "MESSAGE assistant Arr",
    ):
        assert line in shown["modelfile"].splitlines()


def test_its_own_words_come_before_those_of_the_request(
    client: FlaskClient, engine: FakeEngine
) -> None:
    lines(client, "/api/create", PIRATE)
    ahoy = {"model": "pirate", "messages": [{"role": "user", "content": "ahoy"}]}
    for path, body in (
        ("/api/chat", ahoy),
        ("/v1/chat/completions", ahoy),
        ("/v1/messages", {**ahoy, "max_tokens": 9}),
        ("/api/generate", {"model": "pirate", "prompt": "ahoy"}),
        ("/generate", {"model": "pirate", "prompt": "ahoy"}),
    ):
        client.post(path, json=body).close()
        asked = engine.history[-1]
        assert [message.content for message in asked.messages] == [
            "You are a pirate.",
            "Hi",
            "Arr",
            "ahoy",
        ], path
        assert asked.limits.stop == ("STOP",)
        assert engine.models[-1].folder is not None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "ahoy"}]}),
        ("/v1/completions", {"prompt": "ahoy"}),
        ("/v1/responses", {"input": "ahoy"}),
    ],
)
def test_the_models_parameters_win_over_the_defaults_of_openai(
    client: FlaskClient, engine: FakeEngine, path: str, body: dict[str, Any]
) -> None:
    lines(client, "/api/create", PIRATE)
    temperatures = []
    for extra in ({"model": "pirate"}, {"model": "pirate", "temperature": 0.5}, {"model": "base"}):
        client.post(path, json={**body, **extra}).close()
        temperatures.append(engine.history[-1].sampling.temperature)
    assert temperatures == [0.3, 0.5, 1.0]


def test_a_request_that_goes_on_from_a_context_has_the_messages_in_that() -> None:
    model = replace(QWEN, defaults=ModelDefaults("mine", messages=(Message("user", "Hi"),)))
    chat = ChatRequest((Message("user", "ahoy"),), context=(1, 2, 3))
    merged = with_defaults(model, chat)
    assert [message.content for message in merged.messages] == ["mine", "ahoy"]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("Arr", "MESSAGE assistant Arr"),
        ("one\ntwo", 'MESSAGE assistant "one\ntwo"'),
        ('say "ahoy"\nnow', 'MESSAGE assistant """say "ahoy"\nnow"""'),
        (" blank", 'MESSAGE assistant " blank"'),
    ],
)
def test_a_message_of_several_lines_stays_one_command_of_the_modelfile(
    client: FlaskClient, content: str, line: str
) -> None:
    said = {"messages": [{"role": "assistant", "content": content}], "license": ["MIT\nGPL"]}
    lines(client, "/api/create", {**PIRATE, **said})
    shown = client.post("/api/show", json={"model": "pirate"}).get_json()
    assert f"{line}\n" in shown["modelfile"]
    assert 'LICENSE """MIT\nGPL"""' in shown["modelfile"]
    assert shown["license"] == "MIT\nGPL"


def test_what_the_request_says_wins_over_the_model() -> None:
    model = replace(
        QWEN,
        defaults=ModelDefaults("mine", {"temperature": 0.3, "num_predict": 5, "top_k": 7}),
    )
    chat = ChatRequest(
        (Message("system", "yours"), Message("user", "Hi")),
        sampling=Sampling(temperature=0.9),
        limits=Limits(stop=("x",)),
    )
    merged = with_defaults(model, chat)
    assert [message.content for message in merged.messages] == ["yours", "Hi"]
    assert merged.sampling == Sampling(temperature=0.9, top_k=7)
    assert merged.limits == Limits(5, ("x",))
    raw = with_defaults(model, replace(chat, raw=True, messages=(Message("user", "Hi"),)))
    assert raw.messages == (Message("user", "Hi"),)
    assert raw.sampling.top_k == 7
    assert with_defaults(QWEN, chat) is chat


def test_a_model_derived_from_a_derived_one_adds_to_it(client: FlaskClient) -> None:
    lines(client, "/api/create", PIRATE)
    lines(client, "/api/create", {"model": "mate", "from": "pirate", "parameters": {"top_k": 3}})
    shown = client.post("/api/show", json={"model": "mate"}).get_json()
    assert shown["system"] == PIRATE["system"]
    assert shown["details"]["parent_model"] == "pirate:latest"
    assert "temperature" in shown["parameters"]
    assert "top_k" in shown["parameters"]
    client.delete("/api/delete", json={"model": "pirate"})
    assert names(client) == ["base:latest", "mate:latest"]


def test_what_is_made_of_the_same_has_the_same_digest(client: FlaskClient) -> None:
    for name, change in (("first", {}), ("second", {}), ("third", {"system": "Arr."})):
        lines(client, "/api/create", {**PIRATE, "model": name, **change})
    _base, first, second, third = client.get("/api/tags").get_json()["models"]
    assert first["digest"] == second["digest"] != third["digest"]


def test_a_copy_is_the_same_model_with_another_name(client: FlaskClient) -> None:
    reply = client.post("/api/copy", json={"source": "base", "destination": "mine/other:x"})
    assert (reply.status_code, reply.data) == (200, b"")
    assert "Content-Type" not in reply.headers
    first, second = client.get("/api/tags").get_json()["models"]
    assert (second["name"], second["digest"]) == ("mine/other:x", first["digest"])
    assert second["details"] == first["details"]


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"model": "a b"}, 400, "invalid model name"),
        ({"from": ""}, 400, "neither 'from' or 'files' was specified"),
        ({"model": "base"}, 400, "is a model with files of its own; choose another name"),
        ({"template": "{{ .Prompt }}"}, 400, "leave TEMPLATE out of the Modelfile"),
        ({"parameters": {"temperature": "hot"}}, 500, "must be of type float32"),
        ({"files": {"a.gguf": "sha256:0"}}, 403, "none is made of files"),
        ({"adapters": {"a": "sha256:0"}}, 403, "none is made of files"),
    ],
)
def test_what_cannot_be_created_is_refused(
    client: FlaskClient, change: dict[str, Any], status: int, error: str
) -> None:
    reply = client.post("/api/create", json={**PIRATE, **change})
    assert reply.status_code == status
    assert error in reply.get_json()["error"]
    assert names(client) == ["base:latest"]


def test_the_template_that_is_shown_is_accepted_again(client: FlaskClient) -> None:
    shown = client.post("/api/show", json={"model": "base"}).get_json()
    lines(client, "/api/create", {**PIRATE, "template": shown["template"]})


def test_an_unknown_base_is_told_as_ollama_tells_it(client: FlaskClient) -> None:
    first, last = lines(client, "/api/create", {**PIRATE, "from": "llama3"})
    assert first == {"status": "pulling manifest"}
    assert last["error"].startswith("pull model manifest: file does not exist")


def test_created_models_survive_a_restart_and_one_that_is_damaged_hides_no_other(
    client: FlaskClient, place: Path
) -> None:
    lines(client, "/api/create", PIRATE)
    lines(client, "/api/create", {**PIRATE, "model": "second"})
    (place / DERIVED / "second%3Alatest.json").write_text("{")
    derived = DerivedModels(place)
    bases = ModelStore(Settings(runtime="vendor"), place).models()
    assert [model.name for model in derived.models(bases)] == ["pirate:latest"]
    assert [path.name for path in derived.damaged()] == ["second%3Alatest.json"]
    assert derived.models([]) == []  # the base is gone


def test_a_pulled_model_is_deleted_with_its_files_after_it_has_left_the_card(
    client: FlaskClient, engine: FakeEngine, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ModelStore(Settings(runtime="vendor"), place).models()[0]
    engine.on_card = (Loaded(model, None),)

    def unload(_model: Model) -> None:
        assert (place / "base" / "config.json").exists()
        engine.on_card = ()

    monkeypatch.setattr(engine, "unload", unload)
    reply = client.delete("/api/delete", json={"model": "base"})
    assert (reply.status_code, reply.data) == (200, b"")
    assert not (place / "base").exists()
    assert names(client) == []


def test_a_deleted_model_is_no_longer_among_those_that_are_loaded(
    client: FlaskClient, engine: FakeEngine, place: Path
) -> None:
    lines(client, "/api/create", PIRATE)
    bases = ModelStore(Settings(runtime="vendor"), place).models()
    engine.on_card = tuple(Loaded(each, None) for each in DerivedModels(place).models(bases))

    def running() -> list[str]:
        return [each["name"] for each in client.get("/api/ps").get_json()["models"]]

    assert running() == ["pirate:latest"]
    client.delete("/api/delete", json={"model": "pirate"})
    assert running() == ["base:latest"]


def test_a_model_is_not_deleted_while_another_one_has_its_files(
    client: FlaskClient, place: Path
) -> None:
    lines(client, "/api/create", PIRATE)
    client.post("/api/copy", json={"source": "pirate", "destination": "corsair"})
    reply = client.delete("/api/delete", json={"model": "base"})
    assert reply.status_code == 409
    assert "has the files of corsair:latest, pirate:latest" in reply.get_json()["error"]
    assert (place / "base").exists()
    for name in ("pirate", "corsair", "base"):
        assert client.delete("/api/delete", json={"model": name}).status_code == 200
    assert names(client) == []


def test_a_full_disk_leaves_nothing_of_a_model_and_is_reported(
    client: FlaskClient, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("axproxy.models.stored_file.os.fsync", no_room)
    reply = client.post("/api/create", json=PIRATE)
    assert reply.status_code == 500
    assert "No space left on device" in reply.get_json()["error"]
    assert list((place / DERIVED).iterdir()) == []
    assert names(client) == ["base:latest"]


def test_models_made_within_one_tick_of_the_clock_are_all_listed(place: Path) -> None:
    base = replace(QWEN, name="base:latest")
    derived = DerivedModels(place)
    for number in range(9):
        derived.create(f"m{number}:latest", base, ModelDefaults(), copy=True)
        os.utime(place / DERIVED, ns=(7, 7))
        assert len(derived.models([base])) == number + 1


def test_a_name_as_long_as_ollama_allows_is_kept(place: Path) -> None:
    base, name = replace(QWEN, name="base:latest"), f"{'h' * 300}/{'n' * 80}/{'m' * 80}:{'t' * 80}"
    made = DerivedModels(place).create(name, base, ModelDefaults(), copy=True)
    assert DerivedModels(place).models([base]) == [made]


def test_a_model_that_answers_is_not_deleted(
    client: FlaskClient, engine: FakeEngine, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.on_card = (Loaded(ModelStore(Settings(runtime="vendor"), place).models()[0], None),)
    monkeypatch.setattr("axproxy.api.ollama.store.LONGEST_UNLOAD", 0.0)
    reply = client.delete("/api/delete", json={"model": "base"})
    assert reply.status_code == 409
    assert (place / "base").exists()


def test_a_folder_of_the_owners_is_not_deleted(
    client: FlaskClient, engine: FakeEngine, place: Path
) -> None:
    shutil.copytree(place / "base", place / "mine", ignore=shutil.ignore_patterns(RECORD))
    reply = client.delete("/api/delete", json={"model": "mine"})
    assert reply.status_code == 403
    assert f"remove its folder {place / 'mine'} yourself" in reply.get_json()["error"]
    assert (place / "mine").exists()
    assert engine.unloads == 0


def test_created_models_have_a_bound_for_each_request_looks_through_them(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = client.post("/api/create", json={**PIRATE, "system": "x" * (1 << 20)})
    assert (long.status_code, "larger than 1 MiB" in long.get_json()["error"]) == (400, True)
    monkeypatch.setattr("axproxy.models.derived.MOST", 2)
    for name in ("a", "b", "a"):  # one that is replaced takes no room
        lines(client, "/api/create", {**PIRATE, "model": name})
    full = client.post("/api/create", json={**PIRATE, "model": "c"})
    assert (full.status_code, "delete some" in full.get_json()["error"]) == (400, True)
    monkeypatch.setattr("axproxy.models.derived.MOST_BYTES", 10)
    copy = client.post("/api/copy", json={"source": "base", "destination": "d"})
    assert copy.status_code == 400
    assert names(client) == ["base:latest", "a:latest", "b:latest"]


def test_a_request_reads_and_digests_no_file_of_a_created_model(
    client: FlaskClient, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines(client, "/api/create", {**PIRATE, "system": "x" * 500_000})
    assert "pirate:latest" in names(client)
    monkeypatch.setattr("axproxy.models.derived._made", lambda _row: pytest.fail("read again"))
    for _ in range(3):
        client.post(
            "/api/chat", json={"model": "base", "messages": [{"role": "user", "content": "Hi"}]}
        ).close()
    assert len(engine.history) == 3


names_of_files = st.text(min_size=1, max_size=40)


@given(names_of_files, st.recursive(st.none() | st.text(), st.lists, max_leaves=5))
def test_no_name_and_no_content_of_a_file_breaks_the_list(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: Any
) -> None:
    place = tmp_path_factory.mktemp("derived")
    derived = DerivedModels(place)
    base = replace(QWEN, name="base:latest")
    made = derived.create(name, base, ModelDefaults("s", {"top_k": 1}), copy=False)
    assert derived.models([base]) == [made]
    assert [path.parent for path in place.rglob("*.json")] == [place / DERIVED]
    (place / DERIVED / "bad.json").write_text(json.dumps({"name": "x", "messages": content}))
    assert DerivedModels(place).models([base]) == [made]
