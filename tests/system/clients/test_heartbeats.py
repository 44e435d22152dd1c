"""Heartbeats while a long prompt is read do no harm to any client."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import anthropic
import httpx
import ollama
import openai
import pytest
from langchain_ollama import ChatOllama, OllamaLLM

from tests.support.service import ROOT, Service, Start
from tests.support.waiting import eventually
from tests.system.clients.conftest import RunJs

pytestmark = pytest.mark.integration

QUESTION = "Why is the sky blue?"
ASKED = [{"role": "user", "content": QUESTION}]
ANSWER = f"I am a simulated model, no card is involved. You said: {QUESTION}"
CHUNK = 128  # tokens; the program reads a prompt in whole chunks, and ours has one
PREFILL = 2.4  # seconds
CLIENT = {"trust_env": False, "timeout": 1.6}  # seconds of silence that they accept


@pytest.fixture(scope="module")
def slow(start_shared_service: Start) -> Service:
    """A service that reads prompts slowly and sends a heartbeat every fifth of a second."""
    command = [
        "-m",
        "gunicorn",
        "-c",
        str(ROOT / "gunicorn.conf.py"),
        "tests.system.clients.impatient:app",
    ]
    pace = f"--tokens-per-second 300 --prefill-tokens-per-second {CHUNK / PREFILL:.0f}"
    return start_shared_service(
        command=[sys.executable, *command],
        folder=ROOT,
        AX650_MOCK_ARGS=f"--load-seconds 0 {pace}",
    )


def test_heartbeats_come_and_have_no_content(slow: Service) -> None:
    """Otherwise the tests below prove nothing."""
    reply = slow.post("/api/chat", {"model": "mock", "messages": ASKED}, stream=True)
    body = reply.content
    lines = [json.loads(line) for line in body.splitlines()]

    assert body.startswith(b"   ")
    assert lines[0]["message"]["content"]
    assert lines[-1]["prompt_eval_duration"] > 0.9 * PREFILL * 1e9


def test_without_heartbeats_the_same_clients_hang_up(slow: Service) -> None:
    with ollama.Client(host=slow.base, **CLIENT) as client, pytest.raises(httpx.ReadTimeout):
        client.chat("mock", ASKED)  # in one piece, so nothing comes before its end
    eventually(lambda: not slow.health()["queue"]["answering"])


def test_ollama_python(slow: Service) -> None:
    with ollama.Client(host=slow.base, **CLIENT) as client:
        chat = list(client.chat("mock", ASKED, stream=True))
        generate = list(client.generate("mock", QUESTION, stream=True))

    assert "".join(chunk.message.content or "" for chunk in chat) == ANSWER
    assert "".join(chunk.response for chunk in generate) == ANSWER


def test_a_client_whose_request_stands_in_line_does_not_hang_up(slow: Service) -> None:
    def ask(_: int) -> str:
        with ollama.Client(host=slow.base, **CLIENT) as client:
            return "".join(
                chunk.message.content or "" for chunk in client.chat("mock", ASKED, stream=True)
            )

    with ThreadPoolExecutor() as threads:
        assert list(threads.map(ask, range(3))) == [ANSWER] * 3


def test_langchain_ollama(slow: Service) -> None:
    fields = {"model": "mock", "base_url": slow.base, "client_kwargs": CLIENT}
    chat, text = ChatOllama(**fields), OllamaLLM(**fields)
    try:
        assert chat.invoke(QUESTION).content == ANSWER  # it streams internally
        assert text.invoke(QUESTION) == ANSWER
    finally:
        for model in (chat, text):
            model._client.close()  # it has no public close


def test_openai_python(slow: Service) -> None:
    with openai.OpenAI(
        base_url=f"{slow.base}/v1",
        api_key="ollama",
        timeout=CLIENT["timeout"],
        max_retries=0,
        http_client=openai.DefaultHttpxClient(trust_env=False),
    ) as client:
        chunks = list(client.chat.completions.create(model="mock", messages=ASKED, stream=True))
        with client.responses.stream(model="mock", input=QUESTION) as stream:
            answer = stream.get_final_response()

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
    assert answer.output_text == ANSWER


def test_anthropic_python(slow: Service) -> None:
    with (
        anthropic.Anthropic(
            base_url=slow.base,
            api_key="ollama",
            timeout=CLIENT["timeout"],
            max_retries=0,
            http_client=anthropic.DefaultHttpxClient(trust_env=False),
        ) as client,
        client.messages.stream(
            model="mock", max_tokens=200, messages=[{"role": "user", "content": QUESTION}]
        ) as stream,
    ):
        assert stream.get_final_text() == ANSWER


def test_ollama_js(slow: Service, run_js: RunJs) -> None:
    result = run_js(slow, "streams")

    assert result["chat"]["text"] == result["generate"]["text"] == ANSWER
    assert result["chat"]["last"]["done_reason"] == "stop"
