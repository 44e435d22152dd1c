"""Ollama's own Python client, as Home Assistant uses it, against the whole stack."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import ollama
import pytest

from tests.support.service import Service, Start
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

QUESTION = "Why is the sky blue?"
ASKED = [{"role": "user", "content": QUESTION}]


def client_of(service: Service) -> ollama.Client:
    return ollama.Client(host=service.base, timeout=120, trust_env=False)


@pytest.fixture
def client(shared: Service) -> Iterator[ollama.Client]:
    with client_of(shared) as client:
        yield client


def test_the_handshake(client: ollama.Client) -> None:
    client.generate("mock", keep_alive=-1)  # an earlier client may have set another
    (listed,) = client.list().models
    (running,) = client.ps().models
    shown = client.show("mock")

    assert listed.model == running.model == "mock:latest"
    assert listed.digest == running.digest
    assert running.expires_at
    assert running.expires_at - datetime.now(UTC) > timedelta(days=290 * 365)
    assert running.size_vram == running.size
    assert shown.capabilities == ["completion", "tools", "thinking"]
    assert shown.modelinfo
    window = shown.modelinfo["unknown.context_length"]
    assert window == running.context_length
    assert shown.parameters == f"num_ctx                        {window}"


def test_a_chat_in_one_piece(client: ollama.Client) -> None:
    answer = client.chat("mock", ASKED, think=False, keep_alive=-1, options={"num_ctx": 8192})

    assert answer.message.role == "assistant"
    assert QUESTION in (answer.message.content or "")
    assert answer.message.thinking is None
    assert answer.done_reason == "stop"
    assert answer.total_duration
    parts = (answer.load_duration, answer.prompt_eval_duration, answer.eval_duration)
    assert answer.total_duration >= sum(part or 0 for part in parts)
    assert answer.prompt_eval_count
    assert answer.eval_count


def test_a_context_goes_on_where_an_answer_ended(client: ollama.Client, runtime: str) -> None:
    if runtime == "mock-axllm":
        # It takes messages only, and has no way to go on from tokens.
        assert client.generate("mock", QUESTION, think=False).context is None
        return
    first = client.generate("mock", QUESTION, think=False)
    second = client.generate("mock", "And the sea?", context=first.context, think=False)

    assert "And the sea?" in second.response
    assert second.context
    assert first.context
    assert list(second.context[: len(first.context)]) == list(first.context)
    assert client.generate("mock", QUESTION, raw=True).context is None


def test_a_chat_that_streams(client: ollama.Client) -> None:
    asked = [{"role": "user", "content": QUESTION * 20}]
    *chunks, last = client.chat("mock", asked, stream=True, tools=[])

    assert len(chunks) > 3
    assert QUESTION * 20 in "".join(chunk.message.content or "" for chunk in chunks)
    assert (last.done, last.message.content) == (True, "")


def test_a_completion(client: ollama.Client, runtime: str) -> None:
    limited = {"num_predict": 3, "temperature": 0, "seed": 7, "stop": ["\n\n"]}
    answer = client.generate("MOCK:latest", QUESTION, system="Be brief.", options=limited)
    streamed = client.generate("mock", QUESTION, stream=True, options=limited)

    assert (answer.model, answer.eval_count, answer.done_reason) == ("MOCK:latest", 3, "length")
    assert bool(answer.context) == (runtime != "mock-axllm")
    assert "".join(chunk.response for chunk in streamed) == answer.response


@pytest.mark.parametrize(
    ("model", "extra", "status", "says"),
    [
        ("nope", {}, 404, "model 'nope' not found; this service has 'mock:latest'"),
        ("mock", {"options": {"top_k": "many"}}, 500, 'option "top_k" must be of type integer'),
    ],
)
def test_refusals_reach_the_user(
    client: ollama.Client, model: str, extra: dict, status: int, says: str
) -> None:
    for stream in (True, False):
        with pytest.raises(ollama.ResponseError) as refused:
            list(client.chat(model, ASKED, stream=stream, **extra))
        assert (refused.value.status_code, refused.value.error) == (status, says)


def test_a_missing_feature_is_an_error_that_names_it(client: ollama.Client) -> None:
    for call in (
        lambda: client.embed("mock", QUESTION),
        lambda: client.embeddings("mock", QUESTION),
        lambda: client.delete("mock"),
        lambda: client.push("mock"),
    ):
        refused = "does not support|was not pulled|cannot be pushed"
        with pytest.raises(ollama.ResponseError, match=refused):
            call()


def test_models_are_made_from_another_one_copied_used_and_deleted(client: ollama.Client) -> None:
    client.create("pirate", from_="mock", system="You are a pirate.", parameters={"top_k": 3})
    client.copy("pirate", "corsair")
    try:
        assert {"pirate:latest", "corsair:latest"} <= {each.model for each in client.list().models}
        shown = client.show("corsair")
        assert "SYSTEM" in (shown.modelfile or "")
        answer = client.chat("corsair", [{"role": "user", "content": QUESTION}], think=False)
        assert QUESTION in (answer.message.content or "")
    finally:
        for name in ("pirate", "corsair"):
            assert client.delete(name).status == "success"
    assert {each.model for each in client.list().models} == {"mock:latest"}


def test_a_model_that_is_here_counts_as_pulled(client: ollama.Client) -> None:
    assert client.pull("mock").status == "success"
    with pytest.raises(ollama.ResponseError, match="file does not exist"):
        client.pull("llama3")


def test_a_pull_of_our_own_model_succeeds_and_of_another_fails(client: ollama.Client) -> None:
    assert client.pull("mock").status == "success"
    assert [progress.status for progress in client.pull("mock", stream=True)][-1] == "success"
    for stream in (True, False):
        with pytest.raises(ollama.ResponseError, match="file does not exist"):
            list(client.pull("nope", stream=stream))


def test_an_unloaded_model_is_loaded_by_the_next_request(start_service: Start) -> None:
    service = start_service()
    with client_of(service) as client:
        assert client.generate("mock", keep_alive=0).done_reason == "unload"
        eventually(lambda: not client.ps().models)
        assert QUESTION in (client.chat("mock", ASKED, keep_alive="10m").message.content or "")
        (running,) = client.ps().models
        assert running.expires_at
        left = running.expires_at - datetime.now(UTC)
        assert timedelta(minutes=9) < left <= timedelta(minutes=10)
    assert service.stop() == 0
