"""What clients get from `axllm` in another way than from `main_api`; the rest they get alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.service import Service, Start

HI: list[Any] = [{"role": "user", "content": "Why is the sky blue?"}]


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("axllm") / "answer"


@pytest.fixture(scope="module")
def service(start_shared_service: Start, answer: Path) -> Service:
    answer.write_text("It scatters.")
    mock = f"--load-seconds 0.1 --tokens-per-second 500 --reply-file {answer}"
    return start_shared_service(AX650_RUNTIME="mock-axllm", AX650_MOCK_ARGS=mock)


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/api/generate", {"prompt": "Hi", "raw": True}, "leave raw out"),
        ("/api/generate", {"prompt": "Hi", "context": [1]}, "leave context out"),
        ("/api/generate", {"prompt": "Hi", "suffix": "x"}, "does not support insert"),
        ("/api/embed", {"input": "Hi"}, "does not support embeddings"),
    ],
)
def test_what_it_cannot_do_is_one_sentence(
    service: Service, path: str, body: dict[str, Any], words: str
) -> None:
    reply = service.post(path, {"model": "mock", **body})

    assert reply.status_code == 400
    assert words in reply.json()["error"]


def test_health_shows_one_program_and_hits_of_its_cache(service: Service, answer: Path) -> None:
    answer.write_text("It scatters.")
    turns = [*HI, {"role": "assistant", "content": "It scatters."}, *HI]
    for messages in (HI, turns):
        body = {"model": "mock", "messages": messages, "stream": False, "think": False}
        assert service.post("/api/chat", body).status_code == 200
    health = service.health()

    assert health["tokenizer"] is None
    assert health["context_length"] == 2559
    assert health["kv_cache"]["hits"] >= 1
