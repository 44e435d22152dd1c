"""LangChain's models for Ollama against the whole stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import ollama
import pytest
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM

from tests.support.service import Service

pytestmark = pytest.mark.integration

QUESTION = "Why is the sky blue?"


Make = Callable[..., Any]


@pytest.fixture
def make(shared: Service) -> Iterator[Make]:
    """Make models of the given class; close their connections, which LangChain never does."""
    clients: list[ollama.Client] = []

    def made(kind: Any, **fields: Any) -> Any:
        client = {"trust_env": False, "timeout": 30}
        model = kind(model="mock", base_url=shared.base, client_kwargs=client, **fields)
        clients.append(model._client)  # it has no public name
        return model

    yield made
    for client in clients:
        client.close()


def test_a_chat_model_answers_and_counts(make: Make) -> None:
    model = make(
        ChatOllama,
        validate_model_on_init=True,
        keep_alive="5m",
        temperature=0,
        seed=7,
        num_ctx=8192,
    )
    answer = model.invoke([("system", "Be brief."), ("human", QUESTION)])

    assert QUESTION in answer.content
    assert answer.usage_metadata
    assert answer.usage_metadata["input_tokens"] > 0
    assert answer.usage_metadata["output_tokens"] > 0
    assert answer.response_metadata["done_reason"] == "stop"


def test_a_chat_model_streams(make: Make) -> None:
    chunks = list(make(ChatOllama, reasoning=False).stream(QUESTION * 20))

    assert len(chunks) > 3
    assert QUESTION * 20 in "".join(chunk.text for chunk in chunks)


def test_a_conversation_goes_on(make: Make) -> None:
    model = make(ChatOllama)
    first = model.invoke(QUESTION)
    second = model.invoke([("human", QUESTION), first, ("human", "And the sea?")])

    assert "And the sea?" in second.content


def test_a_text_model_answers(make: Make) -> None:
    assert QUESTION in make(OllamaLLM, stop=["<|im_end|>"]).invoke(QUESTION)


def test_what_the_model_cannot_do_is_refused_in_ollamas_words(make: Make) -> None:
    with pytest.raises(ollama.ResponseError, match='"mock" does not support embeddings'):
        make(OllamaEmbeddings).embed_query(QUESTION)
