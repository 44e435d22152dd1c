"""The whole service on PyAXEngine, with a stand-in for the library."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import ollama
import pytest

from tests.support.axengine_models import (
    FAKE,
    encoder,
    write_bert_tokenizer,
    write_scripted_model,
)
from tests.support.service import Service, Start

HI: list[Any] = [{"role": "user", "content": "Why is the sky blue?"}]


def serve(start: Start, folder: Path) -> Service:
    return start(
        AX650_RUNTIME="axengine",
        AX650_MODEL_PATH=str(folder),
        AX650_MODEL_NAME="tiny",
        AX650_AXENGINE_PATH=str(FAKE),
        AX650_AXENGINE_PROVIDER="board",
    )


def test_a_client_gets_thinking_text_and_counts_and_health_names_the_provider(
    start_service: Start, tmp_path: Path
) -> None:
    write_scripted_model(tmp_path)("<think>\nHm.\n</think>\n\nIt scatters.")
    service = serve(start_service, tmp_path)
    with ollama.Client(service.base, trust_env=False) as client:
        *parts, last = client.chat("tiny", HI, stream=True, think=True)
        whole = client.chat("tiny", HI)

    assert "".join(part.message.content or "" for part in parts) == "It scatters."
    assert "".join(part.message.thinking or "" for part in parts).strip() == "Hm."
    assert last.done_reason == "stop"
    assert whole.message.content == "It scatters."
    health = service.health()
    work = health["runtime"]["pyaxengine"]
    assert work["provider"] == "AxEngineExecutionProvider"
    assert work["calls_per_token"] == 2.0  # one layer and the post model
    assert 0 <= work["outside_share"] < 1
    assert health["context_length"] == 2559
    assert health["kv_cache"]["hits"] + health["kv_cache"]["misses"] == 2


def test_the_same_seed_gives_the_same_answer(start_service: Start, tmp_path: Path) -> None:
    write_scripted_model(tmp_path, scripted=False)
    service = serve(start_service, tmp_path)

    def answered(**options: Any) -> str:
        body = {"model": "tiny", "messages": HI, "stream": False, "think": False}
        reply = service.post("/api/chat", {**body, "options": {"num_predict": 8, **options}})
        assert reply.status_code == 200, reply.text
        text: str = reply.json()["message"]["content"]
        return text

    assert answered(seed=1) == answered(seed=1) != answered(seed=2)
    assert answered(temperature=0) == answered(temperature=0, seed=5)


def test_an_encoder_makes_vectors_and_does_not_chat(start_service: Start, tmp_path: Path) -> None:
    write_bert_tokenizer(encoder(tmp_path))
    service = serve(start_service, tmp_path)
    texts = ["The sky is blue!", "the SKY is bluest", "[SEP] the sky"]
    reply = service.post("/api/embed", {"model": "tiny", "input": texts}).json()
    first, second, third = reply["embeddings"]

    assert reply["prompt_eval_count"] >= 7 + 7 + 5
    for vector in (first, second, third):
        assert math.hypot(*vector) == pytest.approx(1.0)
    assert first != second
    again = service.post("/v1/embeddings", {"model": "tiny", "input": texts[0]}).json()
    assert again["data"][0]["embedding"] == pytest.approx(first)

    long = {"model": "tiny", "input": "blue " * 30}
    assert service.post("/api/embed", long).json()["prompt_eval_count"] == 16
    refused = service.post("/api/embed", {**long, "truncate": False})
    assert (refused.status_code, refused.json()["error"]) == (
        400,
        "the input length exceeds the context length",
    )
    (tag,) = service.get("/api/tags").json()["models"]
    assert tag["capabilities"] == ["embedding"]
    refused = service.post("/api/chat", {"model": "tiny", "messages": HI})
    assert refused.status_code == 400
    assert "does not support chat" in refused.json()["error"]
