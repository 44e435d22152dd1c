"""Real clients of Ollama's and OpenAI's APIs on the vendor's `axllm`, simulated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import ollama
import openai
import pytest

from tests.support.service import Service, Start

CALL = '<tool_call>\n{"name": "pets", "arguments": {"n": 1}}\n</tool_call>'
TOOL = {
    "type": "function",
    "function": {"name": "pets", "parameters": {"type": "object", "properties": {}}},
}
HI: list[Any] = [{"role": "user", "content": "Why is the sky blue?"}]


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("axllm") / "answer"


@pytest.fixture(scope="module")
def service(start_shared_service: Start, answer: Path) -> Service:
    answer.write_text("It scatters.")
    mock = f"--load-seconds 0.1 --tokens-per-second 500 --reply-file {answer}"
    return start_shared_service(AX650_RUNTIME="mock-axllm", AX650_MOCK_ARGS=mock)


def test_ollama_python_streams_an_answer_and_its_thinking(service: Service, answer: Path) -> None:
    answer.write_text("<think>\nHm.\n</think>\n\nIt scatters.")
    with ollama.Client(service.base, trust_env=False) as client:
        parts = list(client.chat(model="mock", messages=HI, stream=True, think=True))

    assert "".join(part.message.content or "" for part in parts) == "It scatters."
    assert "".join(part.message.thinking or "" for part in parts).strip() == "Hm."
    assert parts[-1].done_reason == "stop"
    assert parts[-1].prompt_eval_count
    assert parts[-1].eval_count


def test_ollama_python_gets_a_tool_call_and_sends_its_result(
    service: Service, answer: Path
) -> None:
    answer.write_text(CALL)
    with ollama.Client(service.base, trust_env=False) as client:
        asked = client.chat(model="mock", messages=HI, tools=[TOOL], think=False)
        assert asked.message.tool_calls
        assert asked.message.tool_calls[0].function.arguments == {"n": 1}

        answer.write_text("One.")
        result = {"role": "tool", "tool_name": "pets", "content": "1"}
        turns = [*HI, asked.message, result]
        assert client.chat(model="mock", messages=turns, think=False).message.content == "One."


def test_openai_python_gets_a_stream_with_one_id_and_the_reason_for_its_end(
    service: Service, answer: Path
) -> None:
    answer.write_text("one two three four five six")
    web = httpx.Client(trust_env=False)
    with openai.OpenAI(base_url=f"{service.base}/v1", api_key="none", http_client=web) as client:
        stream = client.chat.completions.create(
            model="mock", messages=HI, stream=True, max_tokens=3, reasoning_effort="none"
        )
        chunks = list(stream)

    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].choices[0].finish_reason == "length"
    assert "three four five" not in "".join(
        chunk.choices[0].delta.content or "" for chunk in chunks
    )


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
