"""Several models in a store, through the whole service: two for axllm and one for main_api."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.model_folders import published_model
from tests.support.service import HTTP, ROOT, Service, Start
from tests.support.waiting import eventually

NAMES = ("small", "large", "older")


@pytest.fixture(scope="module", name="store")
def store_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("store")
    for name in NAMES[:2]:
        shutil.copytree(ROOT / "axmock" / "axllm" / "model", place / name)
    published_model(place / "older", flat=True)
    return place


@pytest.fixture(scope="module", name="service")
def service_of_a_store(start_shared_service: Start, store: Path) -> Service:
    return start_shared_service(
        AX650_RUNTIME="mock",
        AX650_MODELS_DIR=str(store),
        AX650_PRELOAD="small",
        AX650_MODEL_ALIASES="gpt-4o=small",
        AX650_MAX_LOADED_MODELS="2",
        AX650_MOCK_ARGS="--load-seconds 0.5 --tokens-per-second 200",
    )


def ask(service: Service, model: str, text: str = "Hi") -> str:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": False}
    reply = service.post("/api/chat", body)
    assert reply.status_code == 200, reply.text
    content: str = reply.json()["message"]["content"]
    return content


def on_card(service: Service) -> set[str]:
    return {model["name"] for model in service.get("/api/ps").json()["models"]}


def runtime_pids(service: Service) -> list[int]:
    """Return the pids of the programs that hold a model."""
    return [
        process.pid
        for process in service.family()
        if any("mock_" in word for word in process.cmdline())
    ]


def listed(service: Service) -> set[str]:
    return {model["name"] for model in service.get("/api/tags").json()["models"]}


def test_every_folder_of_the_store_is_a_model(service: Service) -> None:
    assert listed(service) == {f"{name}:latest" for name in NAMES}
    assert {model["id"] for model in service.get("/v1/models").json()["data"]} == {
        f"{name}:latest" for name in NAMES
    }


def test_a_request_loads_the_model_that_it_names(service: Service) -> None:
    assert "Where are you?" in ask(service, "large", "Where are you?")
    assert "large:latest" in on_card(service)
    assert "Where now?" in ask(service, "older", "Where now?")
    assert on_card(service) == {"older:latest"}  # main_api is always alone
    assert "And now?" in ask(service, "gpt-4o", "And now?")
    assert on_card(service) == {"small:latest"}


def test_models_for_axllm_stay_on_the_card_together(service: Service) -> None:
    ask(service, "small")
    ask(service, "large")
    assert on_card(service) == {"small:latest", "large:latest"}
    before = runtime_pids(service)
    ask(service, "small")
    assert runtime_pids(service) == before
    models = service.health()["models"]
    assert {model["model"] for model in models} == {"small:latest", "large:latest"}


def test_clients_that_want_different_models_are_all_answered(service: Service) -> None:
    answers: list[str] = []

    def client(model: str) -> None:
        answers.append(ask(service, model, f"I want {model}"))

    threads = [threading.Thread(target=client, args=(name,)) for name in NAMES * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert len(answers) == 9
    for name in NAMES:
        assert sum(f"I want {name}" in answer for answer in answers) == 3


def test_a_client_that_waits_for_a_switch_sees_signs_of_life_and_may_leave(
    service: Service,
) -> None:
    ask(service, "small")
    long = {"model": "small", "prompt": "Hi", "options": {"num_predict": 60}}
    with HTTP.post(f"{service.base}/api/generate", json=long, stream=True, timeout=30) as running:
        next(running.iter_lines())
        other = {"model": "older", "prompt": "Hi"}
        with HTTP.post(f"{service.base}/api/generate", json=other, stream=True, timeout=30):
            pass  # it leaves before its turn
    assert ask(service, "small")


def test_a_runtime_that_is_killed_in_the_middle_of_a_switch_is_started_again(
    service: Service,
) -> None:
    ask(service, "older")
    answers: list[str] = []
    waiting = threading.Thread(target=lambda: answers.append(ask(service, "large")))
    waiting.start()

    def loading() -> bool:
        health = service.health()
        return bool(
            health["model"].startswith("large") and health["runtime"]["state"] == "starting"
        )

    eventually(loading)
    os.kill(service.health()["runtime"]["pid"], signal.SIGKILL)
    waiting.join(50)
    assert len(answers) == 1
    assert on_card(service) == {"large:latest"}


def test_a_broken_folder_is_no_model_and_a_new_one_is_seen_at_once(
    service: Service, store: Path
) -> None:
    broken = store / "broken"
    shutil.copytree(store / "large", broken)
    (broken / "layer_0.axmodel").unlink()
    reply: dict[str, Any] = service.post("/api/chat", {"model": "broken"}).json()
    assert "model 'broken' not found" in reply["error"]
    shutil.copy(store / "large" / "layer_0.axmodel", broken)
    eventually(lambda: "broken:latest" in listed(service))
    assert ask(service, "broken")
    shutil.rmtree(broken)
    assert ask(service, "small")
