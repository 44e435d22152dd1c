"""OpenAI's own Python client, whose API Copilot and many others use, against the whole stack."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import openai
import pytest

from tests.support.service import Service, Start

pytestmark = pytest.mark.integration

QUESTION = "Why is the sky blue?"


def client_of(service: Service, key: str = "ollama") -> openai.OpenAI:
    web = httpx.Client(trust_env=False)
    return openai.OpenAI(
        base_url=f"{service.base}/v1", api_key=key, timeout=120, max_retries=0, http_client=web
    )


@pytest.fixture
def client(shared: Service) -> Iterator[openai.OpenAI]:
    with client_of(shared) as client:
        yield client


def test_the_models(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data

    assert model.id == "mock:latest"
    assert client.models.retrieve("mock").id == "mock"
    with pytest.raises(openai.NotFoundError, match="not found"):
        client.models.retrieve("nope")


def test_a_chat_in_one_piece(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="mock",
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
        ],
        reasoning_effort="none",
    )

    (choice,) = answer.choices
    assert QUESTION in (choice.message.content or "")
    assert choice.finish_reason == "stop"
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_chat_that_streams_with_its_usage(client: openai.OpenAI) -> None:
    *chunks, usage = client.chat.completions.create(
        model="mock",
        messages=[{"role": "user", "content": QUESTION * 20}],
        reasoning_effort="none",
        stream=True,
        stream_options={"include_usage": True},
    )

    texts = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert len(texts) > 3
    assert QUESTION * 20 in "".join(texts)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert (usage.choices, bool(usage.usage)) == ([], True)


def test_the_helper_for_streams(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="mock",
        messages=[{"role": "user", "content": QUESTION}],
        reasoning_effort="none",
    ) as stream:
        said = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()

    assert final.choices[0].finish_reason == "stop"
    assert final.choices[0].message.content == "".join(said)


def test_a_completion(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="mock", prompt=QUESTION, max_tokens=3)
    streamed = client.completions.create(model="mock", prompt=QUESTION, max_tokens=3, stream=True)

    assert answer.choices[0].finish_reason == "length"
    assert "".join(chunk.choices[0].text for chunk in streamed) == answer.choices[0].text


def test_errors_are_the_clients_own_exceptions(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="model 'nope' not found; this service has"):
        client.chat.completions.create(model="nope", messages=[{"role": "user", "content": "a"}])
    with pytest.raises(openai.BadRequestError, match="too short - 'messages'"):
        client.chat.completions.create(model="mock", messages=[])
    with pytest.raises(openai.BadRequestError, match="does not support embeddings"):
        client.embeddings.create(model="mock", input="a")


def test_a_wrong_key_is_an_authentication_error(start_service: Start) -> None:
    service = start_service(AX650_API_KEY="s3cret")
    with client_of(service) as stranger, pytest.raises(openai.AuthenticationError):
        stranger.models.list()
    with client_of(service, "s3cret") as friend:
        assert friend.models.list().data
    service.stop()
